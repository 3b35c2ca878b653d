"""Sweep files: a TOML file and `KEY=VALUE` overrides become a frozen, validated `Sweep`, or one `SweepError`.

A value comes from, weakest first: the field's default, `preset`, the file, its `[cases]` product, its
`[case.NAME]` table, an override, a `case.NAME.` override. Tables merge key by key; in an axis `values`
replaces a `range` from below and the other way round. A density is the probability that a feature is active.
"""

import copy
import difflib
import itertools
import json
import keyword
import math
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    import numpy as np

MODELS = ("linear", "relu_output")
PRESETS: dict[str, dict[str, Any]] = {
    "notebook": {  # the protocol of the authors' public notebook (Elhage et al. 2022)
        "model": {"init_std": "notebook"},
        "train": {
            "objective": "minibatch", "batch": 1024, "steps": 10_000, "normalize": "features",
            "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "schedule": "constant",
        },
    },
}
RESERVED = frozenset(
    "restart feature hidden snapshot step W b loss feature_loss explained norm interference dimensionality"
    " phase margin best diverged_at grad_norm W_snapshots b_snapshots loss_snapshots success gap typical_norm"
    " typical_interference typical_phase agreement superposition solution".split()
)
_PACKAGE = Path(__file__).resolve().parent
_PART = r"""[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'"""
_KEY = re.compile(rf"\s*((?:{_PART})(?:\.(?:{_PART}))*)((?:\[-?\d+\])*)\s*")
_FILE_NAME = re.compile(r"[\w+=@~-]([\w+=@~,. -]*[\w+=@~-])?")
_RIVALS = {"values": ("range", "points"), "range": ("values",), "field": ("fields",), "fields": ("field",)}
_WANTED = {
    "greater_than": "must be > {gt:.15g}", "greater_than_equal": "must be >= {ge:.15g}",
    "less_than": "must be < {lt:.15g}", "less_than_equal": "must be <= {le:.15g}",
    "float_type": "must be a number", "finite_number": "must be a finite number",
    "int_type": "must be a whole number", "bool_type": "must be true or false",
    "string_type": "must be a string", "literal_error": "must be one of {expected}",
    "union_tag_invalid": "must be a number or a list of numbers", "list_type": "must be a list",
    "dict_type": "must be a table", "model_type": "must be a table",
    "too_short": "must have {min_length} or more entries", "too_long": "must have {max_length} entries",
}
Location = tuple[str | int, ...]


class SweepError(ValueError):
    """The user's input is wrong. At most 6 lines name the place, the key, what it got and what is allowed."""


def _refuse(text: str, *at: str | int) -> PydanticCustomError:
    """What a validator raises: `text` continues "KEY = GOT, "; `at` leads from the model to the key."""
    return PydanticCustomError("refused", "{text}", {"text": text, "at": at})


def _tag(value: Any) -> str:
    """The alternative of a field that a value is meant for, so that an error speaks of that one only."""
    kinds = {"<list>": list, "<table>": (dict, BaseModel), "<name>": str}
    return next((tag for tag, kind in kinds.items() if isinstance(value, kind)), "<number>")


NUMBER, LIST, TABLE, NAME = Tag("<number>"), Tag("<list>"), Tag("<table>"), Tag("<name>")
BY_KIND = Discriminator(_tag)
Count = Annotated[int, Field(ge=1, lt=2**31)]
Index = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Density = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Profile(_Frozen):
    """Importances in geometric progression: feature i has ratio**i."""

    ratio: Positive


class Model(_Frozen):
    """The toy model, a built-in name or "pkg.module:Class"; the standard deviation of its initial weights."""

    kind: str = "relu_output"
    init_std: Annotated[Annotated[Positive, NUMBER] | Annotated[Literal["notebook"], NAME], BY_KIND] = Field(
        default=0.4, description='a number > 0 or "notebook"'
    )

    @model_validator(mode="after")
    def _check(self) -> "Model":
        if self.kind not in MODELS and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", self.kind):
            names = ", ".join(map(_toml, MODELS))
            raise _refuse(f'must be {names} or "pkg.module:Class"{_near(self.kind, MODELS)}', "kind")
        return self


