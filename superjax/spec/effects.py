"""When a field matters: the one rule that refuses input without effect.

What a user writes must matter in one at least of the cases that it reaches. A value of the file or of earlier
overrides that a later choice has left without a part to play (`train.batch` under `train.objective=exact`) is idle:
it counts as its default.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import ValidationError

from superjax.errors import NoEffect, SweepError, clip
from superjax.problem.data import DISTRIBUTIONS
from superjax.problem.members import BUILT_IN, member, options_of
from superjax.problem.numbers import single
from superjax.spec.axis import Axis
from superjax.spec.case import Case
from superjax.spec.emit import dotted, toml
from superjax.spec.fields import Attack, Autoencoder, Boundary
from superjax.spec.messages import Source, source, validate
from superjax.spec.overrides import Override
from superjax.spec.presets import PRESETS
from superjax.spec.sizes import FEATURES
from superjax.spec.trees import Keys, flatten, lookup, nest, split_key, without


class Need(NamedTuple):
    """A field that must have one of some values, that in words, and whether the values of a case meet it."""

    path: str
    text: str
    met_by: Callable[[dict[str, Any]], bool]


def _one_of(path: str, *values: Any) -> Need:
    return Need(path, f"{path} = {' or '.join(map(toml, values))}", lambda tree: _value(tree, path) in values)


def _not(path: str, value: Any) -> Need:
    def met_by(tree: dict[str, Any]) -> bool:
        return _value(tree, path) != value or any(path in axis.names for axis in _axes(tree))

    return Need(path, f"{path} other than {toml(value)}", met_by)


def _between(path: str, least: int, most: int, text: str) -> Need:
    def met_by(tree: dict[str, Any]) -> bool:
        value = _value(tree, path)
        return isinstance(value, int) and least <= value <= most

    return Need(path, f"{path} {text}", met_by)


def _given(path: str) -> Need:
    return Need(path, path, lambda tree: _value(tree, path) is not None or any(path in a.names for a in _axes(tree)))


def _sparse(which: Callable[[Iterable[bool]], bool], text: str) -> Need:
    """Features, all of them or any, that are not always active."""
    return Need("data.density", f"data.density below 1 {text}", lambda tree: which(_below_one(tree)))


def _below_one(tree: dict[str, Any]) -> list[bool]:
    """Whether some cell has a density below 1, by feature; what no validation has seen yet may have one."""
    density, n = _value(tree, "data.density"), _value(tree, "n_features")
    if not isinstance(n, int) or not 0 < n <= FEATURES or density == []:
        return [True]
    found = density if isinstance(density, list) else [density]
    below = [not isinstance(value, int | float) or single(float(value)) != 1 for value in found] * (
        n // len(found) or 1
    )
    if isinstance(density, dict):
        below = [True] * n
    columns = {path: column for axis in _axes(tree) for path, column in _columns(axis).items()}
    for path, column in sorted(columns.items()):  # the whole first, then single entries
        split = split_key(path)
        if split and split[0] == ("data", "density"):
            for k in [index % len(below) for index in split[1]] or range(len(below)):
                below[k] = any(single(value) != 1 for value in column)
    return below


def _columns(axis: Axis) -> dict[str, list[float]]:
    """The values of each field that an axis sets; of a range its ends."""
    return {path: [row[k] for row in axis.rows()[: axis.points]] for k, path in enumerate(axis.names)}


def _axes(tree: dict[str, Any]) -> list[Axis]:
    """The axes among the values of a case, without those that validation will refuse."""
    found, tables = [], tree.get("axes")
    for table in tables.values() if isinstance(tables, dict) else ():
        with suppress(ValidationError):
            found.append(Axis.model_validate(table))
    return found


def _of_kind(part: str, text: str, which: Callable[[Any], bool]) -> Need:
    """A member of a part of which something holds; what cannot be imported is asked elsewhere."""

    def met_by(tree: dict[str, Any]) -> bool:
        try:
            return which(member(part, _value(tree, f"{part}.kind")))
        except SweepError:
            return True

    return Need(f"{part}.kind", text, met_by)


def _options(part: str) -> dict[str, tuple[tuple[Need, ...], ...]]:
    """The options of the members of a part: each needs a member that has it."""
    having: dict[str, list[str]] = {}
    for kind, cls in BUILT_IN[part].items():
        for option in options_of(cls).model_fields:
            having.setdefault(option, []).append(kind)
    return {
        f"{part}.{option}": (
            (
                _of_kind(
                    part,
                    f"{part}.kind = {' or '.join(map(toml, kinds))}",
                    lambda cls, option=option: option in options_of(cls).model_fields,
                ),
            ),
        )
        for option, kinds in having.items()
    }


_MINIBATCH = _one_of("train.objective", "minibatch")
_ENUMERABLE = _between("n_features", 1, 10, "up to 10")  # the stored loss is exact there, whatever was minimised
_UNCORRELATED = " or ".join(toml(kind) for kind, cls in DISTRIBUTIONS.items() if not cls.uncorrelated)
_SKIPPING = " or ".join(toml(kind) for kind, cls in DISTRIBUTIONS.items() if cls.skips_empty)
_NOT_BY_MOMENTS = (  # of the data, which do for the loss of a linear model
    _not("model.kind", "linear"),
    _of_kind("data", f"data.kind = {_UNCORRELATED}", lambda cls: not cls.uncorrelated),
    _given("model.activation"),
    _not("target.kind", "identity"),
    _not("terms", {}),
)

# Field -> what it needs to matter: one Need of every tuple. What is not here always matters.
MATTERS: dict[str, tuple[tuple[Need, ...], ...]] = {
    **_options("model"),
    **_options("data"),
    **_options("target"),
    "data.correlation": (
        *_options("data")["data.correlation"],
        (_between("data.set_size", 2, 2**31, "of 2 or more"),),
        (_sparse(any, "of some feature"),),
    ),
    "model.init_instances": ((_one_of("model.init_std", "notebook"),),),
    "train.starts": ((Need("axes", "axes", lambda tree: bool(_axes(tree))),),),
    "train.batch": ((_one_of("train.objective", "quasi", "minibatch"),),),
    "train.skip_empty": (
        (_MINIBATCH,),
        (_of_kind("data", f"data.kind = {_SKIPPING}", lambda cls: cls.skips_empty),),
        (_sparse(all, "of every feature"),),  # else no input is all 0
    ),
    "train.nodes": (
        (_one_of("train.objective", "exact"), _ENUMERABLE),
        _NOT_BY_MOMENTS,
        (_not("data.kind", "finite"),),
        (
            _one_of("train.objective", "exact"),
            Need(
                "train.evaluation_samples",
                "no train.evaluation_samples",
                lambda tree: _value(tree, "train.evaluation_samples") is None,
            ),
        ),
    ),
    "train.evaluation_samples": ((_one_of("train.objective", "quasi", "minibatch"),), _NOT_BY_MOMENTS),
    "train.streams": ((_MINIBATCH,),),
    "train.normalize": (  # lion takes the gradient's sign
        (_one_of("train.optimizer", "adam", "adamw", "sgd", "rmsprop"), _given("train.clip_norm")),
    ),
    "train.weight_decay": ((_one_of("train.optimizer", "adamw", "lion"),),),
    "train.decayed": ((_one_of("train.optimizer", "adamw", "lion"),), (_not("train.weight_decay", 0.0),)),
    "train.b1": ((_one_of("train.optimizer", "adam", "adamw", "lion"),),),
    "train.b2": ((_one_of("train.optimizer", "adam", "adamw", "lion", "rmsprop"),),),
    "train.eps": ((_one_of("train.optimizer", "adam", "adamw", "rmsprop"),),),
    "train.momentum": ((_one_of("train.optimizer", "sgd"),),),
    "autoencoder.penalty": ((_one_of("autoencoder.kind", "l1"),),),
    "autoencoder.k": ((_one_of("autoencoder.kind", "topk"),),),
    "plot.threshold": ((_one_of("optimum", True),), (_one_of("study", "phase_diagram"),)),
}

_MISSING = object()


class Resolved(NamedTuple):
    """A validated case, the tree it was validated from, and where that comes from, weakest first."""

    case: Case
    tree: dict[str, Any]
    sources: list[Source]


def settle(
    resolved: dict[str, Resolved], as_written: dict[str, dict[str, Any]], newest: list[Override], study: str | None
) -> dict[str, Case]:
    """The cases with idle values at their defaults. `as_written` is what the file alone says of all its cases, their
    study included, of which those in `resolved` were selected; `newest` are the overrides given last. Raises
    SweepError for what has no effect anywhere."""
    idle = {}
    for name, (case, tree, sources) in resolved.items():
        values = {**tree, "study": study or ""}
        idle[name] = {path: why for path in MATTERS if (why := why_not(path, values))}
        _check_axes(name, case, sources, values)
    _check_overrides(idle, newest)
    for name, (_, tree, sources) in resolved.items():
        for path, why in idle[name].items():
            keys = tuple(path.split("."))
            value, place = lookup(tree, keys, _MISSING), source(sources, keys)
            if value in (_MISSING, _default(keys)) or place.own or place.tree in PRESETS.values():
                continue
            only = place.prefix.startswith("case.")
            reached = {name: as_written[name]} if only else as_written
            used = any(path not in idle[other] for other in reached if other in idle)
            if not used and all(why_not(path, other) for other in reached.values()):
                key = place.prefix + dotted(keys)
                raise SweepError(f"{place.place}: {key} = {clip(toml(value))}, {why} (case {name})")
    cases = {name: _settled(name, one, idle[name]) for name, one in resolved.items()}
    _check_apart(cases, resolved)
    return cases


def why_not(path: str, tree: dict[str, Any]) -> str:
    """Why the field at `path`, or an entry of it, has no effect in a case with these values (and `study`), "" if it has
    one."""
    split = split_key(path)
    for needs in MATTERS.get(".".join(split[0]), ()) if split else ():
        if not any(need.met_by(tree) for need in needs):
            values = {need.path: _value(tree, need.path) for need in needs}
            given = " and ".join(
                f"no {key}" if value is None else f"{key} = {clip(toml(value))}" for key, value in values.items()
            )
            return f"has no effect with {given}; it needs {' or '.join(need.text for need in needs)}"
    return ""


def _value(tree: dict[str, Any], path: str) -> Any:
    keys = tuple(path.split("."))
    return lookup(tree, keys, _default(keys))


def _default(keys: Keys) -> Any:
    if keys == ("study",):
        return ""
    tables: dict[str, Any] = {"autoencoder": Autoencoder(width=1), "attack": Attack(), "boundary": Boundary()}
    value: Any = tables[keys[0]] if keys[0] in tables else Case.model_fields[keys[0]].default
    for key in keys[1:]:
        value = getattr(value, key, None)
    return value


def _check_axes(name: str, case: Case, sources: list[Source], values: dict[str, Any]) -> None:
    for dim, axis in case.axes.items():
        for k, path in enumerate(axis.names):
            if why := why_not(path, values):
                at = ("axes", dim, "fields", k) if axis.fields else ("axes", dim, "field")
                place = source(sources, at)
                key = f"{place.prefix}{dotted(at)} = {toml(path)}"
                raise SweepError(f"{place.place}: {key}, {why} (case {name})")


def _check_overrides(idle: dict[str, dict[str, str]], newest: list[Override]) -> None:
    """Refuse overrides that matter in no case that they reach, defaults spelled out too."""
    for override in newest:
        own = override.path[0] == "case"
        reached = {name: paths for name, paths in idle.items() if not own or name == override.path[1]}
        for keys, value in flatten(nest(override.path[2:] if own else override.path, override.value)):
            whys = [paths.get(dotted(keys), "") for paths in reached.values()]
            if whys and all(whys):
                key = "" if len(keys) == len(override.path) - 2 * own else f"{dotted(keys)} = {clip(toml(value))}, "
                text = f"{override.place}: {key}{whys[0]} (case {next(iter(reached))})"
                raise NoEffect(text, override.path, override.indices)


def _check_apart(cases: dict[str, Case], resolved: dict[str, Resolved]) -> None:
    """Refuse cases of a product that come out equal, and what differs by case but is one for all figures."""
    first = next(iter(cases))
    products: dict[str, str] = {}
    for name, case in cases.items():
        sources = resolved[name].sources
        for field in ("dpi", "format"):
            if getattr(case.plot, field) != getattr(cases[first].plot, field):
                place = source(sources, ("plot", field)).place
                raise SweepError(f"{place}: plot.{field} must be the same in all cases, {name} and {first} differ")
        if own := next((own for own in sources if own.prefix == "cases."), None):
            twin = products.setdefault(case.model_dump_json(), name)
            if twin != name:
                _check_varied(name, resolved[name].sources)
                _check_varied(twin, resolved[twin].sources)
                raise SweepError(f"{own.place}: cases makes {twin} and {name}, which come out the same")


def _check_varied(name: str, sources: list[Source]) -> None:
    """Refuse what sets a field that `cases` varies."""
    for own in sources:
        for path, _ in flatten(own.tree) if own.prefix == "cases." else ():
            place = source(sources, path)
            if place.prefix != "cases.":
                key, value = dotted(path), clip(toml(lookup(place.tree, path, None)))
                which = "" if place.own else f"{place.prefix}{key} = {value}, "
                raise SweepError(
                    f"{place.place}: {which}sets what cases varies (case {name})\n"
                    f"  change the cases instead: cases.{key}=[{'...' if place.prefix else value}]"
                )


def _settled(name: str, one: Resolved, idle: dict[str, str]) -> Case:
    """The case with idle values left out."""
    tree = one.tree
    for path in idle:
        tree = without(tree, tuple(path.split(".")))
    return one.case if tree is one.tree else validate(type(one.case), tree, one.sources, name)
