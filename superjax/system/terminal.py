"""All that is printed: shown as plain text whatever is in it, on streams that may lack characters, be closed or break.

`say` is the output, `warn` and `fail` are for the standard error stream; `doing` and `bar` tell what takes long. A
stream that breaks, because its reader has gone or its terminal has closed, is no reason to end a run: what cannot be
shown is left out. Only `lost` remembers what could not be written for another reason, as a full disk.
"""

import errno
import os
import shutil
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from superjax.errors import shortened, worded

_LINES = 6  # of one message
_PATIENCE = 4.0  # seconds that something takes before it is named
_SECONDS_BETWEEN_LINES = 60.0  # on a log
_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ESHUTDOWN, errno.ECONNRESET)
_screen = threading.RLock()  # a line at a time
_telling = False  # whether somebody wants to know what is being done
_lost: str = ""
_under_way: list[object] = []  # all that is being done, each in the one before
_told = 0.0  # when something was last written
_bottom = ""  # what stands on the last line of a terminal


def plain(text: str) -> str:
    """Text in which nothing but its line breaks does anything to a terminal: other controls are shown escaped."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def message(text: str) -> str:
    """What goes wrong, in six lines at most; those after the first are set in, and long ones lose their middle."""
    said = plain(worded(text)).split("\n")
    lines = [shortened(line.rstrip()) for line in said if line.strip()] or ["no reason given"]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], "..."]
    return "\n  ".join([lines[0], *(line.strip() for line in lines[1:])])


def say(text: str = "", end: str = "\n") -> None:
    """Output, at once."""
    _write("stdout", plain(text) + end)


def tell(text: str) -> None:
    """Output for those who want to know what is being done."""
    if _telling:
        say(text)


def note(text: str) -> None:
    """What is good to know, in one line that is no result."""
    _write("stderr", f"superjax: {message(text)}\n")


def warn(text: str) -> None:
    _write("stderr", f"superjax: warning: {message(text)}\n")


def fail(text: str, then: str = "") -> None:
    """What ends a run, or a part of it; `then`, which is neither shortened nor set in, says how to go on."""
    _write("stderr", f"superjax: {message(text)}{' ' * bool(then)}{plain(then)}\n")


def line_ends() -> None:
    """What a terminal shows of Ctrl-C or of a progress bar gets a line of its own."""
    _write("stderr", "\n")


def bug() -> None:
    """The traceback of the exception that is being handled."""
    _write("stderr", plain(traceback.format_exc()))


def lost() -> str:
    """Why some output could not be written, "" if all was, or if nobody was there to read it."""
    return _lost


def start() -> None:
    """To be called first by a program: nothing is lost yet, and a file opened later is not taken for a stream that
    the user has closed."""
    global _lost
    _lost = ""
    if os.name == "posix":
        for number in range(3):
            try:
                os.fstat(number)
            except OSError:
                with suppress(OSError):
                    os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def end() -> None:
    """To be called last by a program, or Python itself would complain about a stream that has gone."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def telling(wanted: bool = True) -> Iterator[None]:
    """Inside, `doing` and `bar` tell what is being done; outside they are silent."""
    global _telling, _told
    before, _telling, _told = _telling, wanted, time.monotonic()
    try:
        yield
    finally:
        _telling = before


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Tell what is being done, and for how long, once nothing has been told for some seconds: on the last line of a
    terminal, which is cleared afterwards, or with a line now and then, on the standard error stream too: it is no
    result. Inside another one, only the inner tells."""
    begun, watched, said, own = time.monotonic(), _is_watched(), 0.0, object()

    def tick() -> None:
        nonlocal said
        now = time.monotonic()
        first = not said and now - _told >= _PATIENCE
        if _under_way[-1] is own and (first or said and (watched or now - said >= _SECONDS_BETWEEN_LINES)):
            said = now
            if watched:
                _show(f"{what}, {now - begun:.0f} s")
            else:
                _write("stderr", plain(f"{what} ({now - begun:.0f} s so far)\n"))

    _under_way.append(own)
    try:
        with _ticking(tick, min(_PATIENCE, 1.0)):
            yield
    finally:
        _under_way.remove(own)
        _show("")


@contextmanager
def bar(name: str, models: int) -> Iterator[Callable[[float], None]]:
    """A progress bar in models, with their rate and the time left; where nobody watches (no terminal) a line now and
    then. Yields a function that is told of models, and fractions of one, that are finished."""
    finished, begun = 0.0, time.monotonic()
    said, watched = begun, _telling and _is_watched()

    def tick() -> None:
        nonlocal said
        if watched:
            progress.refresh()
        elif (now := time.monotonic()) - said > _SECONDS_BETWEEN_LINES:
            said = now
            say(f"{name}: {finished / models:.0%} of the training after {now - begun:.0f} s")

    with _bar_on_terminal(name, models, watched) as progress, _ticking(tick, 1.0):
        if _telling and not watched and models:
            say(f"{name}: training {models:,} models")

        def update(newly_finished: float) -> None:
            nonlocal finished
            finished += newly_finished
            with _screen:
                progress.update(min(round(finished), models) - progress.n)

        yield update


def _bar_on_terminal(name: str, models: int, watched: bool) -> Any:
    """The bar: that of notebooks in one that has what it needs, else of text."""
    from tqdm import TqdmWarning, tqdm  # not before it is needed

    _show("")
    if watched and is_notebook():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TqdmWarning)  # that there are no widgets: then it is text
            from tqdm.auto import tqdm as widget

            return widget(total=models, desc=plain(name), unit=" models", unit_scale=True)
    columns = max(shutil.get_terminal_size().columns, 20)
    return tqdm(
        total=models, desc=plain(name), unit=" models", unit_scale=True, ncols=columns, disable=not watched,
        file=_Stream(), ascii=not _can_show("█"),
    )  # fmt: skip


class _Stream:
    """The standard error stream for a progress bar: never an error."""

    def write(self, text: str) -> None:
        _write("stderr", text)

    def flush(self) -> None:
        pass


@contextmanager
def _ticking(tick: Callable[[], None], patience: float) -> Iterator[None]:
    """Call a function every second from another thread, once the body has taken so many; not after its end."""
    if not _telling:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        wait = patience
        while not over.wait(wait):
            wait = 1.0
            with _screen:
                if not over.is_set():
                    tick()

    with suppress(RuntimeError):  # there may be no more threads
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        with _screen:  # a last tick is over
            pass


def _is_watched() -> bool:
    """Whether somebody watches lines that change: a terminal that can do it, or a notebook."""
    stream = sys.stderr
    try:
        terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        terminal = False
    return terminal or is_notebook()


def is_notebook() -> bool:
    """Whether output goes to a notebook."""
    return type(sys.stderr).__module__.startswith("ipykernel")


def _show(text: str) -> None:
    """Put something on the last line of the terminal in place of what is there."""
    global _bottom
    with _screen:
        text = plain(text)[: max(shutil.get_terminal_size().columns - 1, 1)]
        if text or _bottom:
            before, _bottom = _bottom, ""
            _write("stderr", f"\r{' ' * len(before)}\r{text}")
            _bottom = text


def _can_show(character: str) -> bool:
    try:
        character.encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write(name: str, text: str) -> None:
    """Write to a stream, as far as it can show it and is there."""
    global _lost, _told
    with _screen:
        _show("")
        _told = time.monotonic()
        stream = getattr(sys, name)
        if stream is None:
            return
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
            if hasattr(stream, "flush"):
                stream.flush()
        except ValueError:  # it is closed
            pass
        except OSError as error:
            if error.errno not in _GONE and not _lost:
                _lost = f"the output cannot be written: {error.strerror or error}"
