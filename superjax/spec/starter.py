"""A sweep file to start from."""

import os
from pathlib import Path

from superjax.disk.files import kind_of, write_text
from superjax.errors import SweepError
from superjax.spec import names

_TEXT = Path(__file__).with_suffix(".toml")


def write(path: Path) -> None:
    """Write the file. Raises SweepError if there is one already, its name is none of a sweep file, or it cannot be
    written."""
    if path.suffix.lower() != ".toml" or not path.stem:
        raise SweepError(f"{path}: is no name of a sweep file, must end in .toml")
    if fault := names.fault(names.of_stem(path.stem)):
        raise SweepError(f"{path}: the name of a sweep {fault}")
    if kind_of(path):
        raise SweepError(f"{path}: is there already; choose another name")
    try:
        write_text(path, _TEXT.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"{path}: cannot be written: {error.strerror}") from None


def named(path: Path) -> str:
    """How a command names the file, so that it is taken for none of the options."""
    text = os.fspath(path)
    return f"./{text}" if text.startswith("-") else text