class Data(_Frozen):
    """The distribution of the features, and the density of all of them or of each."""

    kind: Literal["independent"] = "independent"
    density: Annotated[Annotated[Density, NUMBER] | Annotated[list[Density], LIST], BY_KIND] = Field(
        default=1.0, description="a number in (0, 1] or a list of them, one a feature"
    )


class Train(_Frozen):
    """How one model is trained. `batch`: samples a step; `nodes`: quadrature nodes a feature, None chooses;
    `streams`: independent sequences of batches among the restarts; `snapshots`: steps whose weights are kept;
    `normalize`: what the loss is divided by before the optimiser sees it."""

    objective: Literal["exact", "quasi", "minibatch"] = "exact"
    steps: Count = 1000
    batch: Count = 1024
    nodes: Count | None = None
    streams: Count = 1
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "lion"] = "adam"
    learning_rate: Positive = 0.03
    weight_decay: NonNegative = 0.0
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: Positive = 1e-8
    momentum: Decay = 0.0
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup_steps: Index = 0
    clip_norm: Positive | None = None
    normalize: Literal["density", "features", "none"] = "density"
    snapshots: Annotated[Annotated[Count, NUMBER] | Annotated[list[Index], LIST], BY_KIND] = Field(
        default=[], description="a number of log-spaced steps or an increasing list of steps"
    )

    @model_validator(mode="after")
    def _check(self) -> "Train":
        for key, owner in ("weight_decay", "adamw"), ("momentum", "sgd"):
            if getattr(self, key) and self.optimizer != owner:
                raise _refuse(f'must be 0 with train.optimizer = "{self.optimizer}"; it needs {owner}', key)
        if self.warmup_steps > self.steps:
            raise _refuse(f"must be <= train.steps = {self.steps}", "warmup_steps")
        steps = self.snapshots if isinstance(self.snapshots, list) else []
        if any(a >= b for a, b in itertools.pairwise(steps)) or steps and steps[-1] > self.steps:
            raise _refuse(f"must increase strictly, to at most train.steps = {self.steps}", "snapshots")
        return self


class Phases(_Frozen):
    """Thresholds: a feature is represented from this norm, superposed from this interference."""

    represented: Positive = 0.5
    superposed: Positive = 0.1


class Plot(_Frozen):
    """Drawing: maps are hatched where more than this fraction of restarts disagree; dots per inch."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    dpi: Count = 200


class Axis(_Frozen):
    """One dimension of a sweep: the field or fields it sets, and their values as a range or a list."""

    field: str | None = None
    fields: Annotated[list[str], Field(min_length=1)] | None = None
    scale: Literal["linear", "log"] = "linear"
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    points: Count | None = None
    values: Annotated[
        list[Annotated[Annotated[float, NUMBER] | Annotated[list[float], LIST], BY_KIND]], Field(min_length=1)
    ] | None = None
    label: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The paths of the fields it sets."""
        return tuple(self.fields or [self.field or ""])

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
            return np.array(self._rows(), dtype=np.float64)
        space = np.geomspace if self.scale == "log" else np.linspace
        column = space(self.range[0], self.range[1], self.points)
        return np.repeat(column[:, None], len(self.names), axis=1)

    def _rows(self) -> list[list[float]]:
        """The values, or the two ends of the range, with one number per field."""
        rows = self.values or self.range or []
        return [row if isinstance(row, list) else [row] * len(self.names) for row in rows]

    @model_validator(mode="after")
    def _check(self) -> "Axis":
        for one, other in ("field", "fields"), ("range", "values"):
            given = [getattr(self, key) for key in (one, other) if getattr(self, key) is not None]
            if len(given) != 1:
                has = f"has both {one} and {other}" if given else f"has neither {one} nor {other}"
                raise _refuse(f"{has}, must have one of them")
        if (self.range is None) != (self.points is None):
            raise _refuse("has points without range" if self.points else "has range without points")
        n = len(self.names)
        for row in self.values or ():
            if (len(row) if isinstance(row, list) else 1) != n:
                raise _refuse(f"must have {n} numbers a row, one per field, {_toml(row)} has not", "values")
        for value in itertools.chain(*self._rows()):
            if self.scale == "log" and value <= 0:
                raise _refuse(f'{value} is refused: must be > 0 with scale = "log"', self._given)
        return self

    @property
    def _given(self) -> str:
        return "values" if self.range is None else "range"


