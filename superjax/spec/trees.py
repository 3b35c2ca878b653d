"""Nested tables: dotted keys, values by their place, and merging one table over another."""

import re
from collections.abc import Iterator
from typing import Any

Keys = tuple[str, ...]  # the keys that lead to a value
Location = tuple[str | int, ...]  # the same, into lists too

_PART = r"""[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'"""
_KEY = re.compile(rf"\s*((?:{_PART})(?:\.(?:{_PART}))*)((?:\[-?\d+\])*)\s*")
_RIVALS = {"values": ("range", "points"), "range": ("values",), "field": ("fields",), "fields": ("field",)}


def split_key(text: str) -> tuple[Keys, list[int], str] | None:
    """The path and the indices of the dotted key that `text` begins with, and the text after it."""
    match = _KEY.match(text)
    if not match:
        return None
    path = tuple(part.strip("\"'") for part in re.findall(_PART, match[1]))
    return path, [int(index) for index in re.findall(r"-?\d+", match[2])], text[match.end() :]


def lookup(tree: Any, loc: Location, default: Any) -> Any:
    """The value at `loc`, or `default` if there is none."""
    for part in loc:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return default
    return tree


def nest(path: Location, value: Any) -> Any:
    """A table with nothing but `value` at `path`."""
    for part in reversed(path):
        value = {part: value}
    return value


def without(tree: dict[str, Any], path: Keys) -> dict[str, Any]:
    """`tree` without what is at `path`; itself if there is nothing."""
    key, *rest = path
    if key not in tree:
        return tree
    if not rest:
        return {name: value for name, value in tree.items() if name != key}
    inner = without(tree[key], tuple(rest)) if isinstance(tree[key], dict) else tree[key]
    return tree if inner is tree[key] else {**tree, key: inner}


def merge(below: dict[str, Any], above: dict[str, Any], rivals: bool = True) -> dict[str, Any]:
    """`below` with the values of `above`, which also remove their rivals from it."""
    gone = {key for new in above if rivals for key in _RIVALS.get(new, ())}
    merged = {key: value for key, value in below.items() if key not in gone}
    for key, new in above.items():
        old = merged.get(key)
        merged[key] = merge(old, new, rivals) if isinstance(old, dict) and isinstance(new, dict) else new
    return merged


def flatten(table: dict[str, Any], prefix: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """The leaves of a table by path; a quoted dotted key is a path too."""
    for key, value in table.items():
        split = split_key(key)
        path = (*prefix, *(split[0] if split and split[1:] == ([], "") else (key,)))
        yield from flatten(value, path) if isinstance(value, dict) else [(path, value)]
