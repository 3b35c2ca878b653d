"""One case of a sweep, and what its axes may set."""

import copy
import itertools
import keyword
import math
import re
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from superjax.errors import SweepError, refusal
from superjax.problem.data import Finite
from superjax.problem.members import BUILT_IN, member, options_of, own_options
from superjax.problem.numbers import LEAST_DRAWN, SCALE
from superjax.problem.options import Count, Frozen, Powers, is_per_feature, vector
from superjax.problem.user_code import tried
from superjax.spec.axis import Axis
from superjax.spec.emit import dotted, toml
from superjax.spec.fields import (
    Attack,
    Autoencoder,
    Boundary,
    Dimension,
    Family,
    Importance,
    Model,
    Phases,
    Plot,
    Train,
)
from superjax.spec.messages import unknown, untagged, wanted
from superjax.spec.names import Text
from superjax.spec.parts import Data, Target, Term
from superjax.spec.sizes import MODELS, NAME, WEIGHTS
from superjax.spec.trees import Keys, Location, lookup, merge, nest, split_key

RESERVED = frozenset(  # what a dataset can have, besides names that begin with one of RESERVED_STEMS
    "restart feature hidden output latent snapshot step phase_kind solution solution_deviation W b loss W_snapshots"
    " b_snapshots loss_snapshots norm_snapshots interference_snapshots dimensionality_snapshots phase_snapshots"
    " test_loss objective feature_loss explained grad_norm diverged_at best norm"
    " interference dimensionality phase margin typical_norm typical_interference typical_phase phase_fraction gap"
    " has_superposition superposition_fraction success agreement".split()
)
RESERVED_STEMS = ("optimum", "family", "term_", "autoencoder", "attack", "boundary")
_NO_SUCH_KEY = object()
_POWERS = frozenset({"ratio", "zipf", "first"})


