"""One case of a sweep, and what its axes may set."""

import copy
import keyword
import math
import re
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from superjax.spec.axis import Axis
from superjax.spec.emit import dotted
from superjax.spec.errors import refusal
from superjax.spec.fields import Count, Data, Family, Frozen, Importance, Model, Phases, Plot, Profile, Train
from superjax.spec.messages import unknown, untagged, wanted
from superjax.spec.trees import Keys, Location, lookup, merge, nest, split_key

RESERVED = frozenset(  # what a dataset can have, besides names that begin with "optimum" or "family"
    "restart feature hidden snapshot step phase_kind solution solution_deviation W b loss W_snapshots b_snapshots"
    " loss_snapshots feature_loss explained grad_norm diverged_at best norm interference dimensionality phase margin"
    " typical_norm typical_interference phase_fraction gap success agreement".split()
)
RESERVED_STEMS = ("optimum", "family")
_NO_SUCH_KEY = object()


class Case(Frozen):
    """One static variant of a sweep: shapes, model, data, training, and the axes of its grid."""

    restarts: Count = 10
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    n_features: Count
    n_hidden: Count
    importance: Importance = Field(
        default=1.0, description="a number > 0, a list of numbers >= 0, or {ratio = a number > 0}"
    )
    optimum: bool = False
    model: Model = Model()
    data: Data = Data()
    train: Train = Train()
    phases: Phases = Phases()
    families: dict[str, Family] = {}
    plot: Plot = Plot()
    axes: dict[str, Axis] = {}

    def importance_vector(self) -> list[float]:
        """The importance of each feature, before any axis."""
        value, n = self.importance, self.n_features
        if isinstance(value, Profile):
            return [value.ratio**i for i in range(n)]
        return list(value) if isinstance(value, list) else [value] * n

    def density_vector(self) -> list[float]:
        """The density of each feature, before any axis."""
        value = self.data.density
        return list(value) if isinstance(value, list) else [value] * self.n_features

    def swept(self) -> dict[Location, tuple[str, str]]:
        """What the axes set, a field or one entry of it -> name of the axis and path as it is written there."""
        found = {}
        for name, axis in self.axes.items():
            for path in axis.names:
                keys, indices, _ = split_key(path) or ((path,), [], "")
                found[(*keys, *(index % self.n_features for index in indices))] = name, path
        return found

    @model_validator(mode="after")
    def _check_lengths(self) -> "Case":
        for at, value in (("importance",), self.importance), (("data", "density"), self.data.density):
            if isinstance(value, list) and len(value) != self.n_features:
                raise refusal(f"must have n_features = {self.n_features} entries, has {len(value)}", *at)
            if isinstance(value, Profile) and self.n_features * math.log(value.ratio) > 700:
                raise refusal(f"must not overflow at n_features = {self.n_features}", *at, "ratio")
        size, density = self.data.set_size, self.density_vector()
        if self.n_features % size:
            raise refusal(f"must divide n_features = {self.n_features}", "data", "set_size")
        if any(density[i] != density[i - i % size] for i in range(self.n_features)):
            raise refusal(f"must be equal in every set of {size} features", "data", "density")
        if self.train.skip_empty and self.data.kind != "independent":
            raise refusal(f'must be false with data.kind = "{self.data.kind}"', "train", "skip_empty")
        if not any(self.importance_vector()):
            raise refusal("must have at least one entry > 0", "importance")
        return self

    @model_validator(mode="after")
    def _check_axes(self) -> "Case":
        owners: dict[Location, str] = {}
        taken = list(self.axes)
        for name, axis in self.axes.items():
            for k, path in enumerate(axis.names):
                at = ("axes", name, "fields", k) if axis.fields else ("axes", name, "field")
                at_values = ("axes", name, "values" if axis.values else "range")
                target = self._target(path, [row[k] for row in axis.rows()], at, at_values)
                if target in owners:
                    raise refusal(f"axes.{owners[target]} sets it already", *at)
                owners[target] = name
            if not name.isidentifier() or keyword.iskeyword(name):
                raise refusal("must have a Python identifier as its name", "axes", name)
            new = axis.coordinates(name) if len(axis.names) > 1 else []
            for word in (name, *new):
                if word in RESERVED or word.startswith(RESERVED_STEMS) or (*taken, *new).count(word) > 1:
                    raise refusal(f'cannot use the name "{word}": reserved or taken', "axes", name)
            taken += new
        return self

    @model_validator(mode="after")
    def _check_families(self) -> "Case":
        for name, family in self.families.items():
            rows = [self.n_features] * self.n_hidden
            if isinstance(family.W, list) and [len(row) for row in family.W] != rows:
                raise refusal(f"must have {self.n_hidden} rows of {self.n_features} numbers", "families", name, "W")
            if family.along not in self.axes or len(self.axes[family.along].names) > 1:
                raise refusal("must be the name of an axis of one field", "families", name, "along")
        return self

    def _target(self, path: str, values: list[float], at: Location, at_values: Location) -> Location:
        """What an axis on `path` sets, after trying its extreme values there: a field, or one entry of it.
        Refused, at the path or at the values, if that is no sweepable field or no value for it."""
        key = re.fullmatch(r"([\w.]+)(\[-?\d+\])?", path)
        parts = tuple(key[1].split(".")) if key else (path,)
        if parts[0] in ("phases", "plot", "axes", "families"):
            raise refusal("does not concern training, cannot be swept", *at)
        if path == "importance.ratio" and not isinstance(self.importance, Profile):
            raise refusal("needs importance = {ratio = ...}", *at)
        tree, target = self.model_dump(exclude={"axes", "families"}), parts
        for value in (min(values), max(values)):
            try:
                new: Any = value
                if key and key[2]:
                    new, target = with_entry(self, tree, parts, [int(key[2][1:-1])], value)
                Case.model_validate(merge(tree, nest(parts, new)))
            except IndexError as error:
                raise refusal(str(error), *at) from None
            except ValidationError as error:
                problem = error.errors()[0]
                if problem["type"] == "extra_forbidden":
                    hint = unknown(Case, untagged(problem["loc"]), "case.").partition("\n")[0]
                    raise refusal(f"no such field{hint}", *at) from None
                if problem["type"].endswith(("_type", "literal_error")):
                    raise refusal("is static, must be a number to sweep; make it a case", *at) from None
                raise refusal(f"{value} is refused: {path} {wanted(Case, problem)}", *at_values) from None
        return ("importance",) if path == "importance.ratio" else target


def with_entry(case: Case, tree: dict[str, Any], path: Keys, indices: list[int], value: Any) -> tuple[Any, Location]:
    """The list at `path` with one entry set, and the location of that entry. A number for all features, or a
    profile, becomes a list first. Raises IndexError if there is no such entry."""
    vectors = {("importance",): case.importance_vector, ("data", "density"): case.density_vector}
    values, at = lookup(tree, path, lookup(case.model_dump(), path, _NO_SUCH_KEY)), path
    if path in vectors and not isinstance(values, list):
        values = vectors[path]()
    if values is _NO_SUCH_KEY:  # validation says so
        return [value], at
    values = inner = copy.deepcopy(values)
    for depth, index in enumerate(indices, 1):
        if not isinstance(inner, list) or not inner:
            raise IndexError(f"{dotted(at)} has no entries")
        if not -len(inner) <= index < len(inner):
            raise IndexError(f"index must be in {-len(inner)} ... {len(inner) - 1}")
        at = (*at, index % len(inner))
        if depth == len(indices):
            inner[index] = value
        inner = inner[index]
    return values, at
