"""Signals that ask this process to stop (Ctrl-C, SIGTERM, a terminal that closes): obeyed at once, but while models
train only after what runs is saved."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


class Interrupted(BaseException):
    """A signal asked the process to stop; `reason` says why if it came from superjax itself."""

    def __init__(self, number: int, reason: str = ""):
        self.status, self.reason = 128 + number, reason


_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_deferring = False
_pending: int | None = None
_asked = False  # by any signal
_reason = ""
_again: Any = None  # what had SIGALRM and dropped exceptions before they served to raise again


@contextmanager
def installed() -> Iterator[None]:
    """Inside, signals are obeyed as said above; afterwards whoever had them before has them again."""
    global _pending, _asked, _reason
    if not _hears():
        yield
        return
    _pending, _asked, _reason = None, False, ""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    install()
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) == _handle and handler is not None:  # None: not set from Python
                signal.signal(number, handler)


def install() -> None:
    """Turn signals into `Interrupted`, unless the parent ignores them, as a shell does in the background and nohup."""
    if not _hears():
        return
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


def _hears() -> bool:
    """Whether signals reach this thread: only the main one. Another's run neither sets nor obeys them."""
    return threading.current_thread() is threading.main_thread()


def uninstall() -> None:
    """At the end of a program: let the signals end the process at once, even outside Python."""
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def ask(reason: str) -> None:
    """From another thread: stop this process as SIGTERM would, unless it is stopping already."""
    global _reason
    if not _asked:
        _reason = reason
        os.kill(os.getpid(), signal.SIGTERM)


def pending() -> bool:
    """Whether a deferred signal waits."""
    return _pending is not None


@contextmanager
def deferred():
    """Let a first signal wait for `check` or the end of the body. A second one is obeyed at once."""
    global _deferring
    if not _hears():
        yield
        return
    _deferring = True
    try:
        yield
    finally:
        _deferring = False
    check()


def check() -> None:
    """Raise Interrupted if a signal waits."""
    global _pending
    if _pending is not None and _hears():
        number, _pending = _pending, None
        _raise(number)


def caught() -> None:
    """To be called where Interrupted was caught."""
    global _again
    if _again is not None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        handler, sys.unraisablehook = _again
        signal.signal(signal.SIGALRM, handler)
        _again = None


def _handle(number, frame) -> None:
    global _pending, _asked
    _asked = True
    if _deferring and _pending is None:
        _pending = number
    else:
        _raise(number)


def _raise(number: int) -> NoReturn:
    global _again
    # Python drops what is raised inside a destructor or the callback of a weak reference: again until it is caught.
    if hasattr(signal, "setitimer"):
        handler = signal.signal(signal.SIGALRM, lambda *_: _raise(number))
        if _again is None:
            _again = handler, sys.unraisablehook
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        sys.unraisablehook = lambda dropped: None
    raise Interrupted(number, _reason)
