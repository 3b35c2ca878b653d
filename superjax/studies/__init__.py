"""One module per sweep of the atlas: which figures it draws, which claims it checks.

A study has `check(case)`, which refuses with a SweepError what it cannot draw, and two functions of its `Results`:
`figures`, a table of file names (without suffix) and matplotlib figures, and `claims`. A sweep without a study gets the
overview of `superjax.plots.overview` and the general claims.
"""

import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from superjax.files import write_bytes
from superjax.spec import Sweep, SweepError


class Results(NamedTuple):
    """What a study works on: the sweep, a dataset per case, and the run's manifest."""

    sweep: Sweep
    datasets: Mapping[str, xr.Dataset]
    manifest: Mapping[str, Any]


class Claim(NamedTuple):
    """A statement of the paper, or a certificate of ours, beside what was measured from the datasets."""

    claim: str
    source: str
    expected: Any
    measured: Any
    tolerance: Any
    holds: bool
    note: str = ""


def check(sweep: Sweep) -> None:
    """Refuse, before any training, a sweep that its study cannot draw. Raises SweepError."""
    study = _study(sweep)
    for name, case in sweep.cases.items() if study else ():
        try:
            study.check(case)
        except SweepError as error:
            raise SweepError(
                f"{name}: the study {sweep.study} {error}\n  study='\"\"' draws the sweep without it"
            ) from error


def claims(results: Results) -> list[Claim]:
    """The claims of the sweep's study, then those that any sweep must meet."""
    study = _study(results.sweep)
    own = study.claims(results) if study else []
    return [*own, *_general(results)]


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw all figures into a folder as PNGs."""
    from superjax.plots import overview

    study = _study(results.sweep)
    paths = []
    dpi = next(iter(results.sweep.cases.values())).plot.dpi
    for name, figure in (study or overview).figures(results).items():
        paths.append(folder / f"{name}.png")
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=dpi)
        write_bytes(paths[-1], image.getvalue())
    return paths


def _study(sweep: Sweep) -> Any:
    return importlib.import_module(f"superjax.studies.{sweep.study}") if sweep.study else None


def _general(results: Results) -> list[Claim]:
    found = []
    for name, dataset in results.datasets.items():
        diverged = int((dataset["diverged_at"] >= 0).sum())
        found.append(
            Claim(f"{name}: no model diverges", "training", 0, diverged, 0, diverged == 0,
                  "" if diverged == 0 else "diverged_at in the dataset says at which step")
        )  # fmt: skip
        if "dimensionality" in dataset:
            excess = float(np.nanmax(dataset["dimensionality"].sum("feature") - dataset.attrs["n_hidden"]))
            found.append(
                Claim(f"{name}: sum of the dimensionalities of a model's features minus n_hidden (largest)",
                      "The Geometry of Superposition", "<= 0", excess, 1e-4, excess <= 1e-4)
            )  # fmt: skip
    return found