class Case(_Frozen):
    """One static variant of a sweep: shapes, model, data, training, and the axes of its grid."""

    restarts: Count = 10
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    n_features: Count
    n_hidden: Count
    importance: Annotated[
        Annotated[Positive, NUMBER] | Annotated[list[NonNegative], LIST] | Annotated[Profile, TABLE], BY_KIND
    ] = Field(default=1.0, description="a number > 0, a list of numbers >= 0, or {ratio = a number > 0}")
    optimum: bool = False
    model: Model = Model()
    data: Data = Data()
    train: Train = Train()
    phases: Phases = Phases()
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

    @model_validator(mode="after")
    def _check(self) -> "Case":
        for at, value in (("importance",), self.importance), (("data", "density"), self.data.density):
            if isinstance(value, list) and len(value) != self.n_features:
                raise _refuse(f"must have n_features = {self.n_features} entries, has {len(value)}", *at)
            if isinstance(value, Profile) and self.n_features * math.log(value.ratio) > 700:
                raise _refuse(f"must not overflow at n_features = {self.n_features}", *at, "ratio")
        owners: dict[Location, str] = {}
        taken = list(self.axes)
        for name, axis in self.axes.items():
            for k, path in enumerate(axis.names):
                at = ("axes", name, "fields", k) if axis.fields else ("axes", name, "field")
                target = self._target(path, [row[k] for row in axis._rows()], at, ("axes", name, axis._given))
                if target in owners:
                    raise _refuse(f"axes.{owners[target]} sets it already", *at)
                owners[target] = name
            if not name.isidentifier() or keyword.iskeyword(name):
                raise _refuse("must have a Python identifier as its name", "axes", name)
            new = axis.coordinates(name) if len(axis.names) > 1 else []
            for word in (name, *new):
                if word in RESERVED or word.startswith("optimum") or (*taken, *new).count(word) > 1:
                    raise _refuse(f'cannot use the name "{word}": reserved or taken', "axes", name)
            taken += new
        return self

    def _target(self, path: str, values: list[float], at: Location, at_values: Location) -> Location:
        """What an axis on `path` sets, after trying its extreme values there: a field, or one entry of it.
        Refused, at the path or at the values, if that is no sweepable field or no value for it."""
        key = re.fullmatch(r"([\w.]+)(\[-?\d+\])?", path)
        parts = tuple(key[1].split(".")) if key else (path,)
        if parts[0] in ("phases", "plot", "axes"):
            raise _refuse("does not concern training, cannot be swept", *at)
        if path == "importance.ratio" and not isinstance(self.importance, Profile):
            raise _refuse("needs importance = {ratio = ...}", *at)
        tree, target = self.model_dump(exclude={"axes"}), parts
        for value in (min(values), max(values)):
            try:
                new: Any = value
                if key and key[2]:
                    new, target = _with_entry(self, tree, parts, [int(key[2][1:-1])], value)
                Case.model_validate(_merge(tree, _nest(parts, new)))
            except IndexError as error:
                raise _refuse(str(error), *at) from None
            except ValidationError as error:
                problem = error.errors()[0]
                if problem["type"] == "extra_forbidden":
                    hint = _unknown(_untagged(problem["loc"]), "case.").partition("\n")[0]
                    raise _refuse(f"no such field{hint}", *at) from None
                if problem["type"].endswith(("_type", "literal_error")):
                    raise _refuse("is static, must be a number to sweep; make it a case", *at) from None
                raise _refuse(f"{value} is refused: {path} {_wanted(problem)}", *at_values) from None
        return ("importance",) if path == "importance.ratio" else target


