"""The page of figures and claims of all packaged sweeps."""

import json
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from superjax.disk.files import kind_of, write_text
from superjax.runs import reading
from superjax.spec import Sweep
from superjax.studies.claim import holding

PAGE = "index.html"
_COLUMNS = {
    "claim": 24,
    "source": 10,
    "expected": 12,
    "measured": 12,
    "tolerance": 9,
    "holds": 5,
    "note": 22,
    "kind": 6,
}  # %
_STYLE = """
body {font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222}
img {max-width: 100%; display: block; margin: 1rem 0; border: 1px solid #ddd}
table {border-collapse: collapse; font-size: 0.8rem; width: 100%; min-width: 60rem; table-layout: fixed}
th, td {border: 1px solid #ccc; padding: 0.25rem 0.5rem; text-align: left; vertical-align: top}
td {overflow-wrap: break-word; hyphens: auto}
div {overflow-x: auto}
h1, h2, p, li {overflow-wrap: break-word}
tr.fails td {background: #fdebdd}
.incomplete {background: #fdebdd; padding: 0.5rem 1rem}
"""


def write(out: Path, sweeps: Mapping[str, Sweep], failed: Mapping[str, str], overrides: Sequence[str] = ()) -> Path:
    """The page of what is finished in the folder `out`; what `failed` is on it with the reason, and so are overrides
    of the sweeps' own settings."""
    found = {name: None if name in failed else _finished(out / name) for name in sweeps}
    missing = [name for name, entry in found.items() if entry is None]
    claims = list(chain.from_iterable(entry["claims"] for entry in found.values() if entry))
    parts = [f"<p>{len(sweeps) - len(missing)} of {len(sweeps)} sweeps, {_holding(claims)}.</p>"]
    if overrides:
        parts.append(f'<p class="incomplete">Not the sweeps\' own settings: {escape(shlex.join(overrides))}</p>')
    if missing:
        what = ", ".join(f"{name} ({'failed' if name in failed else 'not finished'})" for name in missing)
        parts.append(f'<p class="incomplete">This run is incomplete: {escape(what)}.</p>')
    parts.append(f"<ul>{''.join(_entry(sweep, found[name]) for name, sweep in sweeps.items())}</ul>")
    for name, sweep in sweeps.items():
        heading = f'<h2 id="{quote(name)}">{escape(name)}: {escape(sweep.title or name)}</h2>\n'
        heading += f"<p>{escape(sweep.section)}</p>"
        if sweep.about:
            heading += f"<p>{escape(sweep.about)} ({escape(sweep.takes)} on two cores)</p>"
        if (entry := found[name]) is not None:
            body = (
                _made(name, entry["manifest"])
                + _figures(name, entry["figures"])
                + f"<p>{escape(_holding(entry['claims'], entry['manifest'].get('claims_left_out', '')))}.</p>"
                + _table(entry["claims"])
            )
        else:
            reason = f"Failed: {failed[name]}" if name in failed else "Not finished."
            body = f'<p class="incomplete">{escape(reason)}</p>'
        parts.append(f"<section>\n{heading}\n{body}\n</section>")
    page = "\n".join(parts)
    write_text(
        out / PAGE,
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Atlas of toy models</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>Toy models of superposition: figures and claims</h1>\n{page}\n"
        "</body>\n</html>\n",
    )
    return out / PAGE


def _finished(folder: Path) -> dict[str, Any] | None:
    """Figures and claims of a finished run, None if there is none."""
    try:
        manifest = reading.manifest(folder / reading.MANIFEST, sealed=False)
        claims = reading.claims(folder / reading.CLAIMS)
        figures = [name for name in manifest["files"] if name.endswith(".png") and kind_of(folder / name) == "file"]
    except (OSError, reading.Damaged):
        return None
    return {"figures": figures, "claims": claims, "manifest": manifest} if manifest["finished"] else None


def _holding(claims: list[dict[str, Any]], left_out: str = "") -> str:
    return holding(((claim["kind"], claim["holds"]) for claim in claims), left_out)


def _entry(sweep: Sweep, entry: dict[str, Any] | None) -> str:
    state = _holding(entry["claims"]) if entry else "not there"
    return f'<li><a href="#{quote(sweep.name)}">{escape(sweep.title or sweep.name)}</a>: {state}</li>'


def _made(name: str, manifest: Mapping[str, Any]) -> str:
    """When and on what it was made, and where the numbers are."""
    environment = manifest.get("environment", {})
    models = sum(case.get("models", 0) for case in manifest.get("cases", {}).values())
    when = f"{models:,} models, {environment.get('date', 'date unknown')}"
    files = [reading.SETTINGS, reading.CLAIMS, *[reading.EXPLORER] * (reading.EXPLORER in manifest.get("files", []))]
    links = ", ".join(f'<a href="{quote(name)}/{file}">{file}</a>' for file in files)
    return f"<p>{escape(when)}; {links}</p>\n"


def _figures(name: str, figures: list[str]) -> str:
    links = ((f"{quote(name)}/{quote(figure)}", escape(f"{name}: {Path(figure).stem}")) for figure in figures)
    return "".join(
        f'<a href="{link}"><img src="{link}" alt="{alt}" title="{alt}" loading="lazy"></a>\n' for link, alt in links
    )


def _table(claims: list[dict[str, Any]]) -> str:
    head = "".join(f'<th style="width: {width}%">{column}</th>' for column, width in _COLUMNS.items())
    first = sorted(claims, key=lambda claim: bool(claim.get("holds")))  # what does not hold
    rows = "".join(
        f'<tr class="{"holds" if claim.get("holds") else "fails"}">'
        f"{''.join(f'<td>{escape(shown(claim.get(column)))}</td>' for column in _COLUMNS)}</tr>\n"
        for claim in first
    )
    return f"<div><table>\n<tr>{head}</tr>\n{rows}</table></div>"


def shown(value: Any) -> str:
    """A value of a claim, as the pages have it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # half a character cannot be written
    return json.dumps(value, ensure_ascii=False)
