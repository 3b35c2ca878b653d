"""The figures of the basic results: weights of linear and ReLU models, and how many features they represent."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREEN, VERMILION
from superjax.reference import theory
from superjax.studies.basic_results.view import KINDS, PUBLISHED, Group, count, dedicated, groups
from superjax.studies.captions import frame, partly, spread, training_in_words
from superjax.studies.results import Results

MAX_COLUMNS = 10  # densities
MAX_SHAPES = 6


def figures(results: Results) -> dict[str, Figure]:
    shown = groups(results)
    drawn = {f"weights_{group.name}": weights(results, group) for group in shown}
    with_relu = [group for group in shown if group.relu]
    return drawn | ({"counts": counts(results, with_relu)} if with_relu else {})


def weights(results: Results, group: Group) -> Figure:
    """The linear model once, with the keys beside it; below it a column per density: WᵀW, b and the norms of the
    features of the ReLU model, for a single fit by the published protocol and for the best fit found."""
    rows, shown = _rows(group), spread(len(group.density), MAX_COLUMNS)
    columns = max(len(shown), 4)
    linear = "linear" in group.data
    figure = Figure(figsize=(1.62 * columns + 0.9, 1.9 * (len(rows) + 1) + 1.9), layout="constrained")
    grid = figure.subplots(len(rows) + 1, columns, squeeze=False)
    for ax in grid[0, 1 if linear else 0 :]:
        ax.axis("off")
    image = None
    if linear:
        image = _gram(grid[0, 0], group.best("linear").isel(density=0))
        grid[0, 0].set_title(f"linear model\ndensity {group.density[0]:g}", fontsize=11)
        same = "the same at every\ndensity but for b\nof the features\nleft out, s/2"
        grid[0, 1].text(0.05, 0.5, same, fontsize=10.5, va="center", transform=grid[0, 1].transAxes)
    for row, ((label, data, draw), axes) in enumerate(zip(rows, grid[1:], strict=True)):
        for point, ax in zip(shown, axes, strict=False):
            image = draw(ax, data.isel(density=point)) or image
            if row == 0:
                ax.set_title(f"density {group.density[point]:g}", fontsize=11)
        for ax in axes[len(shown) :]:
            ax.axis("off")
        axes[0].set_ylabel(label, fontsize=11)
    _keys(figure, grid[0, -2:], image, bool(group.relu))
    ratio = group.importance[1] / group.importance[0] if len(group.importance) > 1 else 1
    words = " ".join(f"{KINDS.get(kind, kind)}: {training_in_words(case)}." for kind, case in group.cases.items())
    frame(
        figure, results,
        f"{group.title}, importance {ratio:.3g}ⁱ. Features are in the order of their importance, the most important "
        "first (top, left). Bars are the norms ‖Wᵢ‖, coloured by interference, the sum of the squared overlaps of "
        f"the feature's unit vector with the others; in: features of norm {group.case.phases.represented:g} and more; "
        f"alone: those of them whose interference is below {group.case.phases.superposed:g}. {words}"
        f"{partly(len(shown), len(group.density), 'densities')}",
        230,
    )  # fmt: skip
    return figure


def _keys(figure: Figure, axes: np.ndarray, image: AxesImage | None, bars: bool) -> None:
    """Colour bars within two panels that are otherwise empty."""
    keys = [(image, "WᵀW and b", [-1, 0, 1], ["−1", "0", "1"])] if image is not None else []
    if bars:
        keys.append((plots.interference_key(), "interference", [0, 0.5, 1], ["0", "0.5", "≥1"]))
    for ax, (colours, label, ticks, words) in zip(axes, keys, strict=False):
        bar = figure.colorbar(colours, cax=ax.inset_axes((0.1, 0.45, 0.8, 0.14)), orientation="horizontal")
        bar.set_label(label, fontsize=11)
        bar.set_ticks(ticks, labels=words)


def _rows(group: Group) -> list:
    """Label, data by density and drawing function of every row but the linear model's."""
    rows = []
    if "notebook" in group.relu:
        single = group.data["notebook"].isel(restart=0)
        rows += [("published protocol,\nfirst fit", single, _gram), ("published protocol,\nfirst fit", single, _bars)]
    if group.relu:
        best = group.best_found()
        rows += [("best fit found", best, _gram), ("best fit found", best, _bars)]
    return rows


