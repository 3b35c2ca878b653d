"""Signals that ask this process to stop (Ctrl-C, SIGTERM, a terminal that closes): obeyed at once, but while models
train only after what runs is saved."""

import os
import signal
import sys
from contextlib import contextmanager
from typing import NoReturn


class Interrupted(BaseException):
    """A signal asked the process to stop; `reason` says why if it came from superjax itself."""

    def __init__(self, number: int, reason: str = ""):
        self.status, self.reason = 128 + number, reason


_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_deferring = False
_pending: int | None = None
_asked = False  # by any signal
_reason = ""


def install() -> None:
    """Turn signals into `Interrupted`, unless the parent ignores them, as a shell does in the background and nohup."""
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


def uninstall() -> None:
    """Let the signals end the process at once, even outside Python."""
    for number in _SIGNALS:
        if signal.getsignal(number) == _handle:
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
    _deferring = True
    try:
        yield
    finally:
        _deferring = False
    check()


def check() -> None:
    """Raise Interrupted if a signal waits."""
    global _pending
    if _pending is not None:
        number, _pending = _pending, None
        _raise(number)


def caught() -> None:
    """To be called where Interrupted was caught."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def _handle(number, frame) -> None:
    global _pending, _asked
    _asked = True
    if _deferring and _pending is None:
        _pending = number
    else:
        _raise(number)


def _raise(number: int) -> NoReturn:
    # Python drops what is raised inside a destructor or the callback of a weak reference: again until it is caught.
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: _raise(number))
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        sys.unraisablehook = lambda dropped: None
    raise Interrupted(number, _reason)