class _Head(_Frozen):
    title: str = ""
    section: str = ""
    study: str | None = None


@dataclass(frozen=True)
class Sweep:
    """A resolved sweep file: `name` is the file's stem, `study` a module of `superjax.studies`."""

    name: str
    path: Path
    title: str
    section: str
    study: str | None
    cases: dict[str, Case]
    _given: "_Given" = field(repr=False, compare=False)

    def override(self, *overrides: str) -> "Sweep":
        """The sweep with more `KEY=VALUE` overrides, which win over those given before. Raises SweepError."""
        return self._given._replace(batches=(*self._given.batches, overrides)).resolve()

    def to_toml(self) -> str:
        """The resolved sweep as a sweep file, defaults spelled out, that loads to the same cases."""
        trees = {name: case.model_dump(exclude_none=True) for name, case in self.cases.items()}
        first = next(iter(trees.values()))
        same = {key for key in first if len({_toml(tree.get(key)) for tree in trees.values()}) == 1}
        common = {key: first[key] for key in first if key in same}
        rest = {name: {k: v for k, v in tree.items() if k not in same} for name, tree in trees.items()}
        head = {"title": self.title, "section": self.section, "study": self.study or ""}
        return "\n".join(_emit({**head, **common, "case": rest})) + "\n"

    def differences(self, other: "Sweep") -> list[str]:
        """What changes results, as lines "CASE: KEY = HERE, was THERE". Drawing and phases change none."""
        lines = [f"{name}: a new case" for name in self.cases if name not in other.cases]
        lines += [f"{name}: not among the cases" for name in other.cases if name not in self.cases]
        for name in (name for name in self.cases if name in other.cases):
            here, there = _results(self.cases[name]), _results(other.cases[name])
            for key in dict.fromkeys([*here, *there]):
                if here.get(key) != there.get(key):
                    lines.append(f"{name}: {key} = {here.get(key, 'unset')}, was {there.get(key, 'unset')}")
        return lines


def _results(case: Case) -> dict[str, str]:
    """All values that concern results, as TOML by dotted key."""
    drawing = {"phases": True, "plot": True, "axes": {"__all__": {"label"}}}
    tree = case.model_dump(exclude=drawing, exclude_none=True)
    return {"axes": _toml(list(case.axes)), **{_dotted(path): _toml(value) for path, value in _flatten(tree)}}


def available() -> dict[str, str]:
    """Name and title of the packaged sweeps. Raises SweepError if one of them is no TOML."""
    return {name: str(_read(path, _shown(path)).get("title", "")) for name, path in _packaged().items()}


def load(name: str | os.PathLike[str], *overrides: str) -> Sweep:
    """The packaged sweep NAME, or a file if `name` is a path object, has a separator or ends in `.toml`, with
    `KEY=VALUE` overrides applied. Raises SweepError if the user's input is wrong."""
    text = os.fspath(name)
    is_file = not isinstance(name, str) or text.endswith(".toml") or "/" in text or os.sep in text
    packaged = _packaged()
    if not is_file and text not in packaged:
        here = f"; the file in this folder is {text}.toml" if f"{text}.toml" in os.listdir() else ""
        allowed = _clip(", ".join(packaged), 500)
        raise SweepError(f"{_toml(text)}: unknown sweep{_near(text, packaged)}{here}\n  allowed: {allowed}")
    path = Path(text) if is_file else packaged[text]
    shown = text if is_file else _shown(path)
    return _Given(path, shown, _read(path, shown), (overrides,)).resolve()