class Case(Frozen):
    """One static variant of a sweep: shapes, model, data, training, and the axes of its grid."""

    restarts: Count = Field(10, description="how many models with different initial weights are trained in every cell")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        0,
        description="the seed of all random numbers; initial weights come from it and the number of the restart, and "
        "are the same in all cells",
    )
    start_from: Text = Field(
        "",
        description="the folder of a finished run, as `results/NAME`: every model starts from the weights that the "
        "model of the same case, cell and restart has there, and is trained on under new settings of `train`",
    )
    n_features: Dimension = Field(description="n, the number of features")
    n_hidden: Dimension = Field(description="m, the number of hidden dimensions; an axis may set smaller numbers")
    importance: Importance = Field(1.0, description="how much the error of each output counts")
    optimum: bool = Field(
        False,
        description="whether the best solution of every cell is searched after training, which adds the `optimum_...` "
        "variables",
    )
    model: Model = Field(Model(), description="what the network computes")
    data: Data = Field(Data(), description="where inputs come from")
    target: Target = Field(Target(), description="what should come out")
    terms: dict[Text, Term] = Field({}, description="what is minimised, `[terms.NAME]` each")
    train: Train = Field(Train(), description="how one model is trained")
    phases: Phases = Field(Phases(), description="thresholds of the phases, and of what they are phases")
    families: dict[Text, Family] = Field({}, description="solutions that are followed along an axis")
    autoencoder: Autoencoder | None = Field(
        None, description="trains a dictionary on the hidden activations of every model"
    )
    attack: Attack | None = Field(None, description="attacks every model")
    boundary: Boundary | None = Field(
        None, description="searches where a classification of the models changes, between the points of the grid too"
    )
    plot: Plot = Field(Plot(), description="drawing")
    axes: dict[str, Axis] = Field({}, description="the axes of the grid, `[axes.NAME]` each")

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(axis.size for axis in self.axes.values())

    @property
    def n_models(self) -> int:
        """Models of all cells and restarts."""
        return math.prod(self.shape) * self.restarts

    @property
    def n_outputs(self) -> int:
        """Entries of the target, each with an importance: as many as features, but for some targets."""
        found = _outputs(self.target.kind, self.n_features)
        if found is None:
            return len(self.importance) if isinstance(self.importance, list) else self.n_features
        return found

    def vector(self, *path: str) -> list[float]:
        """The values of a field with a number for every feature, before any axis."""
        return vector(lookup_field(self, path), self.size_of(path))

    def size_of(self, path: Location) -> int:
        """Entries of a field with a number for every feature; importance has one for every output."""
        return self.n_outputs if path == ("importance",) else self.n_features

    def importance_vector(self) -> list[float]:
        """The importance of each output, before any axis."""
        return self.vector("importance")

    def density_vector(self) -> list[float]:
        """The density of each feature, before any axis."""
        return self.vector("data", "density")

    def per_feature(self) -> list[Keys]:
        """The fields with a number for every feature."""
        return [("importance",), *(("data", name) for name, field in type(self.data).model_fields.items()
                                   if is_per_feature(field))]  # fmt: skip

    def term_kinds(self) -> dict[str, str]:
        """The terms of the loss in their order, and what each is: the error first, squared if none is given."""
        kinds = {name: term.kind or name for name, term in self.terms.items()}
        return {**(self._errors(kinds) or {"squared": "squared"}), **kinds}

    def _errors(self, kinds: dict[str, str]) -> dict[str, str]:
        """Those of the terms that are errors."""
        found = {name: _known("terms", kind, f"terms.{name}.kind") for name, kind in kinds.items()}
        return {name: kinds[name] for name, term in found.items() if term is not None and term.error}

    def swept(self) -> dict[Location, tuple[str, str]]:
        """What the axes set, a field or one entry of it -> name of the axis and path as it is written there."""
        found = {}
        for name, axis in self.axes.items():
            for path in axis.names:
                keys, indices, _ = split_key(path) or ((path,), [], "")
                found[(*keys, *(index % self.size_of(keys) for index in indices))] = name, path
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
    def _check_terms(self) -> "Case":
        for name, term in self.terms.items():
            kind = term.kind or name
            if kind not in BUILT_IN["terms"] and not term.kind:
                names = ", ".join(map(toml, BUILT_IN["terms"]))
                raise refusal(f'must have kind = {names} or "pkg.module:Class"', "terms", name)
            if (found := _known("terms", kind, f"terms.{name}.kind")) is None:
                continue
            allowed, fields = options_of(found).model_fields, type(term).model_fields
            for key in sorted(term.model_fields_set & fields.keys() - {"kind", *allowed}):
                if getattr(term, key) == fields[key].default:
                    continue
                has = ", ".join(allowed) or "no options"
                raise refusal(f"is no option of the term {toml(kind)}, it has {has}", "terms", name, key)
        if len(self._errors(self.term_kinds())) > 1:
            raise refusal("must have one error at most, as squared or power", "terms")
        return self

    @model_validator(mode="after")
    def _check_own_options(self) -> "Case":
        """What a user's member asks of its options together."""
        tables = {("data",): self.data, ("target",): self.target, ("model",): self.model}
        tables |= {("terms", name): term for name, term in self.terms.items()}
        for path, table in tables.items():
            kind = table.kind or path[-1]
            if kind not in BUILT_IN[path[0]] and _known(path[0], kind) is not None:
                try:
                    own_options(path[0], kind, table)
                except ValidationError as error:
                    problem = error.errors()[0]
                    raise refusal(f"is refused: {problem['msg']}", *path, *map(str, problem["loc"])) from None
        return self

    @model_validator(mode="after")
    def _check_phases(self) -> "Case":
        """Phases are those of an array of the model; solutions that are searched for or followed are a `W`."""
        array, model = self.phases.array, _known("model", self.model.kind)
        if array == "W":
            return self
        if wish := "optimum = true" if self.optimum else "families" if self.families else "":
            raise refusal(f'must be "W" with {wish}, which is about W', "phases", "array")
        features = {"feature", "output"} if self.n_outputs == self.n_features else {"feature"}
        for_features = [
            name for name, own in (model.dims if model else {}).items()
            if isinstance(own, tuple) and len(own) == 2 and "hidden" in own and features & {*own}
        ]  # fmt: skip
        if model and array not in for_features:
            has = ", ".join(for_features) or "none"
            text = f"must be an array (hidden, feature) or (feature, hidden) of {self.model.kind}; it has {has}"
            raise refusal(text, "phases", "array")
        return self

    @model_validator(mode="after")
    def _check_vectors(self) -> "Case":
        for path in self.per_feature():
            value, n = lookup_field(self, path), self.size_of(path)
            size = "n_features" if n == self.n_features else "the number of outputs"
            if isinstance(value, list) and len(value) != n:
                raise refusal(f"must have {size} = {n} entries, has {len(value)}", *path)
            if isinstance(value, Powers) and (fault := value.fault(n)):
                key, what = fault
                raise refusal(f"must not {what} at {size} = {n}: its powers are float32", *path, key)
            if path != ("importance",) and isinstance(value, Powers):
                for i, entry in enumerate(value.values(n)):
                    if not SCALE[0] <= entry <= 1:
                        text = f"makes {'.'.join(path)} {entry:.3g} of feature {i}, must be in (0, 1]"
                        raise refusal(text, *path, "ratio" if value.ratio is not None else "zipf")
        value = self.importance
        if isinstance(value, list) and max(value) < SCALE[0]:
            raise refusal(f"must have at least one entry > 0, of {SCALE[0]} or more" if any(value) else
                          "must have at least one entry > 0", "importance")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _check_data(self) -> "Case":
        data, n, train = self.data, self.n_features, self.train
        size = data.set_size if data.kind == "sets" else 1
        if n % size:
            raise refusal(f"must divide n_features = {n}", "data", "set_size")
        density = self.density_vector()
        if size > 1 and any(density[i] != density[i - i % size] for i in range(n)):
            raise refusal(f"must be equal in every set of {size} features", "data", "density")
        law = _known("data", data.kind)
        if law is not None and issubclass(law, Finite) and train.objective != "exact":
            raise refusal(f'must be "exact" with data.kind = {toml(data.kind)}: every step takes all its points',
                          "train", "objective")  # fmt: skip
        if train.objective != "exact" and not train.skip_empty and min(density) < LEAST_DRAWN:
            text = f"must be at least 2**-23 = {LEAST_DRAWN:.2g} with {train.objective}: its samples are float32"
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
                whole = target[:-1] if target[-1] in _POWERS else target
                same = [own for own in owners if own in (target, whole) or own[:-1] == target and own[-1] in _POWERS]
                if same:
                    raise refusal(f"axes.{owners[same[0]]} sets it already", *at)
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
        for target, (_, at) in paths.items():
            whole = target[:-1] if target[-1] in _POWERS else target
            first = 1 if target[-1] in ("ratio", "zipf") else 0  # ratio ** 0 is 1
            entries = {(*whole, i) for i in range(first, self.size_of(whole))}
            if whole in self.per_feature() and entries <= owners.keys():
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

    @model_validator(mode="after")
    def _check_boundary(self) -> "Case":
        """The axes of a boundary are lines of numbers, and restarts start alike at every point of it."""
        if (wanted := self.boundary) is None:
            return self
        if len(self.axes) < 2:
            raise refusal("needs two axes at least", "boundary")
        for key, name in zip("xy", self.plane, strict=True):
            values = self.axes[name].table()[:, 0] if name in self.axes else None
            if values is None or name == self.plane[key == "x"]:
                raise refusal(f"must be the name of an axis, another than {'y' if key == 'x' else 'x'}",
                              "boundary", key)  # fmt: skip
            rises = [a < b for a, b in itertools.pairwise(values)]
            if len(values) < 2 or "n_hidden" in self.axes[name].names or any(rises) != all(rises):
                raise refusal(f"is along {name}, must be an axis of numbers that rise or fall, not n_hidden",
                              "boundary", *([key] if getattr(wanted, key) else []))  # fmt: skip
        if wanted.by == "optimum" and wanted.of == "diverged":
            raise refusal('must be "best" or "most" with boundary.of = "diverged": the optimum does not', "boundary",
                          "by")  # fmt: skip
        if wanted.by != "optimum" or wanted.band:
            if self.train.starts != "common":
                text = 'needs train.starts = "common": else chance decides the class of every point'
                raise refusal(text + (" (or boundary.band = 0)" if wanted.by == "optimum" else ""), "boundary")
            if self.start_from:
                raise refusal("trains new points, which have no weights in start_from (boundary.band = 0 with "
                              'by = "optimum" trains none)', "boundary")  # fmt: skip
        return self

    @property
    def plane(self) -> tuple[str, str]:
        """The names of the two axes of the boundary."""
        names, wanted = list(self.axes), self.boundary or Boundary()
        y = wanted.y or [name for name in names if name != wanted.x][-1]
        return wanted.x or [name for name in names if name != y][-1], y

    def _target(self, path: str, values: list[float], at: Location, at_values: Location) -> Location:
        """What an axis on `path` sets, after trying its extreme values there: a field, or one entry of it.
        Refused, at the path or at the values, if that is no sweepable field or no value for it."""
        key = re.fullmatch(r"([\w.]+)(\[-?\d+\])?", path)
        parts = tuple(key[1].split(".")) if key else (path,)
        if parts[0] in ("phases", "plot", "axes", "families", "boundary"):
            raise refusal("does not concern training, cannot be swept", *at)
        if parts[-1] in _POWERS and parts[:-1] in self.per_feature():
            value = lookup_field(self, parts[:-1])
            if not isinstance(value, Powers) or getattr(value, parts[-1]) is None:
                raise refusal(f"needs {dotted(parts[:-1])} = {{{parts[-1]} = ...}}", *at)
        if parts == ("n_hidden",):
            return self._masked(values, at_values)
        tree, target = self.model_dump(exclude={"axes", "families", "boundary"}, exclude_none=True), parts
        for value in {min(values), max(values), min((abs(v), v) for v in values if v or v == min(values))[1]}:
            try:
                new: Any = value
                if key and key[2]:
                    new, target = with_entry(self, tree, parts, [int(key[2][1:-1])], value)
                type(self).model_validate(merge(tree, nest(parts, new)))
            except IndexError as error:
                raise refusal(str(error), *at) from None
            except ValidationError as error:
                problem = error.errors()[0]
                if problem["type"] == "extra_forbidden":
                    hint = unknown(type(self), untagged(problem), "case.")[0]
                    raise refusal(f"no such field{hint}", *at) from None
                if problem["type"].endswith(("_type", "literal_error")):
                    more = ", or take more restarts" if path == "seed" else ""
                    raise refusal(f"is static, the same in all cells; make it a case{more}", *at) from None
                raise refusal(f"{value} is refused: {path} {wanted(type(self), problem)}", *at_values) from None
        return target

    def _masked(self, values: list[float], at_values: Location) -> Location:
        """An axis over n_hidden takes the first so many hidden dimensions of arrays of size n_hidden."""
        for value in values:
            if value != int(value) or not 1 <= value <= self.n_hidden:
                allowed = f"whole numbers from 1 to n_hidden = {self.n_hidden}"
                raise refusal(f"{value:g} is refused: an axis over n_hidden has {allowed}", *at_values)
        return ("n_hidden",)


def lookup_field(case: Any, path: Keys) -> Any:
    """The value of a field of a case."""
    for key in path:
        case = getattr(case, key)
    return case


def _known(part: str, kind: str, path: str = "") -> Any:
    """The member of a name, None if it cannot be imported: that is said where it is needed."""
    try:
        return member(part, kind, path)
    except SweepError:
        return None


def _outputs(kind: str, n_features: int) -> int | None:
    """Entries of a target, None if it cannot be imported or called."""
    target = _known("target", kind)
    found, error = tried(target.n_outputs, n_features) if target else (None, None)
    return None if error else found


def with_entry(case: Case, tree: dict[str, Any], path: Keys, indices: list[int], value: Any) -> tuple[Any, Location]:
    """The list at `path` with one entry set, and the location of that entry. A number for all features, or a
    profile, becomes a list first. Raises IndexError if there is no such entry."""
    values, at = lookup(tree, path, lookup(case.model_dump(), path, _NO_SUCH_KEY)), path
    if path in case.per_feature() and not isinstance(values, list):
        values = case.vector(*path)
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
