"""The figure of activation functions: a phase diagram each, and what its optimum loses against that of ReLU."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from superjax import plots
from superjax.plots.canvas import fitted
from superjax.plots.maps import MEASURED_LINE
from superjax.reference.outputs import FUNCTIONS
from superjax.studies.activation_functions.view import Plane, excess_over_relu, planes
from superjax.studies.captions import frame, partly, training_in_words
from superjax.studies.correlated_phase_diagram.view import MERGED
from superjax.studies.phase_diagram.figures import any_diverged, set_axes
from superjax.studies.protocols.figures import SINGLE_RESTARTS, draw_single_restarts
from superjax.studies.results import Results

COLUMNS, MAX_PANELS = 4, 16
LOW, HIGH = 1e-3, 100.0  # relative excess over ReLU's loss, ends of the colours
RELU_LINE = {"color": "black", "linewidth": 1.4}


def figures(results: Results) -> dict[str, Figure]:
    return {"activation_functions": maps(results)}


def maps(results: Results) -> Figure:
    """Two maps per function: phase of the extra feature in the optimum, and its loss above that of ReLU."""
    every = planes(results)
    shown = every[:MAX_PANELS]
    columns, blocks = min(len(shown), COLUMNS), math.ceil(len(shown) / COLUMNS)
    figure = Figure(figsize=(3.1 * max(columns, 3) + 1, 5.6 * blocks + 2.0), layout="constrained")
    grid = figure.add_gridspec(2 * blocks + 1, columns, height_ratios=[*[1, 1] * blocks, 0.16])
    relu = next((plane for plane in every if plane.function == "relu"), None)
    mesh = None
    for k, plane in enumerate(shown):
        block, column = divmod(k, COLUMNS)
        top = figure.add_subplot(grid[2 * block, column])
        _draw_phases(top, plane, relu)
        bottom = figure.add_subplot(grid[2 * block + 1, column])
        mesh = _draw_excess(bottom, plane, every) or mesh
        for ax in (top, bottom):
            set_axes(ax, plane, column == 0)
        top.set(xlabel="", title=fitted(plane.words, 2.6, 12))
    _draw_keys(figure, grid, shown, mesh)
    case = shown[0].case
    frame(
        figure, results,
        "Output x' = f(WᵀWx + b), n = 2, m = 1; small pictures: f(z) for z from −2 to 2. Upper maps: phase of the "
        "extra feature in the optimum of the exact loss; relative importance is its own, the other has 1. At "
        "importance 1 features are alike, and it is chance which of them is left out; where sharing loses no less than "
        "that, as with an identity, it is no superposition. Lower maps: optimal loss over that of ReLU, less 1; white "
        f"where it is lower by more than {LOW:.1%}. {len(shown[0].importance)} x {len(shown[0].density)} cells x "
        f"{case.restarts} restarts, transplanted between neighbouring cells and polished. Single restarts: "
        f"{training_in_words(case)}.{partly(len(shown), len(every), 'functions')}", 215,
    )  # fmt: skip
    return figure


def _draw_phases(ax: Axes, plane: Plane, relu: Plane | None) -> None:
    x, y = plane.importance, plane.density
    ax.set(xscale="log", yscale="log")
    plots.phase_map(ax, x, y, plane.extra_phase())
    plots.hatch(ax, x, y, plane.kinds() == MERGED, "////", "white")
    if relu is not None and relu is not plane:
        ax.plot(relu.importance, relu.boundary().position(), **RELU_LINE)
    ax.plot(x, plane.boundary().position(), **MEASURED_LINE)
    draw_single_restarts(ax, x, plane)
    small = ax.inset_axes((0.02, 0.82, 0.17, 0.16))
    z = np.linspace(-2, 2, 201)
    small.plot(z, FUNCTIONS[plane.function](z), color="black", linewidth=1.6)
    small.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    small.axvline(0, color="0.6", linewidth=0.6, zorder=0)
    small.set(xlim=(-2, 2), ylim=(-2.1, 2.1), xticks=[], yticks=[])


def _draw_excess(ax: Axes, plane: Plane, every: list[Plane]):
    excess = excess_over_relu(plane, every)
    if excess is None or plane.function == "relu":
        words = "the others are\ncompared with it" if plane.function == "relu" else "no ReLU to compare with"
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, fontsize=10)
        return None
    ax.set(xscale="log", yscale="log")
    ax.set_title("loss above ReLU's", fontsize=9.5)
    return plots.gap_map(ax, plane.importance, plane.density, np.where(excess < -LOW, np.nan, excess), LOW, HIGH)


def _draw_keys(figure: Figure, grid, shown: list[Plane], mesh) -> None:
    columns = grid.ncols
    words = [
        *plots.phase_handles(any_diverged(list(shown))),
        Patch(facecolor=plots.PHASE_COLOURS["superposed"], edgecolor="white", hatch="////",
              label="superposed, same direction"),
        Line2D([], [], **MEASURED_LINE, label="superposition begins (optimum)"),
        Line2D([], [], **RELU_LINE, label="the same for ReLU"),
        SINGLE_RESTARTS,
    ]  # fmt: skip
    key = figure.add_subplot(grid[-1, : max(1, columns - 1)])
    key.axis("off")
    key.legend(handles=words, loc="center", ncols=3 if columns > 2 else 1, fontsize=9.5, frameon=False)
    if mesh is not None and columns > 1:
        bar = figure.colorbar(mesh, cax=figure.add_subplot(grid[-1, -1]), orientation="horizontal")
        bar.set_label("relative excess over ReLU's loss", fontsize=9.5)