def _packaged() -> dict[str, Path]:
    """The packaged sweeps by name: a checkout uses its own folder."""
    checkout = _PACKAGE.parent
    own = (checkout / "pyproject.toml").is_file() and (checkout / "sweeps").is_dir()
    return {path.stem: path for path in sorted(((checkout if own else _PACKAGE) / "sweeps").glob("*.toml"))}


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _read(path: Path, shown: str) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        hint = f"; the packaged sweep is {path.stem}, without .toml" if path.stem in _packaged() else ""
        raise SweepError(f"{shown}: cannot be read, must be a sweep file: {error.strerror}{hint}") from None
    except UnicodeDecodeError:
        raise SweepError(f"{shown}: is not UTF-8 text, must be a sweep file (TOML)") from None
    except (ValueError, RecursionError) as error:
        raise SweepError(f"{shown}: is not valid TOML: {_clip(str(error), 300)}") from None
    if not raw:
        raise SweepError(f"{shown}: is empty; a sweep needs at least n_features and n_hidden")
    return raw


class _Override(NamedTuple):
    place: str
    path: tuple[str, ...]
    indices: list[int]
    value: Any


class _Source(NamedTuple):
    """Values and where they were written. `place` begins a message; it already names the key `own`."""

    place: str
    prefix: str
    tree: dict[str, Any]
    own: Location = ()


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, key))


def _indices(text: str) -> list[int]:
    return [int(index) for index in re.findall(r"-?\d+", text)]


def _parse(text: str) -> _Override:
    """One override. A VALUE that is no TOML is a string; `cases=a,b` is a list."""
    place, match = f"{_clip(text)} (command line)", _KEY.match(text)
    if not match or text[match.end() : match.end() + 1] != "=":
        what = "no key before the =" if "=" in text else "no ="
        raise SweepError(f"{place}: {what}, must be KEY=VALUE, as train.steps=500 or data.density[4]=0.1")
    path, indices, value = _parts(match[1]), _indices(match[2]), text[match.end() + 1 :]
    if path[0] == "case" and len(path) < 3:
        raise SweepError(f"{place}: must be case.NAME.KEY=VALUE")
    try:
        table = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        table = {}
    parsed = table["value"] if len(table) == 1 else value
    if path == ("cases",) and not isinstance(parsed, list | dict):
        parsed = [name for part in value.split(",") if (name := part.strip(" \"'"))]
    return _Override(place, path, indices, parsed)


def _parse_batch(texts: Iterable[str]) -> list[_Override]:
    """Overrides given together: none may repeat another's key, or set a table that another reaches into."""
    batch: list[_Override] = []
    for new in map(_parse, texts):
        for old in batch:
            k = min(len(old.path), len(new.path))
            if old.indices == new.indices and old.path[:k] == new.path[:k]:
                raise SweepError(f"{new.place}: the key is given twice, also by {old.place}; leave one out")
        batch.append(new)
    return batch


