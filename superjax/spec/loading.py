"""Finding and reading sweep files."""

import os
from pathlib import Path

from superjax.errors import in_python
from superjax.spec import sweep_files
from superjax.spec.overrides import refuse_keywords
from superjax.spec.sweep import Given, Sweep


def load(name: str | os.PathLike[str], *overrides: str | tuple[str, object], **keywords: object) -> Sweep:
    """The packaged sweep NAME, or a file if `name` is a path object, has a separator or ends in `.toml`, with
    overrides applied: each the text `KEY=VALUE`, or a pair (KEY, VALUE), whose value may be the class of a model, of
    data, a target or a term. Raises SweepError if the user's input is wrong, also for keyword arguments: it has
    none."""
    refuse_keywords(keywords)
    path, shown, raw = sweep_files.read(name)
    return Given(path, shown, raw, (overrides,)).resolve()


def load_from_python(name: str | os.PathLike[str], *overrides: str | tuple[str, object], **keywords: object) -> Sweep:
    with in_python():
        return load(name, *overrides, **keywords)


load_from_python.__doc__ = load.__doc__


def parse(text: str, path: Path) -> Sweep:
    """The sweep of a file with the content `text` that is, or was, at `path`; its study may be gone. Raises
    SweepError."""
    return Given(path, str(path), sweep_files.parsed(text.encode(), str(path)), ()).resolve(drawn=False)
