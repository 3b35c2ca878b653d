"""The tables of the parts of a problem: the options of all built-in members side by side, and of a user's own."""

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, create_model, model_validator

from superjax.errors import SweepError, near, refusal
from superjax.problem.members import BUILT_IN, OWN, member, options_of
from superjax.problem.options import Frozen, Options
from superjax.spec.emit import toml


class Kind(Frozen):
    """A table that says by `kind` which member of a part it is of."""

    part: ClassVar[str]
    kind: str = Field(description="which member it is")

    @model_validator(mode="after")
    def _check_kind(self) -> "Kind":
        if self.kind and self.kind not in BUILT_IN[self.part] and not OWN.fullmatch(self.kind):
            names, own = ", ".join(map(toml, BUILT_IN[self.part])), "name" if self.part == "target" else "Class"
            raise refusal(f'must be {names} or "pkg.module:{own}"{near(self.kind, BUILT_IN[self.part])}', "kind")
        return self


def table(name: str, kind: type[Kind], options: Iterable[type[Options]]) -> Any:
    """A table with the key `kind` and all of some options; each is one of several that have an option alike."""
    found = list(dict.fromkeys(options))
    bases = [one for one in found if not any(other is not one and issubclass(other, one) for other in found)]
    return type(name, (*bases, kind), {"__doc__": kind.__doc__, "__module__": __name__})


def all_options(part: str) -> list[type[Options]]:
    return [options_of(cls) for cls in BUILT_IN[part].values()]


class DataKind(Kind):
    """The distribution of the inputs, a built-in name or "pkg.module:Class", and its options."""

    part: ClassVar[str] = "data"
    kind: str = Field("independent", description="the distribution of the inputs")


class TargetKind(Kind):
    """What should come out, a built-in name or "pkg.module:name", and its options."""

    part: ClassVar[str] = "target"
    kind: str = Field("identity", description="what the model should return for an input")


class TermKind(Kind):
    """A term of the loss, a built-in name or "pkg.module:Class" (by default the name of the table), and its options."""

    part: ClassVar[str] = "terms"
    kind: str = Field("", description="which term it is, by default the one that NAME says")


if TYPE_CHECKING:
    Data = Target = Term = Any
else:
    Data = table("Data", DataKind, all_options("data"))
    Target = table("Target", TargetKind, all_options("target"))
    Term = table("Term", TermKind, all_options("terms"))


def kinds_of(tree: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The members that the values of a case name, part and kind by the path of the key; "" are left out."""
    found = {}
    for part in ("model", "data", "target"):
        kind = _get(tree, part, "kind")
        if isinstance(kind, str):
            found[f"{part}.kind"] = part, kind
    terms = tree.get("terms")
    for name, own in (terms if isinstance(terms, Mapping) else {}).items():
        kind = own.get("kind") if isinstance(own, Mapping) else None
        found[f"terms.{name}.kind"] = "terms", kind if isinstance(kind, str) and kind else str(name)
    return found


def _get(tree: Mapping[str, Any], *keys: str) -> Any:
    value: Any = tree
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def with_own_options(case: Any, tree: Mapping[str, Any]) -> Any:
    """The type of `case` whose tables have the options of the user's own members that the values `tree` name.

    Of what cannot be imported all options are taken: what it has trained may be drawn without it.
    """
    own = []
    for path, (part, kind) in kinds_of(tree).items():
        if kind not in BUILT_IN[part] and OWN.fullmatch(kind):
            try:
                own.append((part, options_of(member(part, kind, path))))
            except SweepError:
                own.append((part, None))
    return _extended(case, tuple(dict.fromkeys(own))) if own else case


@functools.lru_cache(maxsize=64)
def _extended(case: Any, own: tuple[tuple[str, type[Options] | None], ...]) -> Any:
    fields = {}
    for part in {part for part, _ in own}:
        options = [one for name, one in own if name == part]
        info = case.model_fields[part]
        before = info.annotation if part != "terms" else _entry(info.annotation)
        more = {
            name: (field.annotation, field)
            for one in options
            for name, field in (one.model_fields.items() if one else ())
        }
        after = create_model(before.__name__, __base__=before, **more)
        if None in options:
            after = type(before.__name__, (after,), {"model_config": ConfigDict(extra="allow"), "__module__": __name__})
        fields[part] = (after, after()) if part != "terms" else (dict[_key(info.annotation), after], {})
    return create_model(case.__name__, __base__=case, **fields)


def _entry(annotation: Any) -> Any:
    return annotation.__args__[1]


def _key(annotation: Any) -> Any:
    return annotation.__args__[0]