class _Given(NamedTuple):
    """What the user gave: a file, its name in messages, and batches of overrides, later ones stronger."""

    path: Path
    shown: str
    raw: dict[str, Any]
    batches: tuple[tuple[str, ...], ...]

    def resolve(self) -> Sweep:
        name, batches = self.path.stem, [_parse_batch(batch) for batch in self.batches]
        head = {key: self.raw[key] for key in _Head.model_fields if key in self.raw}
        sources = [_Source(self.shown, "", head)]
        for given in itertools.chain(*batches):
            if given.path[0] in _Head.model_fields:
                sources.append(_Source(given.place, "", _nest(given.path, given.value), given.path))
                head = _merge(head, sources[-1].tree)
        top = _validate(_Head, head, sources)
        studies = sorted(path.stem for path in (_PACKAGE / "studies").glob("[!_]*.py"))
        study = top.study or (name if top.study is None and name in studies else None)
        if study and study not in studies:
            place = _source(sources, ("study",)).place
            raise SweepError(f"{place}: study = {_toml(study)}, no such study{_near(study, studies)}")
        written, selected = self._cases(name, batches)
        cases = {case: self._case(case, written[case], batches) for case in selected}
        return Sweep(name, self.path, top.title, top.section, study, cases, self)

    def _cases(self, name: str, batches: list[list[_Override]]) -> tuple[dict[str, list[_Source]], list[str]]:
        """What the file writes of each case beside the base, and the selected cases."""
        tables, overrides = self.raw.get("case", {}), list(itertools.chain(*batches))
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise SweepError(f"{self.shown}: case = {_clip(_toml(tables))}, must be tables [case.NAME]")
        given = [(self.shown, (), self.raw["cases"])] if "cases" in self.raw else []
        given += [(o.place, o.path[1:], o.value) for o in overrides if o.path[0] == "cases"]
        selection: tuple[str, list[Any]] | None = None
        product: dict[tuple[str, ...], tuple[str, Any]] = {}
        for place, path, value in given:
            if path or isinstance(value, dict):
                product |= {key: (place, values) for key, values in _flatten(_nest(path, value))}
            elif isinstance(value, list) and value and len(set(map(str, value))) == len(value):
                selection = place, value
            else:
                got = _clip(_toml(value))
                raise SweepError(f"{place}: cases = {got}, must list one case or more, each once")
        for key, (place, values) in product.items():
            if not isinstance(values, list) or not values or len(set(map(_toml, values))) < len(values):
                got = f"cases.{_dotted(key)} = {_clip(_toml(values))}"
                raise SweepError(f"{place}: {got}, must list one value or more, each once")
        written: dict[str, list[_Source]] = {} if product else {case: [] for case in tables or [name]}
        for point in itertools.product(*(values for _, values in product.values())) if product else ():
            pairs = list(zip(product, point, strict=True))
            case = "_".join(f"{key[-1]}{f'_{v}' if isinstance(v, str) else _toml(v)}" for key, v in pairs)
            written[case] = [_Source(product[key][0], "cases.", _nest(key, value)) for key, value in pairs]
        for case in written:
            if not _FILE_NAME.fullmatch(case):
                raise SweepError(f"{self.shown}: case {_toml(case)} is no file name, write [case.NAME]")
        place, selected = selection or ("", list(written))
        named = [(self.shown, case) for case in tables] + [(place, case) for case in selected]
        for place, case in named + [(o.place, o.path[1]) for o in overrides if o.path[0] == "case"]:
            if case not in list(written):
                allowed = _clip(", ".join(written), 500)
                case = f"{_clip(_toml(case))}{_near(case, written)}"
                raise SweepError(f"{place}: unknown case {case}\n  allowed: {allowed}")
        for case, table in tables.items():
            written[case].append(_Source(self.shown, _prefix(case), table))
        return written, selected

    def _case(self, name: str, written: list[_Source], batches: list[list[_Override]]) -> Case:
        """Merge everything that concerns a case, weakest first, and validate it."""
        apart = {*_Head.model_fields, "cases", "case"}
        base = {key: value for key, value in self.raw.items() if key not in apart}
        sources, tree = [_Source(self.shown, "", {}), _Source(self.shown, "", base), *written], base
        for source in written:
            tree = _merge(tree, source.tree)
        layers: list[tuple[str, list[_Override]]] = []
        for batch in batches:
            own = [o._replace(path=o.path[2:]) for o in batch if o.path[:2] == ("case", name)]
            layers += [("", [o for o in batch if o.path[0] not in apart]), (_prefix(name), own)]
        entries: list[tuple[int, _Override]] = []  # overrides of single entries, with their layer
        for number, (prefix, layer) in enumerate(layers):
            whole: dict[str, Any] = {}
            for given in (o for o in layer if not o.indices):
                sources.append(_Source(given.place, prefix, _nest(given.path, given.value), given.path))
                whole = _merge(whole, sources[-1].tree, rivals=False)
                entries = [(k, o) for k, o in entries if o.path[: len(given.path)] != given.path]
            tree = _merge(tree, whole)
            entries += [(number, o) for o in layer if o.indices]
        preset = tree.get("preset")
        if preset is not None:
            if not isinstance(preset, str) or preset not in PRESETS:
                place = _source(sources, ("preset",)).place
                raise SweepError(f"{place}: unknown preset {_toml(preset)}{_near(preset, PRESETS)}\n"
                                 f"  allowed: {', '.join(PRESETS)}")
            sources.insert(1, _Source(f'{self.shown}: preset "{preset}"', "", PRESETS[preset]))
            tree = _merge(PRESETS[preset], {key: value for key, value in tree.items() if key != "preset"})
        case = _validate(Case, tree, sources, name)
        seen: set[tuple[int, Location]] = set()
        for number, given in entries:
            try:
                values, at = _with_entry(case, tree, given.path, given.indices, given.value)
            except IndexError as error:
                raise SweepError(f"{given.place}: {error}") from None
            if (number, at) in seen:
                raise SweepError(f"{given.place}: the key is given twice, it is {_dotted(at)}; leave one out")
            seen.add((number, at))
            tree = _merge(tree, _nest(given.path, values))
            sources.append(_Source(given.place, layers[number][0], _nest(at, given.value), at))
        case = _validate(Case, tree, sources, name) if entries else case
        swept = {path for axis in case.axes.values() for path in axis.names}
        for source in (source for source in written if source.prefix == "cases."):
            if both := swept & {_dotted(path) for path, _ in _flatten(source.tree)}:
                raise SweepError(f"{source.place}: cases.{both.pop()}: an axis sweeps it; leave one out")
        return case


