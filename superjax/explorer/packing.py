"""What the explorer's page shows of a dataset, as plain arrays, packed into text."""

import base64
import math
import zlib
from typing import Any

import numpy as np
import xarray as xr

from superjax.spec import Case
from superjax.studies.axes import axis_of, label_of, split
from superjax.studies.boundaries import lines_of_map
from superjax.studies.captions import spread
from superjax.studies.results import directions
from superjax.studies.solutions import names

DIGITS = 12  # bits of the mantissa that are kept: 1e-4 of a number
_VERTICES = 2000  # of a line, at most
_WEIGHTS = 4096  # of a model, beyond which the page shows none
# Numbers of every cell that have a map of their own, where the dataset has them, and their scale.
QUANTITIES = {
    "superposition_fraction": "fraction",
    "optimum_loss": "log",
    "gap": "log",
    "success": "fraction",
    "agreement": "fraction",
}
RANGES = {"gap": (1e-4, 10.0)}  # of the colours, as in the figures
# Numbers of every model, of which the best restart's are shown.
OF_MODELS = {"autoencoder_fvu": "log", "autoencoder_recovered": "fraction",
             "autoencoder_matched_cosine": "fraction", "autoencoder_l0": "linear",
             "autoencoder_dead": "fraction"}  # fmt: skip


def shown(case: Case, data: xr.Dataset) -> bool:
    """Whether a case has maps."""
    return len(case.axes) >= 2 and all(data.sizes[dim] > 1 for dim in split(case)[1:])


def case_data(name: str, case: Case, data: xr.Dataset, step: int) -> dict[str, Any]:
    """A case for the page, ready for JSON, of every `step`-th point of each axis of the maps."""
    further, first, second = split(case)
    axes = [*further, first, second]
    points = {dim: spread(data.sizes[dim], max(2, math.ceil(data.sizes[dim] / step))) for dim in (first, second)}
    described = []
    for dim in axes:
        values, label, log = axis_of(case, data, dim)
        label = label if label.startswith("point of") else label_of(case, dim)
        values = values[points[dim]] if dim in points else values
        described.append({"name": dim, "label": label, "log": log, "values": values.tolist()})
    whole = math.prod(int(data.sizes[dim]) for dim in points) if step > 1 else 0  # points of a map, if not all are here
    data = data.isel(points) if step > 1 else data
    best = data["best"]
    arrays: dict[str, Any] = {"best": best, "loss": data["loss"]}
    if "phase" in data:
        arrays |= {"phase": data["phase"]}
        arrays |= {"optimum_phase": data["optimum_phase"]} if "optimum_phase" in data else {}
        arrays |= {key: data[key] for key in ("typical_norm", "typical_interference", "typical_phase")}
    if "phase" in data and case.n_features * case.n_hidden <= _WEIGHTS:
        there = {"W": directions(case, data), "b": data.get("b")}
        kept = {key: array.isel(restart=best) for key, array in there.items() if array is not None}
        kept |= {key: data[key] for key in ("optimum_W", "optimum_b") if key in data}
        own = {"W": {"hidden", "feature"}, "b": {"feature"}}  # models of the user's may have others
        arrays |= {key: array for key, array in kept.items() if {*array.dims} - {*axes} == own[key[-1]]}
    arrays |= {key: data[key] for key in QUANTITIES if key in data}
    arrays |= {key: data[key].isel(restart=best) for key in OF_MODELS if key in data}
    arrays |= {"solution": data["solution"]} if "solution" in data else {}
    trailing = ("restart", "hidden", "feature")
    return {
        "name": name,
        "n": case.n_features,
        "m": case.n_hidden,
        "restarts": case.restarts,
        "represented": case.phases.represented,
        "whole": whole,
        "axes": described,
        "lines": _lines(case, data, first, second),
        "arrays": {
            key: {**packed(array.transpose(*axes, *trailing, missing_dims="ignore").values),
                  "long_name": str(array.attrs.get("long_name", ""))}
            for key, array in arrays.items()
        },
        "solutions": names(data).tolist() if "solution" in data else None,
        "maps": [
            {"key": key, "scale": scale, "range": RANGES.get(key)}
            for key, scale in {**QUANTITIES, **OF_MODELS}.items()
            if key in arrays
        ],
    }  # fmt: skip


def _lines(case: Case, data: xr.Dataset, first: str, second: str) -> list[dict[str, Any]]:
    """The boundaries that were searched, and the ends of the bands of the restarts."""
    return [
        {"band": line.is_band, "x": _thinned(line.at[first]), "y": _thinned(line.at[second])}
        for line in lines_of_map(case, data)
    ]


def _thinned(values: np.ndarray) -> list[float]:
    """Vertices of a line in 5 digits, its ends among them."""
    return [float(f"{value:.5g}") for value in values[spread(len(values), min(len(values), _VERTICES))]]


def packed(values: np.ndarray) -> dict[str, Any]:
    """An array as text: small integers or rounded float32 numbers, their bytes by significance, deflated, in base64.

    Example:
        >>> packed(np.array([1, 2], np.int8))["type"]
        'int8'
    """
    if np.issubdtype(values.dtype, np.integer):
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        kind = "int8" if -128 <= low and high < 128 else "int32"
        values = values.astype(kind)
    else:
        kind, values = "float32", _rounded(values)
    planes = np.ascontiguousarray(values).reshape(-1).view(np.uint8).reshape(-1, values.dtype.itemsize).T
    return {
        "type": kind,
        "shape": list(values.shape),
        "data": base64.b64encode(zlib.compress(planes.tobytes(), 6)).decode("ascii"),
    }


def _rounded(values: np.ndarray) -> np.ndarray:
    """float32 numbers whose last bits are 0, so that they pack well; infinite and not a number stay."""
    values = np.ascontiguousarray(values, "<f4")
    drop = 23 - DIGITS
    bits = values.view("<u4").astype(np.uint64) + (1 << (drop - 1))
    rounded = (bits & ~np.uint64((1 << drop) - 1)).astype("<u4").view("<f4")
    return np.where(np.isfinite(values) & np.isfinite(rounded), rounded, values)
