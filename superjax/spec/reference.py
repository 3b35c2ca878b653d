"""The reference of the sweep file, made from its tables:

    python -m superjax.spec.reference            writes it into docs/
    python -m superjax.spec.reference --check    says which file is not current, and ends with status 1

The files are sweep_file.md, sweep.schema.json and extending.md. The text of the pages is written by hand. What stands
between `<!-- table: NAME -->` or `<!-- recipe: NAME -->` and `<!-- end -->` is made here, a recipe from the files in
docs/recipes/NAME/.
"""

import argparse
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from superjax.problem.members import BUILT_IN, options_of
from superjax.problem.options import Must, Powers
from superjax.spec.axis import Axis
from superjax.spec.case import Case
from superjax.spec.effects import MATTERS
from superjax.spec.emit import toml
from superjax.spec.fields import Attack, Autoencoder, Boundary, Family, Head, Model, Phases, Plot, Train
from superjax.spec.parts import Data, Term
from superjax.spec.schema import schema

DOCS = Path(__file__).resolve().parents[2] / "docs"
_LARGE = 2**20  # a bound from here on is no news
_TABLES: dict[str, tuple[str, Any]] = {
    "file": ("", Head),
    "case": ("", Case),
    "axis": ("axes.NAME.", Axis),
    "powers": ("", Powers),
    "model": ("model.", Model),
    "data": ("data.", Data),
    "term": ("terms.NAME.", Term),
    "train": ("train.", Train),
    "family": ("families.NAME.", Family),
    "autoencoder": ("autoencoder.", Autoencoder),
    "attack": ("attack.", Attack),
    "boundary": ("boundary.", Boundary),
    "phases": ("phases.", Phases),
    "plot": ("plot.", Plot),
}
_PARTS = {"models": "model", "distributions": "data", "targets": "target", "terms": "terms"}


def page(text: str) -> str:
    """The page with its tables and recipes made anew."""
    make = {"table": table, "recipe": recipe}

    def anew(match: re.Match[str]) -> str:
        return f"{match[1]}\n{make[match[2]](match[3])}\n{match[4]}"

    return re.sub(r"(<!-- (table|recipe): (\w+) -->)\n.*?(<!-- end -->)", anew, text, flags=re.DOTALL)


def recipe(name: str) -> str:
    """The code of a recipe and its sweep file."""
    code, sweep = (
        f"[`{name}{suffix}`](recipes/{name}/{name}{suffix}):\n\n```{language}\n"
        f"{(DOCS / 'recipes' / name / f'{name}{suffix}').read_text(encoding='utf-8').strip()}\n```"
        for suffix, language in ((".py", "python"), (".toml", "toml"))
    )
    return f"{code}\n\n{sweep}\n"


def table(name: str) -> str:
    """One table of the page."""
    if name in _PARTS:
        return _members(_PARTS[name])
    prefix, model = _TABLES[name]
    known = schema()
    properties = {"Head": known["properties"]}.get(model.__name__) or known["definitions"][model.__name__]["properties"]
    rows = [
        _row(f"`{prefix}{field}`", _value(info, properties[field]), _default(info), _meaning(prefix + field, info))
        for field, info in model.model_fields.items()
        if not {"$ref", "additionalProperties"} & properties[field].keys()  # it has a table of its own
    ]
    return "\n".join(["| field | value | default | meaning |", "| --- | --- | --- | --- |", *rows])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default in (None, "", []):
        return ""
    return f"`{info.default:g}`" if isinstance(info.default, float) else f"`{toml(info.default)}`"


def _meaning(path: str, info: FieldInfo) -> str:
    """What a field means, and what it needs to have an effect, as sentences."""
    text = (info.description or "").removesuffix(".")
    first = text.partition(" ")[0]
    text = text if first.endswith(",") or first == "n" else text[:1].upper() + text[1:]
    needs = [_either([need.text for need in alternatives]) for alternatives in MATTERS.get(path, ())]
    return f"{text}." + (f" *Only with* {'; *and* '.join(needs)}." if needs else "")


def _either(texts: list[str]) -> str:
    return ", or ".join(re.sub(r"^([\w.]+)( = .*)?$", lambda match: f"`{match[0]}`", text) for text in texts)


def _value(info: FieldInfo, properties: dict[str, Any]) -> str:
    """What a field may be, in words."""
    must = next((mark.be for mark in info.metadata if isinstance(mark, Must)), "")
    return re.sub(r'(\{[^}]*\}|"[^"]*")', r"`\1`", must) if must else _words(properties)


def _words(properties: dict[str, Any]) -> str:
    for alternatives in ("anyOf", "oneOf"):
        if alternatives in properties:
            return " or ".join(map(_words, properties[alternatives]))
    if "enum" in properties:
        return ", ".join(f"`{toml(value)}`" for value in properties["enum"])
    kind = properties.get("type")
    if kind == "array":
        entries = " or ".join(map(_plural, _words(properties["items"]).split(" or ")))
        return f"{properties['maxItems']} {entries}" if "maxItems" in properties else f"list of {entries}"
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "string":
        own = properties.get("pattern", "")
        return f"`pkg.module{':Class' * (':' in own)}`" if own else "text"
    return " ".join(["whole number" if kind == "integer" else "number", _bounds(properties)]).strip()


def _plural(words: str) -> str:
    return re.sub("^(list|number|text)", r"\1s", words)


def _bounds(properties: dict[str, Any]) -> str:
    least, most = properties.get("minimum"), properties.get("maximum", _LARGE)
    if least is not None and most < _LARGE:
        return f"from {least:g} to {most:g}"
    bounds = {
        ">": properties.get("exclusiveMinimum"), "≥": least,
        "<": properties.get("exclusiveMaximum", _LARGE), "≤": most,
    }  # fmt: skip
    return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None and bound < _LARGE)


def _members(part: str) -> str:
    rows = [
        _row(f"`{toml(name)}`", _says(cls), ", ".join(f"`{option}`" for option in options_of(cls).model_fields))
        for name, cls in BUILT_IN[part].items()
    ]
    return "\n".join(["| kind | meaning | options |", "| --- | --- | --- |", *rows])


def _says(cls: type) -> str:
    """The first paragraph of what a class says of itself."""
    return " ".join(str(inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def files() -> dict[Path, str]:
    """The files with what they should be."""
    pages = [DOCS / "sweep_file.md", DOCS / "extending.md"]
    return {
        **{path: page(path.read_text(encoding="utf-8")) for path in pages},
        DOCS / "sweep.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m superjax.spec.reference", description="Make the reference of the sweep file."
    )
    parser.add_argument("--check", action="store_true", help="write nothing, say what is not current")
    check = parser.parse_args(argv).check
    if not (DOCS / "sweep_file.md").is_file():
        print(f"{DOCS} has no sweep_file.md: run this in a clone of the repository", file=sys.stderr)
        return 2
    stale = {
        path: text for path, text in files().items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        print(f"{path}: {'is not current; python -m superjax.spec.reference writes it' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
