"""Calling code of the user's: whatever it raises is told from a fault of superjax."""

import functools
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from superjax.errors import SweepError, clip
from superjax.system import modules
from superjax.system.interrupt import Interrupted
from superjax.system.terminal import plain

_PACKAGE = Path(__file__).resolve().parents[1]


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


def said(error: BaseException) -> str:
    """The same, and below it the last file and line that are the user's."""
    if isinstance(error, SyntaxError) and error.filename:  # it says so itself
        return one_line(error)
    library = str(_PACKAGE), sysconfig.get_path("stdlib"), "<"
    theirs = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(library) and not set(modules.PACKAGES) & set(Path(frame.filename).parts)
    ]
    return one_line(error) + (f"\n  at {theirs[-1].filename}, line {theirs[-1].lineno}" if theirs else "")


def refusal(path: str, kind: str, fault: str) -> SweepError:
    """What is wrong with the member that the key `path` of a sweep file names."""
    return SweepError(f'{path} = "{kind}": {fault}')


def named(path: str, kind: str, own: str, others: str = "") -> Any:
    """What `kind`, "pkg.module:name", names, as `superjax.system.modules` finds it.

    Args:
        path: the key of the sweep file that says so.
        own, others: for the message, what the name is called, and what else is allowed.

    Raises SweepError if there is no such module or name.
    """
    module, _, name = kind.partition(":")
    found, error = tried(lambda: functools.reduce(getattr, name.split("."), modules.load(module)))
    if error is None:
        return found
    if module == "__main__" and isinstance(error, AttributeError):
        fault = f"is of a script or a notebook that is not running here: {modules.main()} has no {name}"
        raise refusal(path, kind, f'{fault}\n  put it into a file and give it as "pkg.module:{own}"') from error
    hint = f"\n  allowed: {f'{others} or ' if others else ''}pkg.module:{own}"
    if isinstance(error, ModuleNotFoundError) and module.startswith(error.name or "-"):
        folders = ", ".join(map(str, modules.folders()))
        hint = f"\n  looked for {module.replace('.', '/')}.py in {folders} and the installed packages{hint}"
    elif isinstance(error, AttributeError) and (there := modules.find(module)):
        if not there[1].samefile(getattr(sys.modules.get(module), "__file__", None) or "/"):
            hint = f"\n  {module} is a module of Python or superjax itself; give {there[1].name} another name{hint}"
    raise refusal(path, kind, f"cannot be imported, {said(error)}{hint}") from error
