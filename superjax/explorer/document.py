"""The explorer's page of a run."""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from superjax import plots
from superjax.explorer.packing import case_data, shown
from superjax.studies.results import Results, in_order

MOST = 2_430_000  # characters of data in a page; the library that draws has 1.5 million


def page(results: Results) -> str | None:
    """The page as HTML, None if no case has maps. A case that would make it too large has fewer points, and the page
    says so."""
    results = in_order(results)
    cases = {name: data for name, data in results.datasets.items() if shown(results.sweep.cases[name], data)}
    if not cases:
        return None
    found = {name: case_data(name, results.sweep.cases[name], data, 1) for name, data in cases.items()}
    while sum(map(_size, found.values())) > MOST:
        largest = max(found, key=lambda name: _size(found[name]))
        step = found[largest]["every"] + 1
        found[largest] = case_data(largest, results.sweep.cases[largest], cases[largest], step)
    content = {
        "title": results.sweep.title or results.sweep.name,
        "sweep": results.sweep.name,
        "phases": [{"name": name, "colour": colour} for name, colour in plots.PHASE_COLOURS.items()],
        "cases": list(found.values()),
    }
    return _filled(
        {"style": _file("explorer.css"), "library": _file("plotly-cartesian.min.js"), "script": _file("explorer.js")},
        content,
    )


def _size(case: Mapping[str, Any]) -> int:
    return sum(len(array["data"]) for array in case["arrays"].values())


def _file(name: str) -> str:
    return (resources.files("superjax.explorer") / name).read_text(encoding="utf-8")


def _filled(parts: Mapping[str, str], content: Any) -> str:
    """The template with its parts; no text of the user's can end the script that holds it."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    filled = _file("explorer.html")
    for name, part in {**parts, "content": text}.items():
        filled = filled.replace(f"<!--{name}-->", part, 1)
    return filled
