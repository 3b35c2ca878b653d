"""What a model should return for an input, one file each."""

from superjax.problem.targets.absolute import Absolute
from superjax.problem.targets.and_pairs import AndPairs
from superjax.problem.targets.base import Target, of_function
from superjax.problem.targets.identity import Identity
from superjax.problem.targets.square import Square

TARGETS: dict[str, type[Target]] = {
    "identity": Identity,
    "absolute": Absolute,
    "square": Square,
    "and_pairs": AndPairs,
}

__all__ = ["TARGETS", "Absolute", "AndPairs", "Identity", "Square", "Target", "of_function"]
