"""The members of a problem by name: the built-in ones, and a user's own as `pkg.module:Name`."""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

import equinox as eqx

from superjax.problem import source
from superjax.problem.data import DISTRIBUTIONS, Distribution
from superjax.problem.models import MODELS, ToyModel
from superjax.problem.options import Options, is_per_feature, number_names, static_names
from superjax.problem.targets import TARGETS, Target, of_function
from superjax.problem.terms import TERMS, Term
from superjax.problem.user_code import named, refusal

BUILT_IN: dict[str, dict[str, Any]] = {"model": MODELS, "data": DISTRIBUTIONS, "target": TARGETS, "terms": TERMS}
_KEYS = frozenset({"kind", "init_std", "init_bias", "init_instances"})  # of the tables of parts
OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_BASES: dict[str, tuple[type, str]] = {
    "model": (ToyModel, "must be an equinox.Module class with a `dims` table of its arrays"),
    "data": (Distribution, "must be a class that inherits superjax.problem.Distribution"),
    "target": (Target, "must be a function of one input, or a class that inherits superjax.problem.Target"),
    "terms": (Term, "must be a class that inherits superjax.problem.Term"),
}


def member(part: str, kind: str | type, path: str = "") -> Any:
    """The class of a `part` of a problem ("model", "data", "target", "terms"): of a built-in name, or the user's, as
    `superjax.system.modules` finds it; a class is itself. `path` is the key of the sweep file that names it.

    Raises SweepError if there is no such module or name, or if it is no such member.
    """
    if not isinstance(kind, str):
        return kind
    if kind in BUILT_IN[part]:
        return BUILT_IN[part][kind]
    path = path or f"{part}.kind"
    found = named(path, kind, "name" if part == "target" else "Class", ", ".join(BUILT_IN[part]))
    base, wanted = _BASES[part]
    if part == "target" and callable(found) and not isinstance(found, type):
        return of_function(found)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise refusal(path, kind, wanted)
    own = getattr(found, "Options", Options)
    if not (isinstance(own, type) and issubclass(own, Options)):
        raise refusal(path, kind, "its Options must be a class that inherits superjax.problem.Options")
    if fault := _options_fault(part, found, own):
        raise refusal(path, kind, fault)
    return found


def _options_fault(part: str, cls: type, own: type[Options]) -> str:
    """What is wrong with the options of a user's member, "" if nothing is."""
    base, numbers = _BASES[part][0], set(number_names(own))
    known = {name for kind in BUILT_IN[part].values() if issubclass(cls, kind) for name in kind.Options.model_fields}
    for name, field in own.model_fields.items():
        if name in _KEYS or name not in known and hasattr(base, name):
            return f"its option {name} has a name that is taken, rename it"
        if field.is_required():
            return f"its option {name} has no default"
    if part == "model":
        for name in sorted(numbers):
            if is_per_feature(own.model_fields[name]):
                return f"its option {name} has a number for every feature, which an option of a model cannot have"
            if name in {field.name for field in dataclasses.fields(cls)} or name in cls.dims:
                return f"its option {name} is a field too: a number of a cell is no trained array, leave out the field"
        return ""
    fields = {field.name for field in dataclasses.fields(cls) if not field.metadata.get("static")}
    fields -= {"importance"} if part == "terms" else set()
    for name in sorted(numbers ^ fields):
        has, lacks = ("option", "field") if name in numbers else ("field", "option")
        return f"it has the {has} {name} and no {lacks} of that name: every number needs both"
    return ""


def own_options(part: str, kind: str, table: Any) -> Options:
    """The options of a member as its table in the sweep file gives them, the others at their defaults. Raises
    ValidationError."""
    options = options_of(member(part, kind))
    given = table.model_fields_set if table is not None else set()
    return options.model_validate({name: getattr(table, name) for name in options.model_fields if name in given})


def options_of(cls: type) -> type[Options]:
    """The table of options of a member."""
    return getattr(cls, "Options", Options)


def code_of(kinds: Mapping[str, tuple[str, str]]) -> str:
    """SHA-256 of the code of the user's members among `kinds`, (part, kind) by path, and of all that they import from
    the user's files; "" if all are built in. Raises SweepError as `member`."""
    own = {
        path: source.digest(_defined(member(part, kind, path)), kind.partition(":")[0])
        for path, (part, kind) in kinds.items()
        if kind not in BUILT_IN[part]
    }
    return source.combined(own)


def _defined(cls: type) -> Any:
    """A class, or the function that it was made of."""
    call = vars(cls).get("__call__")
    cells = getattr(call, "__closure__", None) or ()
    return next((cell.cell_contents for cell in cells if callable(cell.cell_contents)), cls)


@functools.lru_cache(maxsize=256)
def bound(cls: type, n_features: int, static: tuple[tuple[str, Any], ...]) -> Any:
    """The class of a distribution, target or term of so many features, its static options as attributes."""
    return _with(cls, {"n_features": n_features, **dict(static)})


@functools.lru_cache(maxsize=256)
def bound_model(cls: type, outputs_are_features: bool, static: tuple[tuple[str, Any], ...]) -> Any:
    """The class of a model, its static options as attributes. Where outputs are as many as features, the dimension
    `output` of its arrays is `feature`."""
    attributes = dict(static)
    if outputs_are_features and any("output" in dims for dims in cls.dims.values()):
        attributes["dims"] = {
            name: tuple("feature" if dim == "output" else dim for dim in dims) for name, dims in cls.dims.items()
        }
    return _with(cls, attributes) if attributes else cls


def _with(cls: type, attributes: dict[str, Any]) -> type:
    about = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls)(cls.__name__, (cls,), {**about, **attributes})


def statics(part: str, kind: str, table: Any) -> tuple[tuple[str, Any], ...]:
    """The static options of a member by name, without those that are not set. Raises as `own_options`."""
    options = own_options(part, kind, table)
    names = static_names(type(options))
    return tuple((name, value) for name in names if (value := getattr(options, name)) is not None)


def of_numbers(cls: type[eqx.Module], numbers: Mapping[str, Any]) -> Any:
    """A member from the numbers of a cell, which have its fields among them."""
    return cls(**{name: numbers[name] for name in (field.name for field in dataclasses.fields(cls)) if name in numbers})
