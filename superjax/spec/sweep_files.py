"""Sweep files as they are on disk, read without a look at what they say."""

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from superjax.errors import SweepError, clip, near
from superjax.spec import packaged
from superjax.spec.emit import toml
from superjax.spec.sizes import FILE, bounded


def available() -> dict[str, str]:
    """Name and title of the packaged sweeps. Raises SweepError if one of them is no TOML."""
    return {name: title for name, (title, _, _) in described().items()}


def described() -> dict[str, tuple[str, str, str]]:
    """Title of the packaged sweeps, what they show, and how long they take, by name. Raises SweepError."""
    found = {}
    for name, path in packaged.sweeps().items():
        tree = parsed(content(path, shown(path)), shown(path))
        title, about, takes = (str(tree.get(key, "")) for key in ("title", "about", "takes"))
        found[name] = title, about, takes
    return found


def read(name: str | os.PathLike[str]) -> tuple[Path, str, dict[str, Any]]:
    """The path of the packaged sweep NAME, or of a file, what messages call it, and what it says, as TOML. Raises
    SweepError."""
    if not isinstance(name, str | os.PathLike) or not isinstance(text := os.fspath(name), str):
        raise SweepError(f"{clip(repr(name))}: is no sweep, must be the name of one or the path of a file")
    if not isinstance(name, str) or text.lower().endswith(".toml") or "/" in text or os.sep in text:
        path, called = Path(text), text
    else:
        path = _find(text)
        called = shown(path)
    return path, called, parsed(content(path, called), called)


def _find(name: str) -> Path:
    sweeps = packaged.sweeps()
    if name not in sweeps:
        allowed, there = clip(", ".join(sweeps), 500), os.listdir()
        here = f"; the file in this folder is {name}.toml" if f"{name}.toml" in there else ""
        if name in there:
            here = "; a file or folder in this folder has that name, a sweep file's must end in .toml"
        raise SweepError(f"{clip(toml(name))}: unknown sweep{near(name, sweeps)}{here}\n  allowed: {allowed}")
    return sweeps[name]


def shown(path: Path) -> str:
    """A path as messages call it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def content(path: Path, shown: str) -> bytes:
    """The bytes of a sweep file. Raises SweepError."""
    reason = hint = ""
    try:
        about = path.stat()
        if stat.S_ISREG(about.st_mode) and about.st_size <= FILE or stat.S_ISDIR(about.st_mode):
            return path.read_bytes()
        large = stat.S_ISREG(about.st_mode)
        reason = f"has more than {FILE:,} bytes" if large else "is a device or a pipe"  # which may go on for ever
    except OSError as error:
        reason = error.strerror
        hint = f"; the packaged sweep is {path.stem}, without .toml" if path.stem in packaged.sweeps() else ""
    except ValueError as error:  # NUL in the path, or half a surrogate pair
        reason = str(error)
    raise SweepError(f"{clip(shown, 300)}: cannot be read, must be a sweep file: {reason}{hint}")


def parsed(content: bytes, shown: str) -> dict[str, Any]:
    """What a sweep file says, as TOML. Raises SweepError."""
    try:
        raw = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SweepError(f"{shown}: is not UTF-8 text, must be a sweep file (TOML)") from None
    except (ValueError, RecursionError) as error:
        raise SweepError(f"{shown}: is not valid TOML: {clip(str(error), 300)}") from None
    bounded(raw, shown)
    if not raw:
        raise SweepError(f"{shown}: is empty; a sweep needs at least n_features and n_hidden")
    return raw
