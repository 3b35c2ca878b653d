"""The figure of protocols: what each makes of the phase diagram, beside the optimum."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from superjax import analysis, plots
from superjax.plots.canvas import fitted
from superjax.plots.maps import MEASURED_LINE
from superjax.studies.captions import frame, partly, spread, training_in_words
from superjax.studies.diagram import Diagram, diagrams
from superjax.studies.phase_diagram.figures import (
    DENSITY,
    IMPORTANCE,
    MAX_ROWS,
    any_diverged,
    error_in_words,
    outcome_title,
    set_axes,
)
from superjax.studies.protocols.claims import WITHOUT
from superjax.studies.results import Results

COLUMNS = 14  # in which the boundary of single restarts is drawn
SINGLE_RESTARTS = Line2D(
    [], [], color="black", marker="o", markersize=3, linewidth=1, label="in half of the restarts; bar: a tenth to 90%"
)


def figures(results: Results) -> dict[str, Figure]:
    return {"protocols": protocols(results)}


def protocols(results: Results) -> Figure:
    """A row per case: best of restarts and typical outcome of that protocol, the optimum, and how far they agree."""
    shown = diagrams(results)[:MAX_ROWS]
    figure = Figure(figsize=(13.5, 3.2 * len(shown) + 2.0), layout="constrained")
    rows = figure.subplots(len(shown) + 1, 4, height_ratios=[*[1] * len(shown), 0.17], squeeze=False)
    fraction = None
    for k, (diagram, axes) in enumerate(zip(shown, rows, strict=False)):
        x, y = diagram.importance, diagram.density
        for ax in axes:
            set_axes(ax, diagram, ax is axes[0])
            ax.set_xlabel(IMPORTANCE if k == len(shown) - 1 else "", fontsize=9.5)
        axes[0].set_ylabel(f"{_in_words(diagram)}\n{DENSITY}", fontsize=10.5)
        plots.phase_map(axes[0], x, y, diagram.best("phase")[..., -1])
        plots.typical_map(axes[1], x, y, diagram.extra("typical_norm"), diagram.extra("typical_interference"))
        plots.phase_map(axes[2], x, y, diagram.extra("optimum_phase"))
        fraction = plots.value_map(axes[3], x, y, diagram.data["agreement"].values)
        measured = diagram.boundary().position()
        for ax in axes:
            ax.plot(x, measured, **MEASURED_LINE)
        draw_single_restarts(axes[0], x, diagram)
    titles = (
        "Best of restarts\n(phase of the extra feature)",
        outcome_title(shown[0].case.restarts),
        "Optimum of the exact loss\n(phase of the extra feature)",
        "Restarts with the optimum's\nphases (all features)",
    )
    for ax, title in zip(rows[0], titles, strict=True):
        ax.set_title(title, fontsize=11)
    for ax in (rows[-1, 0], rows[-1, 2]):
        ax.axis("off")
    rows[-1, 0].legend(handles=plots.phase_handles(any_diverged(shown)), loc="upper center", frameon=False, fontsize=10)
    plots.typical_key(rows[-1, 1])
    handles = [
        Line2D([], [], **MEASURED_LINE, label="superposition begins in the optimum"),
        SINGLE_RESTARTS,
    ]
    rows[-1, 2].legend(handles=handles, loc="upper center", frameon=False, fontsize=10)
    assert fraction is not None  # a sweep has at least one case
    bar = figure.colorbar(fraction, cax=rows[-1, 3], orientation="horizontal")
    bar.set_label("fraction of restarts", fontsize=10)
    trained: dict[str, list[str]] = {}
    for diagram in shown:
        trained.setdefault(training_in_words(diagram.case), []).append(_in_words(diagram, ", "))
    text = " ".join(f"{'; '.join(names)}: {training}." for training, names in trained.items())
    reached = ", ".join(f"{d.success_in_words()} ({_in_words(d, ', ')})" for d in shown)
    frame(
        figure, results,
        f"{text} Of all models, single restarts within {analysis.REACHED:.0%} of the optimum's loss: {reached}, "
        f"{error_in_words(shown)}. Dots: half of a cell's {shown[0].case.restarts} restarts have superposition; "
        "a bar begins where a tenth have it and ends where nine tenths do, at the edge if nowhere. Where that is at "
        f"sparser data than in the optimum, {WITHOUT}.{partly(len(shown), len(results.datasets), 'cases')}",
        245,
    )  # fmt: skip
    return figure


def draw_single_restarts(ax: Axes, x: np.ndarray, diagram: Diagram) -> None:
    """Where half of the single restarts have superposition, if anywhere, and from where a tenth to nine tenths do, in
    some columns; an end that is nowhere is the edge of the map."""
    if diagram.case.restarts < 2:
        return
    tenth, half, most = diagram.single_restarts()
    shown = [k for k in spread(len(x), COLUMNS) if np.isfinite(half[k])]
    high = np.where(np.isnan(tenth), diagram.density.max(), tenth)
    low = np.where(np.isnan(most), diagram.density.min(), most)
    ax.vlines(x[shown], low[shown], high[shown], color="black", linewidth=1)
    ax.plot(x[shown], half[shown], "o", color="black", markersize=3)


def _in_words(diagram: Diagram, between: str = "\n") -> str:
    """The shape and the protocol of a case."""
    return f"{diagram.title}{between}{fitted(diagram.name.rpartition('_')[2], 2)}"
