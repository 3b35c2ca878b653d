"""The figure of the boundaries says what its band, its grid and its resolution are."""

import numpy as np
import pytest
from matplotlib.contour import ContourSet

from superjax.spec import load
from superjax.studies import Results, phase_boundary
from tests.studies.test_studies import made_up


@pytest.fixture
def results() -> Results:
    """Of n = 2, m = 1: all restarts have superposition in the sparser half of the grid, one of two elsewhere."""
    sweep = load("phase_boundary", "restarts=2", "axes.importance.points=4", "axes.density.points=4", "cases=n2_m1")
    data = made_up(sweep.cases["n2_m1"]).assign(boundary_models=332)
    phase = np.ones_like(data["phase"])
    phase[:, :2, 1] = 0
    return Results(sweep, {"n2_m1": data.assign(phase=(data["phase"].dims, phase))}, {})


def test_the_inside_of_the_band_is_shaded(results):
    figure = phase_boundary.figures(results)["phase_boundary"]
    plane, keys = figure.axes[:2]
    (shaded,) = (part for part in plane.collections if isinstance(part, ContourSet))
    (area,) = shaded.get_paths()
    density = np.unique(results.datasets["n2_m1"]["density"].values)
    assert density[1] < area.vertices[:, 1].max() < density[2] and area.vertices[:, 1].min() == density[0]
    assert "inside of the 90% line" in [text.get_text() for text in keys.findobj() if hasattr(text, "get_text")]


def test_models_resolution_and_units_are_said(results):
    figure = phase_boundary.figures(results)["phase_boundary"]
    caption = " ".join(figure.get_supxlabel().split())
    assert (
        "332 models (32 of them of the grid)" in caption and "32 models of the grid and 300 of the search." in caption
    )
    assert "(asked for 0.001)" in caption
    difference = figure.axes[2]
    assert difference.get_title().endswith("(grey: ±1)") and "thousandths" in difference.get_ylabel()