def _with_entry(
    case: Case, tree: dict[str, Any], path: tuple[str, ...], indices: list[int], value: Any
) -> tuple[Any, Location]:
    """The list at `path` with one entry set, and the location of that entry. A number for all features, or a
    profile, becomes a list first. Raises IndexError if there is no such entry."""
    vectors = {("importance",): case.importance_vector, ("data", "density"): case.density_vector}
    values, at = _lookup(tree, path, _lookup(case.model_dump(), path, _lookup)), path
    if path in vectors and not isinstance(values, list):
        values = vectors[path]()
    if values is _lookup:  # an unknown key: validation says so
        return [value], at
    values = inner = copy.deepcopy(values)
    for depth, index in enumerate(indices, 1):
        if not isinstance(inner, list):
            raise IndexError(f"{_dotted(at)} has no entries")
        if not -len(inner) <= index < len(inner):
            raise IndexError(f"index must be in {-len(inner)} ... {len(inner) - 1}")
        at = (*at, index % len(inner))
        if depth == len(indices):
            inner[index] = value
        inner = inner[index]
    return values, at


def _validate(model: type[BaseModel], tree: dict[str, Any], sources: list[_Source], case: str = "") -> Any:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        found = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise SweepError("\n".join(_explain(problem, tree, sources, case) for problem in found[:3])) from None


def _explain(problem: Any, tree: dict[str, Any], sources: list[_Source], case: str) -> str:
    """One of pydantic's errors in at most two lines: place, key, what it got, what is allowed."""
    loc = (*_untagged(problem["loc"]), *problem.get("ctx", {}).get("at", ()))
    source, got = _source(sources, loc), _lookup(tree, loc, problem["input"])
    key = source.prefix + _dotted(loc)
    if problem["type"] == "missing":
        return f"{source.place}: {key} is missing (case {case})"
    if problem["type"] == "extra_forbidden":
        wanted = f"unknown key{_unknown(loc, source.prefix)}"
    else:
        wanted = _wanted(problem)
    if loc == source.own:
        return f"{source.place}: {wanted}"
    if problem["type"] == "refused" and isinstance(got, dict):  # something about a whole axis
        near = _near(loc[-1], [name for name in tree["axes"] if name != loc[-1]])
        return f"{source.place}: {key} {wanted}{near}"
    return f"{source.place}: {key} = {_clip(_toml(got))}, {wanted}"


