"""One clear message from the errors of pydantic: the place, the key, what it got, what is allowed."""

import re
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from superjax.errors import SweepError, clip, near
from superjax.problem.options import KINDS, Must, Powers
from superjax.spec.aliases import ALIASES
from superjax.spec.axis import AXIS, Axis
from superjax.spec.emit import dotted, toml
from superjax.spec.fields import Attack, Autoencoder, Boundary, Family, Head
from superjax.spec.trees import Location, lookup

M = TypeVar("M", bound=BaseModel)

_WANTED = {
    "greater_than": "must be > {gt:.15g}",
    "greater_than_equal": "must be >= {ge:.15g}",
    "less_than": "must be < {lt:.15g}",
    "less_than_equal": "must be <= {le:.15g}",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "literal_error": "must be one of {expected}",
    "union_tag_invalid": "must be a number or a list of numbers",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} entries",
}


class Source(NamedTuple):
    """Values and where they were written. `place` begins a message; it already names the key `own`."""

    place: str
    prefix: str
    tree: dict[str, Any]
    own: Location = ()


def source(sources: list[Source], loc: Location) -> Source:
    """The strongest source that reaches furthest towards `loc`; the first one if none has any of it."""

    def reach(k: int) -> tuple[int, int]:
        depth = sum(lookup(sources[k].tree, loc[: d + 1], None) is not None for d in range(len(loc)))
        return depth, k if depth else -k

    return sources[max(range(len(sources)), key=reach)]


def validate(model: type[M], tree: dict[str, Any], sources: list[Source], case: str = "") -> M:
    """The values of `tree`, which come from `sources`, as a `model`. Raises SweepError."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        found = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        problems = [_explain(model, problem, tree, sources, case) for problem in found]
        raise SweepError("\n".join(_summary(problems))) from None


def _summary(problems: list[tuple[str, str]]) -> list[str]:
    """The first problems in at most six lines: what is allowed follows the last of those that it is said of."""
    count = 2 if len(problems) > 3 and len({allowed for _, allowed in problems[:3] if allowed}) == 3 else 3
    lines, shown = [], problems[:count]
    for k, (text, allowed) in enumerate(shown):
        lines.append(text)
        if allowed and allowed not in [later for _, later in shown[k + 1 :]]:
            lines.append(f"  allowed: {allowed}")
    return [*lines, f"and {len(problems) - count} more"] if len(problems) > count else lines


def _explain(
    root: type[BaseModel], problem: ErrorDetails, tree: dict[str, Any], sources: list[Source], case: str
) -> tuple[str, str]:
    """One of pydantic's errors in a line, place, key, what it got and must be; and the keys that are allowed there."""
    loc = (*untagged(problem), *problem.get("ctx", {}).get("at", ()))
    origin, got = source(sources, loc), lookup(tree, loc, problem["input"])
    key = origin.prefix + clip(dotted(loc))
    if problem["type"] == "missing":
        return f"{origin.place}: {key} is missing (case {case})", ""
    allowed = ""
    if problem["type"] == "extra_forbidden":
        hint, allowed = unknown(root, loc, origin.prefix)
        text = f"unknown key{hint}"
    else:
        text = wanted(root, problem)
    if problem["type"] == "refused" and isinstance(got, dict) and loc[:1] == ("axes",):  # something about a whole axis
        field = None if {"field", "fields"} & got.keys() else _field_named(root, str(loc[-1]))
        hint = near(loc[-1], [name for name in tree["axes"] if name != loc[-1]])
        hint = f"; did you mean field = {toml(field)}?" if field else hint
        return f"{origin.place}: {key} {text.replace(AXIS, key)}{hint}", ""
    if loc == origin.own:
        return f"{origin.place}: {text}", allowed
    return f"{origin.place}: {key} = {clip(toml(got))}, {text}", allowed


def wanted(root: type[BaseModel], problem: ErrorDetails) -> str:
    """What `root` allows, by the type of pydantic's error."""
    kind, loc, context = problem["type"], untagged(problem), problem.get("ctx", {})
    info = _model(root, loc[:-1]).model_fields.get(str(loc[-1])) if loc else None
    must = next((mark.be for mark in info.metadata if isinstance(mark, Must)), "") if info else ""
    if must and kind.endswith(("_type", "literal_error", "tag_invalid")):
        return f"must be {must}"
    if kind not in _WANTED:
        return problem["msg"]
    hint = near(problem["input"], re.findall("'(.*?)'", context.get("expected", "")))
    return _WANTED[kind].format(**context).replace("'", '"') + hint


def unknown(root: type[BaseModel], loc: Location, prefix: str) -> tuple[str, str]:
    """A hint for a key that `root` has not, in a table of the file if there is a `prefix`, and the keys it has."""
    allowed, word = list(_model(root, loc[:-1]).model_fields), str(loc[-1])
    if len(loc) > 1:
        hint = near(word, allowed, f"{dotted(loc[:-1])}.")
    else:
        allowed += ["preset"] if prefix else ["preset", *Head.model_fields, "cases", "case"]
        tables = [key for key, info in root.model_fields.items() if isinstance(info.default, BaseModel)]
        deeper = [key for key in tables if word in _model(root, (key,)).model_fields]
        hint = f"; did you mean {deeper[0]}.{word}?" if deeper else near(word, allowed)
    if word.lower() in ALIASES:
        hint = f"; did you mean {ALIASES[word.lower()]}?"
    return hint, ", ".join(allowed)


def _field_named(root: type[BaseModel], word: str) -> str:
    """The path of the field of training that is a real number and has this name, "" if there is none."""
    for table in ((), ("model",), ("data",), ("target",), ("train",)):
        info = _model(root, table).model_fields.get(word)
        if info and isinstance(info.default, float):
            return dotted((*table, word))
    return ""


def untagged(problem: ErrorDetails) -> Location:
    """The place of an error as the user knows it, without the alternatives that pydantic tried there. A key that is
    not known is the user's, whatever it is called."""
    loc = problem["loc"]
    own = len(loc) - (problem["type"] == "extra_forbidden")
    return (*(part for part in loc[:own] if part not in KINDS and part != "[key]"), *loc[own:])


def _model(root: type[BaseModel], loc: Location) -> type[BaseModel]:
    """The model that has the keys at `loc` of a `root`."""
    if loc[:1] == ("axes",):
        return Axis
    if loc[:1] == ("families",):
        return Family
    if loc[:1] == ("autoencoder",):
        return Autoencoder
    if loc[:1] == ("attack",):
        return Attack
    if loc[:1] == ("boundary",):
        return Boundary
    if loc[:1] == ("terms",):
        return get_args(root.model_fields["terms"].annotation)[1]
    if loc == ("importance",) or len(loc) > 1:
        return Powers
    return type(root.model_fields[str(loc[0])].default) if loc else root
