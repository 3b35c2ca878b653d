"""Calling code of the user's: whatever it raises is told from a fault of superjax."""

from collections.abc import Callable
from typing import Any

from superjax.errors import SweepError, clip
from superjax.system.interrupt import Interrupted
from superjax.system.terminal import plain


def tried(function: Callable[..., Any], *arguments: Any) -> tuple[Any, BaseException | None]:
    """What code of the user returns, and what it raises: anything but a signal, `sys.exit` too."""
    try:
        return function(*arguments), None
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException as error:
        return None, error


def one_line(error: BaseException) -> str:
    """An exception of the user's code as a phrase, without what a terminal would obey."""
    said, failed = tried(str, error)
    return plain(clip(type(error).__name__ if failed else f"{type(error).__name__}: {said}", 300))


def refusal(path: str, kind: str, fault: str) -> SweepError:
    """What is wrong with the member that the key `path` of a sweep file names."""
    return SweepError(f'{path} = "{kind}": {fault}')
