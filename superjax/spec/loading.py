"""Finding and reading sweep files."""

import os
from pathlib import Path

from superjax.errors import SweepError, clip, near
from superjax.spec import packaged, sweep_files
from superjax.spec.emit import toml
from superjax.spec.overrides import refuse_keywords
from superjax.spec.sweep import Given, Sweep


def load(name: str | os.PathLike[str], *overrides: str, **keywords: object) -> Sweep:
    """The packaged sweep NAME, or a file if `name` is a path object, has a separator or ends in `.toml`, with
    `KEY=VALUE` overrides applied. Raises SweepError if the user's input is wrong, also for keyword arguments: it has
    none."""
    refuse_keywords(keywords)
    if not isinstance(name, str | os.PathLike) or not isinstance(text := os.fspath(name), str):
        raise SweepError(f"{clip(repr(name))}: is no sweep, must be the name of one or the path of a file")
    if not isinstance(name, str) or text.lower().endswith(".toml") or "/" in text or os.sep in text:
        path, shown = Path(text), text
    else:
        path = _find(text)
        shown = sweep_files.shown(path)
    raw = sweep_files.parsed(sweep_files.content(path, shown), shown)
    return Given(path, shown, raw, (overrides,)).resolve()


def parse(text: str, path: Path) -> Sweep:
    """The sweep of a file with the content `text` that is, or was, at `path`; its study may be gone. Raises
    SweepError."""
    return Given(path, str(path), sweep_files.parsed(text.encode(), str(path)), ()).resolve(drawn=False)


def _find(name: str) -> Path:
    sweeps = packaged.sweeps()
    if name not in sweeps:
        allowed, there = clip(", ".join(sweeps), 500), os.listdir()
        here = f"; the file in this folder is {name}.toml" if f"{name}.toml" in there else ""
        if name in there:
            here = "; a file or folder in this folder has that name, a sweep file's must end in .toml"
        raise SweepError(f"{clip(toml(name))}: unknown sweep{near(name, sweeps)}{here}\n  allowed: {allowed}")
    return sweeps[name]
