"""How large what a user gives may be, known before anything of that size is made."""

from typing import Any

from superjax.errors import SweepError, clip
from superjax.spec.emit import dotted

MODELS = 2**31 - 1  # of a case: their numbers are int32
FEATURES = 2**20
WEIGHTS = 2**31 - 1  # of one model
NODES = 500  # each costs the square of their number
CASES = 1000  # of a product: each is a compiled program
FILE = 2**20  # bytes of a sweep file or a value on the command line
NAME = 100  # characters of the name of an axis
TEXT = 1000  # characters of a title or label
DEPTH = 16
_INTEGER = 64  # bits, as TOML says


def bounded(tree: Any, place: str) -> Any:
    """`tree`, a value read from TOML, if it is nested no deeper and has no larger integers than TOML promises to
    read everywhere. Raises SweepError."""
    stack = [((), tree)]
    while stack:
        path, value = stack.pop()
        if len(path) > DEPTH:
            raise SweepError(f"{place}: {clip(dotted(path[:3]))} is nested more than {DEPTH} levels deep")
        if isinstance(value, dict):
            stack += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            stack += [((*path, index), item) for index, item in enumerate(value)]
        elif isinstance(value, int) and value.bit_length() >= _INTEGER:
            raise SweepError(
                f"{place}: {clip(dotted(path) or 'the value')} is a whole number of more than {_INTEGER} bits"
            )
    return tree
