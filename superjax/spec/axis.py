"""The axes of a sweep's grid."""

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from superjax.errors import refusal
from superjax.problem.numbers import SMALLEST, single
from superjax.spec.emit import toml
from superjax.spec.fields import BY_KIND, LIST, NUMBER, Count, Frozen
from superjax.spec.names import Text

if TYPE_CHECKING:
    import numpy as np

AXIS = "{axis}"  # in the message of a refusal: the key of the axis, which does not know it


class Axis(Frozen):
    """One dimension of a sweep: the field or fields it sets, and their values as a range or a list."""

    field: str | None = Field(None, description="the path of the field that it sets, as `data.density`")
    fields: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="or the paths of several, which share the dimension"
    )
    scale: Literal["linear", "log"] = Field("linear", description="how the points of a range are spaced and drawn")
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        None, description="first and last value"
    )
    points: Count | None = Field(None, description="how many values the range has")
    values: (
        Annotated[
            list[Annotated[Annotated[float, NUMBER] | Annotated[list[float], LIST], BY_KIND]], Field(min_length=1)
        ]
        | None
    ) = Field(None, description="instead of a range: the values, with several fields a row of numbers each")
    label: Text | None = Field(None, description="the name of the axis in figures")

    @property
    def names(self) -> tuple[str, ...]:
        """The paths of the fields it sets."""
        return tuple(self.fields or [self.field or ""])

    @property
    def size(self) -> int:
        """How many points it has."""
        return self.points or len(self.values or ())

    def coordinates(self, name: str) -> list[str]:
        """Names of the coordinates of the axis `name`: `name` itself, or if it sets several fields the end of
        each path: density_4 for data.density[4], importance_last for importance[-1], _last2 for [-2]."""
        if len(self.names) == 1:
            return [name]
        ends = (path.rpartition(".")[2].replace("[-1]", "_last") for path in self.names)
        return [end.replace("[-", "_last").replace("[", "_").removesuffix("]") for end in ends]

    def table(self) -> "np.ndarray":
        """Its values, float64 (points, fields). Both ends of a range are exact; one point is the first end;
        fields that share a range have equal values."""
        import numpy as np

        if self.range is None or self.points is None:
            return np.array(self.rows(), dtype=np.float64)
        space = np.geomspace if self.scale == "log" else np.linspace
        column = space(self.range[0], self.range[1], self.points)
        return np.repeat(column[:, None], len(self.names), axis=1)

    def rows(self) -> list[list[float]]:
        """The values, or the two ends of the range, with one number per field."""
        rows = self.values or self.range or []
        return [row if isinstance(row, list) else [row] * len(self.names) for row in rows]

    @model_validator(mode="after")
    def _check(self) -> "Axis":
        for one, other in ("field", "fields"), ("range", "values"):
            given = [getattr(self, key) for key in (one, other) if getattr(self, key) is not None]
            if len(given) != 1:
                has = f"has both {one} and {other}" if given else f"has neither {one} nor {other}"
                raise refusal(f"{has}, must have one of them")
        if (self.range is None) != (self.points is None):
            text = "has values, and points are of a range: set {0}.values=[...], or range and points together"
            if self.points is None:
                text = "has range without points, and a range replaces values: set {0}.points too, or {0}.values=[...]"
            raise refusal(text.format(AXIS))
        n = len(self.names)
        for row in self.values or ():
            if (len(row) if isinstance(row, list) else 1) != n:
                raise refusal(f"must have {n} numbers a row, one per field, {toml(row)} has not", "values")
        for value in itertools.chain(*self.rows()):
            if self.scale == "log" and value <= 0:
                at = "values" if self.values else "range"
                raise refusal(f'{value} is refused: must be > 0 with scale = "log"', at)
        self._check_distinct()
        return self

    def _check_distinct(self) -> None:
        """Refuse points that training cannot tell apart: they would be the same models again."""
        if self.values:
            seen: dict[tuple[float, ...], list[float]] = {}
            for row in self.rows():
                if (key := tuple(map(single, row))) in seen:
                    twice = row if row == seen[key] else [*seen[key], *row]
                    raise refusal(f"must differ as float32, {', '.join(map(toml, twice))} do not", "values")
                seen[key] = row
        elif self.range and self.points and self.points > 1:
            low, high = sorted(self.range)
            size = max(abs(low), abs(high), SMALLEST)
            width = math.log(high) - math.log(low) if self.scale == "log" else high / size - low / size
            if width / (self.points - 1) < 2**-23:
                raise refusal(f"must be so wide that its {self.points} points differ as float32", "range")
