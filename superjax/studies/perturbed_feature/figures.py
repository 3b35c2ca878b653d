"""The figure of one perturbed feature: overlaid solutions, and the losses of both families."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREEN, VERMILION
from superjax.studies.captions import frame, nearest, partly, training_in_words
from superjax.studies.perturbed_feature.view import KEPT, View, views
from superjax.studies.results import Results, known

MAX_ROWS = 8  # cases of the figure
SHOWN = (0.1, 0.2, 0.5, 1.0, 3.0)  # densities of the perturbed feature, relative to the others


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    shown = views(results)
    return {"perturbed_feature": perturbed_feature(results, shown)} if shown else {}


def perturbed_feature(results: Results, views: Sequence[View]) -> Figure:
    """A row per baseline density: all good fits at some densities of the perturbed feature, laid over each other, and
    the loss of both families along it."""
    every, views = views, views[:MAX_ROWS]
    figure = Figure(figsize=(19, 3.2 * len(views) + 2.2), layout="constrained")
    ratios = [*[1] * len(SHOWN), 2.2]
    rows = figure.subplots(len(views), len(SHOWN) + 1, width_ratios=ratios, squeeze=False)
    for view, axes in zip(views, rows, strict=True):
        for ax, ratio in zip(axes, SHOWN, strict=False):
            _draw_fits(ax, view, nearest(view.density / view.baseline, [ratio])[0], KEPT)
        axes[0].set_ylabel(f"others at density {view.baseline:g}", fontsize=11)
        _draw_losses(axes[-1], view)
    case = views[0].case
    frame(
        figure, results,
        f"n = {case.n_features}, m = {case.n_hidden}, importance 1. Left: columns of W of the fits whose loss is at "
        f"most {KEPT:.0%} above the lowest of {case.restarts}, turned so that the perturbed feature (orange) points "
        "right; blue: the others. Right: two kinds of solution, each followed from cell to cell along the axis from its"
        " own start as far as it is a minimum. Grey: lowest loss of all fits. "
        f"Each fit: {training_in_words(case)}."
        f"{partly(len(SHOWN), max(len(view.density) for view in views), 'densities on the left')}"
        f"{partly(len(views), len(every), 'cases')}",
        250,
    )  # fmt: skip
    return figure


def _draw_fits(ax: Axes, view: View, point: int, kept: float) -> None:
    data = view.data.isel({next(iter(view.case.axes)): point})
    loss = data["loss"].values
    chosen = np.flatnonzero(loss <= np.min(loss, where=np.isfinite(loss), initial=np.inf) * (1 + kept))
    chosen = chosen[np.isfinite(loss[chosen])]
    order = [view.feature, *(k for k in range(view.case.n_features) if k != view.feature)]
    colours = [VERMILION if k == view.feature else BLUE for k in range(view.case.n_features)]
    for W in data["W"].transpose("restart", "hidden", "feature").values[chosen]:
        plots.vectors(ax, analysis.canonical(W, order)[:, order], [colours[k] for k in order], alpha=0.35, dots=5.0)
    ratio = view.density[point] / view.baseline
    how = f"{ratio:.2g} x as dense" if ratio >= 1 else f"{1 / ratio:.2g} x as sparse"
    ax.set_title(f"{how if abs(ratio - 1) > 1e-3 else 'not perturbed'}\n{len(chosen)} of {len(loss)} fits", fontsize=10)
    ax.set(xticks=[], yticks=[])


def _draw_losses(ax: Axes, view: View) -> None:
    ratio = view.density / view.baseline
    ax.plot(ratio, view.data["loss"].min("restart"), color="0.7", linewidth=5, label="best of all fits")
    for family, colour, style in (("pentagon", GREEN, "-"), ("digons", "black", "--")):
        ax.plot(
            ratio, view.own_loss(family), color=colour, linestyle=style, linewidth=1.8, label=f"family of the {family}"
        )
    crossing = view.crossing() / view.baseline
    if np.isfinite(crossing):
        ax.axvline(crossing, color=VERMILION, linewidth=1.2, linestyle=":")
        ax.text(crossing, 0.03, f" they cross at 1/{1 / crossing:.2f}", transform=ax.get_xaxis_transform())
    ax.set(xscale="log", yscale="log", xlim=(ratio.min(), ratio.max()), ylabel="loss",
           xlabel="density of the perturbed feature / density of the others")  # fmt: skip
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize=9, loc="upper left")