def _wanted(problem: Any) -> str:
    """What is allowed, by the type of pydantic's error."""
    loc, context = _untagged(problem["loc"]), problem.get("ctx", {})
    info = _model(loc[:-1]).model_fields.get(str(loc[-1])) if loc else None
    if info and info.description and problem["type"].endswith(("_type", "literal_error", "tag_invalid")):
        return f"must be {info.description}"
    if problem["type"] not in _WANTED:
        return problem["msg"]
    near = _near(problem["input"], re.findall("'(.*?)'", context.get("expected", "")))
    return _WANTED[problem["type"]].format(**context).replace("'", '"') + near


def _unknown(loc: Location, prefix: str) -> str:
    """A hint for an unknown key, in a table of the file if there is a `prefix`."""
    allowed, word = list(_model(loc[:-1]).model_fields), str(loc[-1])
    if len(loc) == 1:
        allowed += ["preset"] if prefix else ["preset", *_Head.model_fields, "cases", "case"]
    deeper = [key for key in Case.model_fields if word in getattr(_model((key,)), "model_fields", ())]
    near = f"; did you mean {deeper[0]}.{word}?" if deeper and len(loc) == 1 else _near(word, allowed)
    return f"{near}\n  allowed: {', '.join(allowed)}"


def _model(loc: Location) -> type[BaseModel]:
    """The model that has the keys at `loc`."""
    if loc[:1] == ("axes",):
        return Axis
    if loc == ("importance",):
        return Profile
    return type(Case.model_fields[str(loc[0])].default) if loc else Case


def _untagged(loc: Location) -> Location:
    return tuple(part for part in loc if part not in ("<number>", "<list>", "<table>", "<name>"))


def _source(sources: list[_Source], loc: Location) -> _Source:
    """The strongest source that reaches furthest towards `loc`; the first one if none has any of it."""

    def reach(k: int) -> tuple[int, int]:
        depth = sum(_lookup(sources[k].tree, loc[: d + 1], None) is not None for d in range(len(loc)))
        return depth, k if depth else -k

    return sources[max(range(len(sources)), key=reach)]


def _lookup(tree: Any, loc: Location, default: Any) -> Any:
    for part in loc:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return default
    return tree


def _merge(below: dict[str, Any], above: dict[str, Any], rivals: bool = True) -> dict[str, Any]:
    """`below` with the values of `above`, which also remove their rivals from it."""
    gone = {key for new in above if rivals for key in _RIVALS.get(new, ())}
    merged = {key: value for key, value in below.items() if key not in gone}
    for key, new in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, new, rivals) if isinstance(old, dict) and isinstance(new, dict) else new
    return merged


def _nest(path: Location, value: Any) -> Any:
    for part in reversed(path):
        value = {part: value}
    return value


def _flatten(table: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of a table by path; a quoted dotted key is a path too."""
    for key, value in table.items():
        match = _KEY.fullmatch(key)
        path = (*prefix, *(_parts(key) if match and not match[2] else (key,)))
        yield from _flatten(value, path) if isinstance(value, dict) else [(path, value)]


def _prefix(case: str) -> str:
    return f"case.{_dotted((case,))}."


def _near(word: Any, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(allowed), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _clip(text: str, width: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _dotted(path: Location) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if re.fullmatch("[A-Za-z0-9_-]+", part) else _toml(part))
    return text


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_dotted((key,))} = {_toml(item)}' for key, item in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _emit(table: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The lines of a TOML table, then of the tables in it."""
    inner = [key for key, value in table.items() if isinstance(value, dict)]
    if path and (len(inner) < len(table) or not table):
        yield from ("", f"[{_dotted(path)}]")
    yield from (f"{_dotted((key,))} = {_toml(value)}" for key, value in table.items() if key not in inner)
    for key in inner:
        yield from _emit(table[key], (*path, key))
