"""Finding and reading sweep files."""

import os
import tomllib
from pathlib import Path
from typing import Any

from superjax.spec import packaged
from superjax.spec.emit import toml
from superjax.spec.errors import SweepError, clip, near
from superjax.spec.sweep import Given, Sweep


def available() -> dict[str, str]:
    """Name and title of the packaged sweeps. Raises SweepError if one of them is no TOML."""
    sweeps = {name: (path, _shown(path)) for name, path in packaged.sweeps().items()}
    return {name: str(_parse(_content(*at), at[1]).get("title", "")) for name, at in sweeps.items()}


def load(name: str | os.PathLike[str], *overrides: str) -> Sweep:
    """The packaged sweep NAME, or a file if `name` is a path object, has a separator or ends in `.toml`, with
    `KEY=VALUE` overrides applied. Raises SweepError if the user's input is wrong."""
    text = os.fspath(name)
    if not isinstance(name, str) or text.endswith(".toml") or "/" in text or os.sep in text:
        path, shown = Path(text), text
    else:
        path = _find(text)
        shown = _shown(path)
    raw = _parse(_content(path, shown), shown)
    return Given(path, shown, raw, packaged.study_of(path), (overrides,)).resolve()


def parse(text: str, path: Path) -> Sweep:
    """The sweep of a file with the content `text` that is, or was, at `path`. Raises SweepError."""
    return Given(path, str(path), _parse(text.encode(), str(path)), None, ()).resolve()


def _find(name: str) -> Path:
    sweeps = packaged.sweeps()
    if name not in sweeps:
        here = f"; the file in this folder is {name}.toml" if f"{name}.toml" in os.listdir() else ""
        allowed = clip(", ".join(sweeps), 500)
        raise SweepError(f"{toml(name)}: unknown sweep{near(name, sweeps)}{here}\n  allowed: {allowed}")
    return sweeps[name]


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _content(path: Path, shown: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = f"; the packaged sweep is {path.stem}, without .toml" if path.stem in packaged.sweeps() else ""
        raise SweepError(f"{shown}: cannot be read, must be a sweep file: {error.strerror}{hint}") from None


def _parse(content: bytes, shown: str) -> dict[str, Any]:
    try:
        raw = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SweepError(f"{shown}: is not UTF-8 text, must be a sweep file (TOML)") from None
    except (ValueError, RecursionError) as error:
        raise SweepError(f"{shown}: is not valid TOML: {clip(str(error), 300)}") from None
    if not raw:
        raise SweepError(f"{shown}: is empty; a sweep needs at least n_features and n_hidden")
    return raw