def _gram(ax: Axes, data: xr.Dataset) -> AxesImage:
    return plots.gram(ax, data["W"].transpose("hidden", "feature").values, data["b"].values)


def _bars(ax: Axes, data: xr.Dataset) -> None:
    plots.norm_bars(ax, data["norm"].values, data["interference"].values)
    phase = data["phase"].values
    ax.set_title(f"{analysis.represented(phase).sum()} in, {(phase == 1).sum()} alone", fontsize=10)


def counts(results: Results, shown: Sequence[Group]) -> Figure:
    """A panel per shape: how many features are represented, and how many have a dimension of their own, by density."""
    every, shown = shown, shown[:MAX_SHAPES]
    figure = Figure(figsize=(6 * len(shown), 6.6), layout="constrained")
    panels, (key, *rest) = figure.subplots(
        2, len(shown), squeeze=False, height_ratios=[5, 1.5 if len(shown) > 1 else 2]
    )
    for group, ax in zip(shown, panels, strict=True):
        _count(ax, group)
    for ax in (key, *rest):
        ax.axis("off")
    lines = {line.get_label(): line for ax in panels for line in ax.lines if not str(line.get_label()).startswith("_")}
    key.legend(lines.values(), lines.keys(), fontsize=10, ncols=min(len(shown), 2), loc="center")
    fits = "; ".join(
        f"{group.data['notebook'].sizes['restart']} for {group.title}" for group in shown if "notebook" in group.relu
    )
    number = "; ".join(f"{group.fits().sizes['fit']} for {group.title}" for group in shown)
    known = any(group.published() for group in shown)
    frame(
        figure, results,
        f"Represented: of norm {shown[0].case.phases.represented:g} and more, in the paper's figure as in ours. Alone: "
        f"represented, with interference below {shown[0].case.phases.superposed:g}. "
        + (f"Published protocol: median (line) and range (shaded) of the fits, {fits}. " if fits else "")
        + f"Best fit found: of lowest loss of all ReLU models ({number}), inputs with up to two active features "
        "enumerated, others sampled. Digon rule: a newcomer joins a host as its antipode if that lowers the loss of "
        "idealised weights; it ends at two features a dimension. Dotted: m."
        + (" The paper's bars were read from its figure for n = 20; those for n = 80 were not to be had." if known
           else "")
        + f"{partly(len(shown), len(every), 'shapes')}",
        80 * len(shown) + 20,
    )  # fmt: skip
    return figure


def _count(ax: Axes, group: Group) -> None:
    density, best = group.density, group.best_found()
    if "notebook" in group.relu:
        fits = group.data["notebook"]["phase"]
        for function, colour, label in ((count, BLUE, "represented"), (dedicated, GREEN, "alone")):
            numbers = function(fits).transpose("density", "restart").values
            ax.fill_between(density, numbers.min(1), numbers.max(1), color=colour, alpha=0.2, linewidth=0)
            ax.plot(density, np.median(numbers, axis=1), "-", color=colour, label=f"{label}: published protocol")
    ax.plot(density, count(best["phase"]), "D", color=VERMILION, label="represented: best fit found")
    ax.plot(density, dedicated(best["phase"]), "D", color=VERMILION, markerfacecolor="none",
            label="alone: best fit found")  # fmt: skip
    fine = np.geomspace(density.min(), density.max(), 300)
    rule = [theory.digon_count(group.importance, s, group.case.n_hidden) for s in fine]
    ax.plot(fine, rule, color="black", linewidth=1, linestyle="--", label="represented: digon rule")
    if group.published():
        known = {s: n for s, n in PUBLISHED.items() if np.isclose(density, s).any()}
        ax.plot(list(known), list(known.values()), "kx", markersize=11, markeredgewidth=2,
                label="represented: bars of the paper's figure")  # fmt: skip
    ax.axhline(group.case.n_hidden, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlim=(density.max() * 1.2, density.min() / 1.2), ylim=(-0.3, None), xlabel="density 1 − S",
           ylabel="number of features")  # fmt: skip
    ax.set_title(group.title, fontsize=12)
    ax.xaxis.set_major_formatter("{x:g}")
