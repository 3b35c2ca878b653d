"""The figure of the L1 penalty: phases, features represented, interference and loss over penalty and density."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from superjax import plots
from superjax.plots.maps import BLACK, MEASURED_LINE, WHITE
from superjax.studies.captions import frame, partly, training_in_words
from superjax.studies.l1_penalty.view import LARGEST, STAYS, Plane, planes
from superjax.studies.phase_diagram.figures import any_diverged
from superjax.studies.protocols.figures import SINGLE_RESTARTS, draw_single_restarts
from superjax.studies.results import Results

MAX_ROWS = 6
LOWEST = 1e-2  # loss over that of returning the means, darkest
LIMIT_LINE = {"color": BLACK, "linewidth": 1.4, "linestyle": (0, (1, 1.5))}
TITLES = (
    "Phase of feature m + 1",
    "Features represented",
    "Interference\n(mean of represented features)",
    "Loss without the penalty\n(over that of returning the means)",
)


def figures(results: Results) -> dict[str, Figure]:
    return {"l1_penalty": maps(results)}


def maps(results: Results) -> Figure:
    """A row per case, four maps over penalty (right) and density (1 at the top)."""
    every = planes(results)
    shown = every[:MAX_ROWS]
    figure = Figure(figsize=(14.5, 3.2 * len(shown) + 2.2), layout="constrained")
    rows = figure.subplots(len(shown) + 1, 4, height_ratios=[*[1] * len(shown), 0.33], squeeze=False)
    for plane, axes in zip(shown, rows, strict=False):
        _draw_row(figure, plane, axes)
    for ax, title in zip(rows[0], TITLES, strict=True):
        ax.set_title(title, fontsize=11.5)
    for ax in rows[-2]:
        ax.set_xlabel("L1 penalty λ", fontsize=10.5)
    for ax in rows[-1]:
        ax.axis("off")
    lines = [
        Line2D([], [], **MEASURED_LINE, label="superposition begins (any features)"),
        SINGLE_RESTARTS,
        Line2D([], [], **LIMIT_LINE, label="a rare feature is given up (closed form)"),
    ]  # fmt: skip
    for ax, handles in ((rows[-1, 0], plots.phase_handles(any_diverged(list(shown)))), (rows[-1, 1], lines)):
        ax.legend(handles=handles, loc="upper left", frameon=False, fontsize=9.5).set_in_layout(False)
    trained: dict[str, list[str]] = {}
    for plane in shown:
        trained.setdefault(f"{training_in_words(plane.case)}; {_best(plane)}", []).append(plane.title)
    training = " ".join(f"{', '.join(dict.fromkeys(shapes))}: {words}." for words, shapes in trained.items())
    frame(
        figure, results,
        f"Minimised is the squared error plus λ Σ|h|, h = Wx. {training} Feature m + 1 is the most important one "
        f"without a dimension of its own. A feature that is active alone is given up from λ = {LARGEST:.3f} of its "
        "importance on: dotted for both features where there are two, else for feature m + 1. Single restarts may keep "
        f"it up to {STAYS:.3f} of its importance, and may stay without a weight at any penalty: both are minima."
        f"{_silent(shown)}"
        f"{partly(len(shown), len(every), 'cases')}", 250, 14,
    )  # fmt: skip
    return figure


def _draw_row(figure: Figure, plane: Plane, axes: np.ndarray) -> None:
    x, y = plane.penalty, plane.density
    x_edges, y_edges = plots.cell_edges(x, False), plots.cell_edges(y, True)
    for ax in axes:
        ax.set(yscale="log", xlim=(x_edges.min(), x_edges.max()), ylim=(y_edges.min(), y_edges.max()))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.tick_params(labelleft=ax is axes[0])
    axes[0].set_ylabel(f"{plane.words}\ndensity 1 − S", fontsize=10.5)
    plots.phase_map(axes[0], x, y, plane.newcomer())
    shares = plane.error() / plane.of_nothing()
    count = plane.represented().astype(float)
    known = np.isfinite(plane.error())
    most = max(1.0, float(count[known].max(initial=0)))
    meshes = (
        plots.value_map(axes[1], x, y, np.where(known, count, np.nan), 0.0, most),
        plots.value_map(axes[2], x, y, np.where(known, plane.interference(), np.nan), 0.0, 1.0, "cividis"),
        plots.gap_map(axes[3], x, y, shares, LOWEST, 1.0),
    )
    for ax, mesh in zip(axes[1:], meshes, strict=True):
        bar = figure.colorbar(mesh, ax=ax)
        bar.ax.tick_params(labelsize=9)
        if ax is axes[1]:
            bar.locator = MaxNLocator(nbins=min(int(most), 6), integer=True)
            bar.update_ticks()
    _draw_lines(axes, plane)


def _draw_lines(axes: np.ndarray, plane: Plane) -> None:
    begins, importance, m = plane.begins(), plane.case.importance_vector(), plane.case.n_hidden
    which = {importance[0], importance[-1]} if len(importance) == 2 else {importance[m]}
    for ax in axes:
        ax.plot(plane.penalty, begins, **MEASURED_LINE)
        for one in which:
            if LARGEST * one < plane.penalty.max():
                ax.axvline(LARGEST * one, **(LIMIT_LINE if ax is axes[0] else {**LIMIT_LINE, **WHITE}))
    draw_single_restarts(axes[0], plane.penalty, plane)


def _best(plane: Plane) -> str:
    if plane.optimal:
        return "maps of the optimum of the exact loss, transplanted between neighbouring cells and polished"
    return f"maps of the best of {plane.case.restarts} restarts"


def _silent(shown: list[Plane]) -> str:
    """How far off the optimum may be."""
    off = [plane.silent() for plane in shown if plane.known_exactly]
    share, most = (max(values) for values in zip(*off, strict=True)) if off else (0.0, 0.0)
    if not share:
        return ""
    return f" In {share:.1%} of a map or less the optimum is up to {most:.1%} too high, an output silent."
