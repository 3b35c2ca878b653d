"""The tables of a sweep file as a JSON Schema, with which an editor completes keys and marks what is wrong.

It knows keys, types and bounds. What depends on more than one value is left to `superjax.load`.
"""

from typing import Any

from superjax.problem.members import BUILT_IN, OWN
from superjax.spec import packaged
from superjax.spec.case import Case
from superjax.spec.fields import Head
from superjax.spec.presets import PRESETS

DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that TOML editors know well
_PARTS = {"Model": "model", "Data": "data", "Target": "target", "Term": "terms"}
_MODULE = {"type": "string", "pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"}

Table = dict[str, Any]


def schema() -> Table:
    """The JSON Schema of a sweep file."""
    case = Case.model_json_schema(ref_template="#/definitions/{model}")
    definitions = {name: _cleaned(table) for name, table in case.pop("$defs").items()}
    for name, part in _PARTS.items():
        _with_own(definitions[name], part)
    properties = _cleaned(case)["properties"]
    properties["preset"] = {
        "enum": list(PRESETS),
        "description": "values to start from; what the file sets itself wins",
    }
    definitions["Case"] = {"type": "object", "properties": properties, "additionalProperties": False}
    head = _cleaned(Head.model_json_schema())["properties"]
    head["study"] = {
        "anyOf": [{"enum": [*packaged.studies(), ""]}, _MODULE],
        "description": head["study"]["description"],
    }
    more = {
        "cases": {
            "type": ["object", "array"],
            "description": "lists of values by field, whose product makes the cases; or the names of the cases to take",
        },
        "case": {
            "type": "object",
            "description": "the cases by name, each with fields of its own",
            "additionalProperties": {"$ref": "#/definitions/Case"},
        },
    }
    return {
        "$schema": DRAFT,
        "title": "superjax sweep",
        "type": "object",
        "properties": {**head, **properties, **more},
        "additionalProperties": False,
        "definitions": definitions,
    }


def _cleaned(value: Any) -> Any:
    """A schema of pydantic's without what a TOML file cannot have (null), what cases may leave to others (required
    keys), and titles that repeat the keys."""
    if isinstance(value, list):
        return [_cleaned(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if [other for other in value.get("anyOf", ()) if other.get("type") == "null"]:
        own = [other for other in value["anyOf"] if other.get("type") != "null"]
        rest = {key: entry for key, entry in value.items() if key != "anyOf"}
        return _cleaned({**(own[0] if len(own) == 1 else {"anyOf": own}), **rest})
    found = {}
    for key, entry in value.items():
        if key == "properties":
            found[key] = {name: _cleaned(field) for name, field in entry.items()}
        elif not (key in ("title", "required") or key == "default" and (entry is None or isinstance(entry, dict))):
            found[key] = " ".join(entry.split()) if key == "description" else _cleaned(entry)
    return found


def _with_own(table: Table, part: str) -> None:
    """A part of a problem is a built-in member, with the keys of the table alone, or the user's, with any."""
    kind = table["properties"]["kind"]
    own = {"type": "string", "pattern": f"^{OWN.pattern}$"}
    unsaid = [] if kind["default"] else [""]  # a term is by default the one that its name says
    table["properties"]["kind"] = {
        "anyOf": [{"enum": [*BUILT_IN[part], *unsaid]}, own],
        "description": kind["description"],
    }
    if kind["default"]:
        table["properties"]["kind"]["default"] = kind["default"]
    del table["additionalProperties"]
    table["if"] = {"properties": {"kind": own}, "required": ["kind"]}
    table["else"] = {"propertyNames": {"enum": list(table["properties"])}}
