"""Writing TOML."""

import json
import re
from collections.abc import Iterator
from typing import Any

from superjax.spec.trees import Keys, Location

_ESCAPED = "[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # C1 controls, and what turns the direction of text


def toml(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return re.sub(_ESCAPED, lambda character: f"\\u{ord(character[0]):04x}", text)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{dotted((key,))} = {toml(item)}' for key, item in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def dotted(path: Location) -> str:
    """A key, quoted where it must be, with indices in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if re.fullmatch("[A-Za-z0-9_-]+", part) else toml(part))
    return text


def emit(table: dict[str, Any], path: Keys = ()) -> Iterator[str]:
    """The lines of a table, then of the tables in it."""
    inner = [key for key, value in table.items() if isinstance(value, dict)]
    if path and (len(inner) < len(table) or not table):
        yield from ("", f"[{dotted(path)}]")
    yield from (f"{dotted((key,))} = {toml(value)}" for key, value in table.items() if key not in inner)
    for key in inner:
        yield from emit(table[key], (*path, key))
