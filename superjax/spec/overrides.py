"""Overrides: `KEY=VALUE`, from Python also a pair of a key and a value."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from superjax.errors import SweepError, clip
from superjax.spec.emit import toml
from superjax.spec.sizes import DEPTH, FILE, bounded
from superjax.spec.trees import Keys, split_key

_MEANT = {"[": "list", "{": "table", '"': "quoted text", "'": "quoted text"}  # by the first character of a value


class Override(NamedTuple):
    """The value of the key `path`, or of one entry of the list there. `place` begins a message."""

    place: str
    path: Keys
    indices: list[int]
    value: Any


def written(given: object) -> object:
    """An override as text: a pair is KEY=VALUE, and a class as a value stands for `module:Class`. What is no pair stays
    as it is."""
    if not isinstance(given, tuple) or len(given) != 2 or not isinstance(given[0], str):
        return given
    key, value = given
    if isinstance(value, type):
        if "<locals>" in value.__qualname__:
            raise SweepError(
                f"{clip(key)}: the class {clip(value.__qualname__)} is within a function, and cannot be found by name; "
                "define it at the top of a module, or in a cell of a notebook"
            )
        value = f"{value.__module__}:{value.__qualname__}"
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, tuple | range):
        value = list(value)
    return f"{key}={toml(value)}"


def parse(given: object) -> Override:
    """One override. A VALUE that is no TOML is a string; `cases=a,b` is a list."""
    text = written(given)
    if not isinstance(text, str):
        raise SweepError(f"{clip(repr(text))}: is no override, must be a string KEY=VALUE or a pair (KEY, VALUE)")
    if re.search("[\ud800-\udfff]", text):
        raise SweepError(f"{clip(ascii(text))} (command line): is not UTF-8 text")
    place = f"{clip(text)} (command line)"
    if len(text) > FILE:
        raise SweepError(f"{place}: has {len(text):,} characters, at most {FILE:,} are read")
    split = split_key(text)
    if not split or not split[2].startswith("="):
        what = "no key before the =" if "=" in text else "no ="
        raise SweepError(f"{place}: {what}, must be KEY=VALUE, as train.steps=500 or data.density[4]=0.1")
    path, indices, value = split[0], split[1], split[2][1:]
    if len(path) > DEPTH:
        raise SweepError(f"{place}: unknown key, nested more than {DEPTH} levels deep")
    if path[0] == "case" and len(path) < 3:
        raise SweepError(f"{place}: must be case.NAME.KEY=VALUE")
    try:
        table = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        kind = _MEANT.get(value.lstrip()[:1])
        if kind and not (path == ("cases",) and kind == "quoted text"):  # of names, cases='a',b
            raise SweepError(f"{place}: begins like a {kind}, but is not valid TOML; text in it needs quotes") from None
        table = {}
    parsed = table["value"] if len(table) == 1 else value
    if path == ("cases",) and not isinstance(parsed, list | dict):
        parsed = [name for part in value.split(",") if (name := part.strip(" \"'"))]
    return Override(place, path, indices, bounded(parsed, place))


def refuse_keywords(keywords: Mapping[str, object]) -> None:
    """Refuse keyword arguments where overrides are wanted, and show them as such."""
    if keywords:
        texts = ", ".join(toml(f"{key}={toml(value)}") for key, value in keywords.items())
        raise SweepError(f"{clip(next(iter(keywords)))}: is no argument; give overrides as text: {clip(texts, 300)}")


def parse_batch(texts: Iterable[object]) -> list[Override]:
    """Overrides given together: none may repeat another's key, or set a table that another reaches into."""
    batch: list[Override] = []
    for new in map(parse, texts):
        for old in batch:
            k = min(len(old.path), len(new.path))
            if old.indices == new.indices and old.path[:k] == new.path[:k]:
                raise SweepError(f"{new.place}: the key is given twice, also by {old.place}; leave one out")
        batch.append(new)
    return batch
