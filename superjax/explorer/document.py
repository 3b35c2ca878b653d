"""The explorer's page of a run."""

import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

import xarray as xr

from superjax import plots
from superjax.explorer.packing import case_data, shown
from superjax.studies.results import Results, in_order

_NUMBERS = 5e6  # losses and phases of a case that may fit
MOST = 2_430_000  # characters of data in a page; the library that draws has 1.5 million


def page(results: Results) -> str | None:
    """The page as HTML, None if no case has maps. A case that would make it too large has fewer points, and the page
    says so; one that is too large at two points an axis, by its restarts or features, is left out."""
    results = in_order(results)
    cases = {name: data for name, data in results.datasets.items() if shown(results.sweep.cases[name], data)}
    if not cases:
        return None
    steps = {name: _first_step(data) for name, data in cases.items()}
    found = {name: case_data(name, results.sweep.cases[name], data, steps[name]) for name, data in cases.items()}
    while sum(map(_size, found.values())) > MOST:
        largest = max(found, key=lambda name: _size(found[name]))
        if all(len(axis["values"]) <= 2 for axis in found[largest]["axes"][-2:]):
            del found[largest]
        else:
            steps[largest] += 1
            found[largest] = case_data(largest, results.sweep.cases[largest], cases[largest], steps[largest])
    if not found:
        return None
    content = {
        "title": results.sweep.title or results.sweep.name,
        "sweep": results.sweep.name,
        "phases": [{"name": name, "colour": colour} for name, colour in plots.PHASE_COLOURS.items()],
        "cases": list(found.values()),
        "left_out": [name for name in results.datasets if name not in found],
    }
    return _filled(
        {"style": _file("explorer.css"), "library": _file("plotly-cartesian.min.js"), "script": _file("explorer.js")},
        content,
    )


def _first_step(data: xr.Dataset) -> int:
    """1, or of a run with so many numbers that they would not fit in any case, a step with which they may."""
    numbers = data["loss"].size * (1 + data.sizes.get("feature", 0))
    return max(1, math.ceil(math.sqrt(numbers / _NUMBERS)))


def _size(case: Mapping[str, Any]) -> int:
    return sum(len(array["data"]) for array in case["arrays"].values()) + len(json.dumps(case["lines"]))


def _file(name: str) -> str:
    return (resources.files("superjax.explorer") / name).read_text(encoding="utf-8")


def _filled(parts: Mapping[str, str], content: Any) -> str:
    """The template with its parts; no text of the user's can end the script that holds it."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    filled = _file("explorer.html")
    for name, part in {**parts, "content": text}.items():
        filled = filled.replace(f"<!--{name}-->", part, 1)
    return filled
