"""From a file and batches of overrides to its cases: which there are, and their values, weakest first."""

import functools
import itertools
import math
from typing import Any

from superjax.errors import SweepError, clip, near
from superjax.spec import effects, names
from superjax.spec.case import Case, with_entry
from superjax.spec.effects import Resolved
from superjax.spec.emit import dotted, toml
from superjax.spec.fields import Head
from superjax.spec.messages import Source, source, validate
from superjax.spec.overrides import Override
from superjax.spec.parts import with_own_options
from superjax.spec.presets import PRESETS
from superjax.spec.sizes import CASES
from superjax.spec.trees import Keys, Location, flatten, lookup, merge, nest

Table = dict[str, Any]

_AT_MOST: dict[Keys, Keys] = {("train", "snapshots"): ("train", "steps"), ("train", "streams"): ("restarts",)}
_NOT_OF_A_CASE = {*Head.model_fields, "cases", "case"}


def resolve_cases(
    name: str, shown: str, raw: Table, batches: list[list[Override]], study: str | None
) -> dict[str, Case]:
    """The selected cases of the file with the content `raw`, which is `shown` in messages; `name` is that of the
    only case of a file without cases. Later batches are stronger. Raises SweepError."""
    overrides = list(itertools.chain(*batches))
    tables = raw.get("case", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise SweepError(f"{shown}: case = {clip(toml(tables))}, must be tables [case.NAME]")
    given = [(shown, (), raw["cases"])] if "cases" in raw else []
    given += [(o.place, o.path[1:], o.value) for o in overrides if o.path[0] == "cases"]
    selection, product = _selection_and_product(given)
    written = _points(product) if product else {case: [] for case in tables or [name]}
    for case in written:
        if fault := names.fault(case):
            raise SweepError(f"{shown}: case {clip(toml(case))} {fault}, write [case.NAME]")
    place, selected = selection or ("", list(written))
    named = [(shown, case) for case in tables] + [(place, case) for case in selected]
    for place, case in named + [(o.place, o.path[1]) for o in overrides if o.path[0] == "case"]:
        if case not in list(written):  # it may be a list
            got, allowed = clip(toml(case)), clip(", ".join(written), 500)
            raise SweepError(f"{place}: unknown case {got}{near(case, written)}\n  allowed: {allowed}")
    for case, table in tables.items():
        written[case].append(Source(shown, _prefix(case), table))
    base = Source(shown, "", {key: value for key, value in raw.items() if key not in _NOT_OF_A_CASE})
    resolved = {case: _case(case, base, written[case], batches) for case in selected}
    as_written = {case: {**_as_written(base, own), "study": raw.get("study", "")} for case, own in written.items()}
    return effects.settle(resolved, as_written, batches[-1] if batches else [], study)


def _as_written(base: Source, own: list[Source]) -> Table:
    """What the file alone says of a case."""
    tree = functools.reduce(merge, (one.tree for one in own), base.tree)
    preset = tree.get("preset")
    return merge(PRESETS[preset], tree) if isinstance(preset, str) and preset in PRESETS else tree


def _selection_and_product(
    given: list[tuple[str, Keys, Any]],
) -> tuple[tuple[str, list[Any]] | None, dict[Keys, tuple[str, list[Any]]]]:
    """What all that is given for `cases`, by place and path in it, comes to: the names of the cases to take,
    and the values of each field of the product, both with their place."""
    selection: tuple[str, list[Any]] | None = None
    product: dict[Keys, tuple[str, Any]] = {}
    for place, path, value in given:
        if path or isinstance(value, dict):
            product |= {key: (place, values) for key, values in flatten(nest(path, value))}
        elif isinstance(value, list) and value and len(set(map(str, value))) == len(value):
            selection = place, value
        else:
            raise SweepError(f"{place}: cases = {clip(toml(value))}, must list one case or more, each once")
    count = math.prod(len(values) for _, values in product.values() if isinstance(values, list))
    if count > CASES:
        place, _ = next(reversed(product.values()))
        raise SweepError(f"{place}: cases makes a product of {count:,} cases, at most {CASES:,} are run at once")
    for key, (place, values) in product.items():
        if not isinstance(values, list) or not values or len(set(map(toml, values))) < len(values):
            got = f"cases.{dotted(key)} = {clip(toml(values))}"
            raise SweepError(f"{place}: {got}, must list one value or more, each once")
    return selection, product


def _points(product: dict[Keys, tuple[str, list[Any]]]) -> dict[str, list[Source]]:
    """The cases of a product by name, and the values of each."""
    written: dict[str, list[Source]] = {}
    for point in itertools.product(*(values for _, values in product.values())):
        pairs = list(zip(product, point, strict=True))
        case = "_".join(f"{key[-1]}{f'_{v}' if isinstance(v, str) else toml(v)}" for key, v in pairs)
        written[case] = [Source(product[key][0], "cases.", nest(key, value)) for key, value in pairs]
    return written


def _case(name: str, base: Source, written: list[Source], batches: list[list[Override]]) -> Resolved:
    """Merge everything that concerns a case, weakest first, and validate it. `written` is what the file and the
    product of cases say of this case only."""
    sources, tree = [base._replace(tree={}), base, *written], base.tree
    for own in written:
        tree = merge(tree, own.tree)
    entries: list[tuple[str, int, Override]] = []  # overrides of single entries; prefix and number of their layer
    for number, (prefix, layer) in enumerate(_layers(name, batches)):
        whole: Table = {}
        for override in (o for o in layer if not o.indices):
            keys = override.path
            sources.append(Source(override.place, prefix, nest(keys, override.value), keys))
            whole = merge(whole, sources[-1].tree, rivals=False)
            entries = [entry for entry in entries if entry[-1].path[: len(keys)] != keys]
        tree = merge(tree, whole)
        entries += [(prefix, number, o) for o in layer if o.indices]
    tree = _lowered(_with_preset(tree, sources), sources, {o.place for batch in batches[-1:] for o in batch})
    kind = with_own_options(Case, tree)
    case = validate(kind, tree, sources, name)
    seen: set[tuple[int, Location]] = set()
    for prefix, number, override in entries:
        try:
            values, at = with_entry(case, tree, override.path, override.indices, override.value)
        except IndexError as error:
            raise SweepError(f"{override.place}: {error}") from None
        if (number, at) in seen:
            raise SweepError(f"{override.place}: the key is given twice, it is {dotted(at)}; leave one out")
        seen.add((number, at))
        tree = merge(tree, nest(override.path, values))
        sources.append(Source(override.place, prefix, nest(at, override.value), at))
    case = validate(kind, tree, sources, name) if entries else case
    for prefix, layer in _layers(name, batches):
        for override in layer:
            _check_not_swept(name, case, prefix, override)
    swept = {path for axis in case.axes.values() for path in axis.names}
    for own in (own for own in written if own.prefix == "cases."):
        if both := swept & {dotted(path) for path, _ in flatten(own.tree)}:
            raise SweepError(f"{own.place}: cases.{both.pop()}: an axis sweeps it; leave one out")
    return Resolved(case, tree, sources)


def _check_not_swept(name: str, case: Case, prefix: str, override: Override) -> None:
    """Refuse an override of what an axis sweeps in this case: it would change nothing."""
    swept = case.swept()
    for path, value in flatten(nest(override.path, override.value)):
        at = (*path, *(index % case.size_of(path) for index in override.indices))
        entries = [(*at, i) for i in range(case.size_of(path))]
        if at == ("n_hidden",):  # the size of the arrays, of which an axis takes parts
            continue
        hidden = next((target for target in swept if at[: len(target)] == target), None)
        if hidden is None and swept.keys() >= set(entries):
            hidden = entries[0]
        if hidden is not None:
            axis, swept_path = swept[hidden]
            one = hidden == at and len(case.axes[axis].names) == 1 and isinstance(value, int | float)
            values = toml([value]) if one else "[...]"
            raise SweepError(
                f"{override.place}: has no effect, axes.{axis} sweeps {swept_path} (case {name})\n"
                f"  change the axis instead: {prefix}axes.{axis}.values={values}"
            )


def _layers(name: str, batches: list[list[Override]]) -> list[tuple[str, list[Override]]]:
    """The overrides that concern a case, weakest first, and what begins their keys in messages: of each batch
    those of all cases, then its own."""
    layers: list[tuple[str, list[Override]]] = []
    for batch in batches:
        own = [o._replace(path=o.path[2:]) for o in batch if o.path[:2] == ("case", name)]
        layers += [("", [o for o in batch if o.path[0] not in _NOT_OF_A_CASE]), (_prefix(name), own)]
    return layers


def _with_preset(tree: Table, sources: list[Source]) -> Table:
    """`tree` merged over the preset that it names, which becomes the weakest source."""
    preset = tree.get("preset")
    if preset is None:
        return tree
    if not isinstance(preset, str) or preset not in PRESETS:
        place = source(sources, ("preset",)).place
        allowed = ", ".join(PRESETS)
        raise SweepError(f"{place}: unknown preset {toml(preset)}{near(preset, PRESETS)}\n  allowed: {allowed}")
    sources.insert(1, Source(f'{sources[0].place}: preset "{preset}"', "", PRESETS[preset]))
    return merge(PRESETS[preset], {key: value for key, value in tree.items() if key != "preset"})


def _lowered(tree: Table, sources: list[Source], newest: set[str]) -> Table:
    """`tree` with what may be no larger than another value lowered to it, where a stronger source set that, unless it
    is one of the newest overrides itself."""
    for at, other in _AT_MOST.items():
        value, most = lookup(tree, at, None), lookup(tree, other, None)
        if isinstance(value, int) and isinstance(most, int) and value > most > 0:
            own = source(sources, at)
            if own.place not in newest and sources.index(source(sources, other)) > sources.index(own):
                tree = merge(tree, nest(at, most))
    return tree


def _prefix(case: str) -> str:
    return f"case.{dotted((case,))}."
