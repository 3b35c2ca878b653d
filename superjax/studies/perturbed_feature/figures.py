"""The figure of one perturbed feature: the best fit in front of all fits, and the losses of both families."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREEN, VERMILION
from superjax.studies.captions import frame, nearest, partly, training_in_words
from superjax.studies.perturbed_feature.view import CONVERGED, KEPT, View, views
from superjax.studies.results import Results, known

MAX_ROWS = 8  # cases of the figure
SHOWN = (0.1, 0.2, 0.5, 1.0, 3.0)  # densities of the perturbed feature, relative to the others
FAMILY_STYLES = {"pentagon": (GREEN, "-"), "digons": ("black", "--")}
_TICKS = (1, 2, 5)  # times a power of ten


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    shown = views(results)
    return {"perturbed_feature": perturbed_feature(results, shown)} if shown else {}


def perturbed_feature(results: Results, views: Sequence[View]) -> Figure:
    """A row per baseline density: the best fit at some densities of the perturbed feature, with all fits behind it, and
    the loss of both families along it."""
    every, views = views, views[:MAX_ROWS]
    figure = Figure(figsize=(14, 2.7 * len(views) + 1.6), layout="constrained")
    ratios = [*[1] * len(SHOWN), 2.2]
    rows = figure.subplots(len(views), len(SHOWN) + 1, width_ratios=ratios, squeeze=False)
    for view, axes in zip(views, rows, strict=True):
        for ax, ratio in zip(axes, SHOWN, strict=False):
            _draw_fits(ax, view, nearest(view.density / view.baseline, [ratio])[0])
            ax.label_outer()
        axes[0].set_ylabel(f"others at density {view.baseline:g}", fontsize=10)
        _draw_losses(axes[-1], view)
    rows[0, -1].legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False,
                       columnspacing=1, handlelength=1.8)  # fmt: skip
    rows[-1, -1].set_xlabel("density of the perturbed feature /\ndensity of the others", fontsize=9)
    case = views[0].case
    frame(
        figure, results,
        f"n = {case.n_features}, m = {case.n_hidden}, importance 1. Left: columns of W, turned so that the perturbed "
        f"feature (orange) points right; blue: the others; circle: norm 1. In front the fit of lowest loss, grey all "
        f"{case.restarts} fits; above, how many are within {KEPT:.0%} of the lowest loss. Right: two kinds of "
        "solution, each followed from density to density from its own start and drawn where it is a converged minimum "
        "of its own kind (all features represented, or all but the perturbed one; norm of the gradient at most "
        f"{CONVERGED:.0%} of the loss). Where the lowest of all fits is below both, another solution is best. "
        f"Each fit: {training_in_words(case)}."
        f"{partly(len(SHOWN), max(len(view.density) for view in views), 'densities on the left')}"
        f"{partly(len(views), len(every), 'cases')}",
        200,
    )  # fmt: skip
    return figure


def _draw_fits(ax: Axes, view: View, point: int) -> None:
    """All fits in grey, and in colours the one of lowest loss."""
    data = view.data.isel({next(iter(view.case.axes)): point})
    loss, W = data["loss"].values, data["W"].transpose("restart", "hidden", "feature").values
    finite = np.flatnonzero(np.isfinite(loss))
    best = finite[np.argmin(loss[finite])]
    order = [view.feature, *(k for k in range(view.case.n_features) if k != view.feature)]
    for restart in finite[finite != best]:
        plots.vectors(ax, analysis.canonical(W[restart], order), "0.6", alpha=0.25, dots=3.0)
    colours = [VERMILION if k == view.feature else BLUE for k in order]
    plots.vectors(ax, analysis.canonical(W[best], order)[:, order], colours, dots=5.0)
    ax.add_patch(Circle((0, 0), 1, fill=False, edgecolor="black", linewidth=0.6, linestyle=":"))
    ratio = view.density[point] / view.baseline
    how = f"{ratio:.2g} x as dense" if ratio >= 1 else f"{1 / ratio:.2g} x as sparse"
    kept = int((loss[finite] <= loss[best] * (1 + KEPT)).sum())
    ax.set_title(
        f"{how if abs(ratio - 1) > 1e-3 else 'not perturbed'}\n{kept} of {len(loss)} within {KEPT:.0%}", fontsize=9
    )
    ax.tick_params(labelsize=8)


def _draw_losses(ax: Axes, view: View) -> None:
    ratio = view.density / view.baseline
    ax.plot(ratio, view.data["loss"].min("restart"), color="0.75", linewidth=5, label="lowest of all fits")
    for family, (colour, style) in FAMILY_STYLES.items():
        ax.plot(ratio, view.own_loss(family), color=colour, linestyle=style, linewidth=1.8, label=family)
    crossing = view.crossing() / view.baseline
    if np.isfinite(crossing):
        ax.axvline(crossing, color=VERMILION, linewidth=1.2, linestyle=":")
        ax.text(crossing, 0.03, f" they cross at 1/{1 / crossing:.2f}", transform=ax.get_xaxis_transform(), fontsize=9)
    ax.set(xscale="log", yscale="log", xlim=(ratio.min(), ratio.max()))
    ax.set_ylabel("loss", fontsize=10)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=_TICKS))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.tick_params(labelsize=8)
