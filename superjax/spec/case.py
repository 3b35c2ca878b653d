"""One case of a sweep, and what its axes may set."""

import copy
import keyword
import math
import re
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from superjax.errors import refusal
from superjax.spec.axis import Axis
from superjax.spec.emit import dotted
from superjax.spec.fields import (
    Count,
    Data,
    Dimension,
    Family,
    Frozen,
    Importance,
    Model,
    Phases,
    Plot,
    Profile,
    Train,
)
from superjax.spec.messages import unknown, untagged, wanted
from superjax.spec.names import Text
from superjax.spec.numbers import LEAST_DRAWN, SCALE, powers_fit, single
from superjax.spec.sizes import MODELS, NAME, WEIGHTS
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
    n_features: Dimension
    n_hidden: Dimension
    importance: Importance = Field(
        default=1.0, description="a number > 0, a list of numbers >= 0, or {ratio = a number > 0}"
    )
    optimum: bool = False
    model: Model = Model()
    data: Data = Data()
    train: Train = Train()
    phases: Phases = Phases()
    families: dict[Text, Family] = {}
    plot: Plot = Plot()
    axes: dict[str, Axis] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(axis.size for axis in self.axes.values())

    @property
    def n_models(self) -> int:
        """Models of all cells and restarts."""
        return math.prod(self.shape) * self.restarts

    def importance_vector(self) -> list[float]:
        """The importance of each feature, before any axis."""
        value, n = self.importance, self.n_features
        if isinstance(value, Profile):
            powers = [value.ratio**i for i in range(n)]
            return [power if single(power) else 0.0 for power in powers]
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
    def _check_sizes(self) -> "Case":
        if self.n_features * self.n_hidden > WEIGHTS:
            raise refusal(
                f"must be at most {WEIGHTS // self.n_features:,} at n_features = {self.n_features}", "n_hidden"
            )
        if self.train.streams > self.restarts:
            text = f"must be <= restarts = {self.restarts}: a stream of batches needs a restart that is trained on it"
            raise refusal(text, "train", "streams")
        if self.n_models > MODELS:
            name, axis = max(self.axes.items(), key=lambda item: item[1].size)
            cells, at = math.prod(self.shape), "values" if axis.values else "points"
            text = f"makes {cells:,} cells of {self.restarts:,} restarts, a case may have {MODELS:,} models"
            raise refusal(text, "axes", name, at)
        return self

    @model_validator(mode="after")
    def _check_importance(self) -> "Case":
        value, n = self.importance, self.n_features
        if isinstance(value, list) and len(value) != n:
            raise refusal(f"must have n_features = {n} entries, has {len(value)}", "importance")
        if isinstance(value, Profile) and (what := powers_fit(value.ratio, n)):
            raise refusal(f"must not {what} at n_features = {n}: its powers are float32", "importance", "ratio")
        if isinstance(value, list) and max(value) < SCALE[0]:
            raise refusal(f"must have at least one entry > 0, of {SCALE[0]} or more" if any(value) else
                          "must have at least one entry > 0", "importance")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _check_density(self) -> "Case":
        value, size, n = self.data.density, self.data.set_size if self.data.kind == "sets" else 1, self.n_features
        if isinstance(value, list) and len(value) != n:
            raise refusal(f"must have n_features = {n} entries, has {len(value)}", "data", "density")
        if n % size:
            raise refusal(f"must divide n_features = {n}", "data", "set_size")
        if isinstance(value, list) and any(value[i] != value[i - i % size] for i in range(n)):
            raise refusal(f"must be equal in every set of {size} features", "data", "density")
        least = min(value) if isinstance(value, list) else value
        if self.train.objective != "exact" and not self.train.skip_empty and least < LEAST_DRAWN:
            text = f"must be at least 2**-23 = {LEAST_DRAWN:.2g} with {self.train.objective}: its samples are float32"
            raise refusal(text, "data", "density")
        return self

    @model_validator(mode="after")
    def _check_axes(self) -> "Case":
        owners: dict[Location, str] = {}
        paths: dict[Location, tuple[str, Location]] = {}
        taken = list(self.axes)
        for name, axis in self.axes.items():
            for k, path in enumerate(axis.names):
                at = ("axes", name, "fields", k) if axis.fields else ("axes", name, "field")
                at_values = ("axes", name, "values" if axis.values else "range")
                target = self._target(path, [row[k] for row in axis.rows()], at, at_values)
                if target in owners:
                    raise refusal(f"axes.{owners[target]} sets it already", *at)
                owners[target] = name
                paths[target] = path, at
            if not name.isidentifier() or keyword.iskeyword(name):
                raise refusal("must have a Python identifier as its name", "axes", name)
            if len(name) > NAME:
                raise refusal(f"must have at most {NAME} characters in its name", "axes", name)
            new = axis.coordinates(name) if len(axis.names) > 1 else []
            for word in (name, *new):
                if word in RESERVED or word.startswith(RESERVED_STEMS) or (*taken, *new).count(word) > 1:
                    raise refusal(f'cannot use the name "{word}": reserved or taken', "axes", name)
            taken += new
        for target, (path, at) in paths.items():
            first = 1 if path == "importance.ratio" else 0  # ratio ** 0 is 1
            entries = {(*target, i) for i in range(first, self.n_features)}
            if target in (("importance",), ("data", "density")) and entries <= owners.keys():
                why = "other axes set every entry" if entries else "n_features = 1"
                raise refusal(f"has no effect: {why}", *at)
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
        for value in {min(values), max(values), min((abs(v), v) for v in values if v or v == min(values))[1]}:
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
                    hint = unknown(Case, untagged(problem["loc"]), "case.")[0]
                    raise refusal(f"no such field{hint}", *at) from None
                if problem["type"].endswith(("_type", "literal_error")):
                    more = ", or take more restarts" if path == "seed" else ""
                    raise refusal(f"is static, the same in all cells; make it a case{more}", *at) from None
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
