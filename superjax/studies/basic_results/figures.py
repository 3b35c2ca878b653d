"""The figures of the basic results: weights of linear and ReLU models, and how many features they represent."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREEN, VERMILION
from superjax.reference import theory
from superjax.studies.basic_results.view import PUBLISHED, Group, count, dedicated, groups
from superjax.studies.captions import frame, partly, spread, training_in_words
from superjax.studies.results import Results

MAX_COLUMNS = 10  # densities
MAX_SHAPES = 6
KINDS = {"linear": "Linear model", "notebook": "Published protocol", "best": "Better optimiser"}


def figures(results: Results) -> dict[str, Figure]:
    shown = groups(results)
    drawn = {f"weights_{group.name}": weights(results, group) for group in shown}
    with_relu = [group for group in shown if group.relu]
    return drawn | ({"counts": counts(results, with_relu)} if with_relu else {})


def weights(results: Results, group: Group) -> Figure:
    """A column per density: WᵀW and b of the linear model, and of the ReLU model with the norms of its features, for a
    single fit by the published protocol and for the best fit found."""
    rows, shown = _rows(group), spread(len(group.density), MAX_COLUMNS)
    columns = len(shown)
    figure = Figure(figsize=(2.35 * columns + 2.2, 2.5 * len(rows) + 1.8), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    image = None
    for (label, data, draw), axes in zip(rows, grid, strict=True):
        for point, ax in zip(shown, axes, strict=True):
            drawn = draw(ax, data.isel(density=point))
            image = drawn or image
        axes[0].set_ylabel(label, fontsize=10)
    for density, ax in zip(group.density[shown], grid[0], strict=True):
        ax.set_title(f"density {density:g}\nS = {1 - density:g}", fontsize=10)
    if image is not None:
        figure.colorbar(image, ax=grid[: max(1, len(rows) // 2), -1], label="WᵀW and b", shrink=0.7)
    if group.relu:
        key = figure.colorbar(plots.interference_key(), ax=grid[-1:, -1], label="interference", shrink=0.8)
        key.set_ticks([0, 0.5, 1], labels=["0", "0.5", "≥1"])
    ratio = group.importance[1] / group.importance[0] if len(group.importance) > 1 else 1
    words = " ".join(f"{KINDS.get(kind, kind)}: {training_in_words(case)}." for kind, case in group.cases.items())
    frame(
        figure, results,
        f"{group.title}, importance {ratio:.3g}ⁱ. Features are in the order of their importance, the most important "
        "first (top, left). Bars are the norms ‖Wᵢ‖, coloured by interference, the sum of the squared overlaps of "
        "the feature's unit vector with the others; "
        f"represented: norm ≥ {group.case.phases.represented:g}. {words}"
        f"{partly(columns, len(group.density), 'densities')}",
        230,
    )  # fmt: skip
    return figure


def _rows(group: Group) -> list:
    """Label, data by density and drawing function of every row."""
    rows = []
    if "linear" in group.data:
        rows.append(("linear model\nWᵀW and b", group.best("linear"), _gram))
    if "notebook" in group.data:
        single = group.data["notebook"].isel(restart=0)
        rows += [
            ("ReLU, published protocol,\none fit: WᵀW and b", single, _gram),
            ("ReLU, published protocol,\none fit: norms", single, _bars),
        ]
    if group.relu:
        best = group.best_found()
        rows += [("ReLU, best fit found\nWᵀW and b", best, _gram), ("ReLU, best fit found\nnorms", best, _bars)]
    return rows


def _gram(ax: Axes, data: xr.Dataset):
    return plots.gram(ax, data["W"].transpose("hidden", "feature").values, data["b"].values)


def _bars(ax: Axes, data: xr.Dataset) -> None:
    plots.norm_bars(ax, data["norm"].values, data["interference"].values)
    phase = data["phase"].values
    text = f"{analysis.represented(phase).sum()} represented\n{(phase == 1).sum()} alone"
    ax.text(0.97, 0.04, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=8.5)


def counts(results: Results, shown: Sequence[Group]) -> Figure:
    """A panel per shape: how many features are represented, and how many have a dimension of their own, by density."""
    every, shown = shown, shown[:MAX_SHAPES]
    figure = Figure(figsize=(7.5 * len(shown), 5.6), layout="constrained")
    for group, ax in zip(shown, figure.subplots(1, len(shown), squeeze=False)[0], strict=True):
        density, best = group.density, group.best_found()
        if "notebook" in group.data:
            fits = group.data["notebook"]["phase"]
            for function, colour, label in ((count, BLUE, "represented"), (dedicated, GREEN, "own dimension")):
                numbers = function(fits).transpose("density", "restart").values
                ax.fill_between(density, numbers.min(1), numbers.max(1), color=colour, alpha=0.2, linewidth=0)
                ax.plot(density, np.median(numbers, axis=1), "-", color=colour,
                        label=f"{label}: published protocol, median and range of {numbers.shape[1]} fits")  # fmt: skip
        ax.plot(density, count(best["phase"]), "D", color=VERMILION, label="represented: best fit found")
        ax.plot(density, dedicated(best["phase"]), "D", color=VERMILION, markerfacecolor="none",
                label="own dimension: best fit found")  # fmt: skip
        fine = np.geomspace(density.min(), density.max(), 300)
        rule = [theory.digon_count(group.importance, s, group.case.n_hidden) for s in fine]
        ax.plot(fine, rule, color="black", linewidth=1, linestyle="--", label="represented: digon rule")
        if group.published():
            known = {s: n for s, (n, _) in PUBLISHED.items() if np.isclose(density, s).any()}
            ax.plot(
                list(known), list(known.values()), "kx", markersize=9, label="represented: bars of the paper's figure"
            )
        ax.axhline(group.case.n_hidden, color="0.6", linewidth=0.8, linestyle=":")
        ax.set(xscale="log", xlim=(density.max() * 1.2, density.min() / 1.2), ylim=(0, None), title=group.title,
               xlabel="density 1 − S", ylabel="number of features")  # fmt: skip
        ax.legend(fontsize=8, loc="upper left")
    frame(
        figure, results,
        "A feature is represented if its norm is at least "
        f"{shown[0].case.phases.represented:g}; it has its own dimension if its interference with represented features "
        f"is below {shown[0].case.phases.superposed:g}. Digon rule: a newcomer joins a host as its antipode if that "
        "lowers the loss of idealised weights; it ends at two features a dimension (dotted: m)."
        f"{partly(len(shown), len(every), 'shapes')}",
        80 * len(shown) + 20,
    )  # fmt: skip
    return figure
