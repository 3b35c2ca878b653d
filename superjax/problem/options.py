"""What the tables of options of models, distributions, targets and terms are made of.

A member of a problem has a class `Options` with one field for every key of its table in a sweep file. A field of real
numbers is a *number*: it may be swept, and the member holds it as an array of the same name. So is a field of type
`PerFeature`, as one number a feature. What is anything else (a count, a word, true or false) is *static*: it selects a
compiled program, and is an attribute of the class.
"""

import types
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.fields import FieldInfo

from superjax.errors import refusal
from superjax.problem import numbers
from superjax.problem.numbers import powers_fit, single

KINDS: dict[str, Any] = {"<list>": list, "<table>": (dict, BaseModel), "<name>": str, "<number>": object}


def _tag(value: Any) -> str:
    """The alternative of a field that a value is meant for, so that an error speaks of that one only."""
    return next(tag for tag, kind in KINDS.items() if isinstance(value, kind))


LIST, TABLE, NAME, NUMBER = map(Tag, KINDS)
BY_KIND = Discriminator(_tag)
Count = Annotated[int, Field(ge=1, lt=2**31)]
Index = Annotated[int, Field(ge=0, lt=2**31)]


class Frozen(BaseModel):
    """A table of a sweep file: unknown keys and values of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Options(Frozen):
    """The options of a member of a problem. Their meaning is the description of the field."""


class Must(NamedTuple):
    """Marks a field with what a message says that it must be, where its type alone would not say it well."""

    be: str


class Powers(Frozen):
    """A power law: feature i = 0, 1, ... has `first` times ratioⁱ, or `first` times (i + 1)^-zipf."""

    ratio: numbers.Ratio | None = Field(None, description="feature i has `first` times `ratio`ⁱ, i = 0, 1, ...")
    zipf: numbers.Exponent | None = Field(None, description="or feature i has `first` / (i + 1)^`zipf`")
    first: numbers.Positive = Field(1.0, description="the value of the first feature")

    @model_validator(mode="after")
    def _check(self) -> "Powers":
        if (self.ratio is None) == (self.zipf is None):
            raise refusal("must have one of ratio and zipf")
        return self

    def values(self, count: int) -> list[float]:
        """The value of every feature; those that vanish in float32 are 0."""
        powers = [self.ratio**i if self.ratio is not None else (i + 1.0) ** -(self.zipf or 0.0) for i in range(count)]
        values = powers if self.first == 1 else [self.first * power for power in powers]
        return [value if single(value) else 0.0 for value in values]

    def fault(self, count: int) -> tuple[str, str] | None:
        """The key to blame and what is wrong with the powers as float32, if anything is."""
        ratio = self.ratio if self.ratio is not None else 2.0 ** -(self.zipf or 0.0)
        last = count if self.ratio is not None else (count - 1).bit_length() + 1
        if what := powers_fit(ratio, last):
            return ("ratio" if self.ratio is not None else "zipf"), what
        return None


class _PerFeature:
    """Marks a field that has a number for every feature."""


PER_FEATURE = _PerFeature()
PerFeature = Annotated[
    Annotated[numbers.Density, NUMBER] | Annotated[list[numbers.Density], LIST] | Annotated[Powers, TABLE],
    BY_KIND,
    PER_FEATURE,
    Must("a number in (0, 1], a list of them, one a feature, or {ratio = ...} or {zipf = ...}"),
]
"""Densities: a number for all features, a list with one for each, or a power law."""


def is_per_feature(field: FieldInfo) -> bool:
    """Whether a field has a number for every feature."""
    return any(isinstance(mark, _PerFeature) for mark in field.metadata)


def is_number(field: FieldInfo) -> bool:
    """Whether a field is a real number, which may be swept."""
    return not is_per_feature(field) and _real(field.annotation)


def _real(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _real(get_args(annotation)[0])
    if get_origin(annotation) in (types.UnionType,) or getattr(get_origin(annotation), "__name__", "") == "Union":
        return any(_real(kind) for kind in get_args(annotation))
    return annotation is float


def number_names(options: type[BaseModel]) -> list[str]:
    """The fields that may be swept, by name."""
    return [name for name, field in options.model_fields.items() if is_number(field) or is_per_feature(field)]


def static_names(options: type[BaseModel]) -> list[str]:
    """The fields that select a compiled program, by name."""
    return [name for name in options.model_fields if name not in number_names(options)]


def vector(value: Any, count: int) -> list[float]:
    """A value of a field with a number for every feature, written out."""
    if isinstance(value, Powers):
        return value.values(count)
    return list(value) if isinstance(value, list) else [value] * count
