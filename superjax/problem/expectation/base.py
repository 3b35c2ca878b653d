"""What the trainer needs of an expectation."""

from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Array, Float, Key


@runtime_checkable
class Objective(Protocol):
    """A sum over *rows*: `draw(key)` makes what all models of a step share, `rows(laws, draw)` the table of rows of one
    model, `row_values` the contribution of one row to every value of the terms. The trainer needs no more.

    `fixed` ones have the same rows at every step; `weighted` ones weigh them for every model apart. `name` says in a
    dataset how a loss was found.
    """

    fixed: ClassVar[bool]
    weighted: ClassVar[bool]

    @property
    def name(self) -> str: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def row_weight(self) -> float: ...
    def draw(self, key: Key[Array, ""]) -> Any: ...
    def rows(self, laws: Any, draw: Any) -> Any: ...
    def row_values(self, model: Any, laws: Any, row: Any) -> Float[Array, " values"]: ...
    def targets(self, laws: Any, row: Any) -> Float[Array, "2 n_outputs"]:
        """The contribution of one row to the means of every output's target and of its square."""
        ...
