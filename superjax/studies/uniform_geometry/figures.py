"""The figures of uniform superposition, a row for every case: D* and D_i against sparsity; exact losses and nulls."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from superjax.plots.maps import BLUE, GREY, VERMILION
from superjax.spec import Case
from superjax.studies.captions import frame, training_in_words
from superjax.studies.results import Results, known
from superjax.studies.uniform_geometry.graphs import feature_graphs
from superjax.studies.uniform_geometry.palette import COLOURS, FRACTIONS
from superjax.studies.uniform_geometry.view import NAMED, Uniform, uniforms

TRIED = {  # (n, m, batch, steps, learning rate) of the packaged sweep, found by trying: how many settings
    (120, 12, 512, 20_000, 0.003): "nine",
    (400, 30, 512, 10_000, 0.01): "fourteen",
}
_BANDS = 0.12  # opacity of the colours of the lowest exact loss
_BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15), "frameon": False, "columnspacing": 1.0}
_UNNAMED = "#606060"  # represented, but in no complete polytope
_BY_NORM = {"": GREY, "represented": BLUE}


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    if not (shown := uniforms(results)):
        return {}
    name = results.sweep.name
    return {
        name: uniform_geometry(results, shown),
        f"{name}_losses": losses(results, shown),
        f"{name}_graphs": feature_graphs(results, shown),
    }


def uniform_geometry(results: Results, shown: list[Uniform]) -> Figure:
    """Against 1/(1-S): D*, beside that of the exact optimum; D_i of all features, and their histogram."""
    figure = Figure(figsize=(14, 4.7 * len(shown) + 1.4), layout="constrained")
    for row, axes in zip(shown, figure.subplots(len(shown), 3, width_ratios=[1, 1.5, 0.5], squeeze=False), strict=True):
        per_feature, trained, histogram = axes
        _per_feature(per_feature, row)
        _trained(trained, row)
        _histogram(histogram, row)
        _names(histogram)
        for ax in (per_feature, trained):
            _density_axis(ax, row)
    trained_on = " ".join(
        f"{row.name}: {_fits(row)}; each {training_in_words(row.case)}{_tried(row.case)}." for row in shown
    )
    frame(
        figure, results,
        f"{trained_on} Equal importances. Colours: the product of one kind of polytope with the lowest exact loss, if "
        "it fills all dimensions at its exact optimum and leaves all other features out; in the left panels its D*. "
        "Near density 1 that optimum lies below 1: what sticks at 1 there is the optimiser, not the loss. Middle: a "
        "feature of a complete polytope has its colour, that of its line; dark grey: norm ≥ "
        f"{shown[0].case.phases.represented:g}, but in no complete polytope; light grey: weaker.",
        230,
    )  # fmt: skip
    return figure


def losses(results: Results, shown: list[Uniform]) -> Figure:
    """Against 1/(1-S): exact losses of products and those of the trained models, what is explained, random D_i."""
    figure = Figure(figsize=(17, 5 * len(shown) + 1.4), layout="constrained")
    body = figure.subfigures()
    for row, axes in zip(shown, body.subplots(len(shown), 4, squeeze=False), strict=True):
        for draw, ax in zip((_products, _reached, _explained, _random), axes, strict=True):
            draw(ax, row)
            _density_axis(ax, row)
    body.legend(*body.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=7, frameon=False)
    frame(
        figure, results,
        "First: what products of one kind of polytope explain at their exact optimum, and the trained models; one "
        "feature a dimension explains 1, as PCA does. Second: the gain over PCA, v (n − m) − L, as a share of that of "
        "the product of lowest exact loss; lines: other products; bars: what the samples of the loss leave open. Third "
        f"and fourth: blue: norm ≥ {shown[0].case.phases.represented:g}, grey: weaker. Fourth: the same norms as "
        "trained in random directions. Background: the product of lowest exact loss.",
        230,
    )  # fmt: skip
    return figure


def _tried(case: Case) -> str:
    train = case.train
    number = TRIED.get((case.n_features, case.n_hidden, train.batch, train.steps, train.learning_rate))
    return f" (of some {number} settings tried, chosen for features with the Dᵢ of a polytope)" if number else ""


def _fits(shown: Uniform) -> str:
    fits = shown.data["loss"].size // len(shown.density)
    return f"{len(shown.density)} densities, " + (f"the best of {fits} fits" if fits > 1 else "a fit")


def _density_axis(ax: Axes, shown: Uniform) -> None:
    """1/(1-S) on a logarithmic axis, over bands in the colour of the polytope with the lowest exact loss."""
    x = 1 / shown.fine
    ax.set(xscale="log", xlabel="1 / (1 − S)", xlim=(x.min() / 1.04, x.max() * 1.04))
    wide = x.max() > 20 * x.min()
    ticks = [
        tick
        for tick in (1, *([] if wide else [1.5]), 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)
        if x.min() <= tick * 1.001 <= x.max() * 1.01
    ]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    names, _ = shown.lowest_at(shown.fine)
    middle = np.sqrt(x[:-1] * x[1:])
    for left, right, name in zip([x[0] / 1.04, *middle], [*middle, x[-1] * 1.04], names, strict=True):
        ax.axvspan(left, right, color=COLOURS[name], alpha=_BANDS, linewidth=0, zorder=0)


def _per_feature(ax: Axes, shown: Uniform) -> None:
    x = 1 / shown.density
    for level in (1, 0.5):
        ax.axhline(level, color="black", linewidth=0.8, linestyle=":")
    names, ideal = shown.lowest_at(shown.fine)
    for name in dict.fromkeys(names):
        here = names == name
        ax.plot(1 / shown.fine[here], ideal[here], color=COLOURS[name], linewidth=4, alpha=0.8, solid_capstyle="butt",
                label=f"exact {name}s")  # fmt: skip
    ax.plot(x, shown.per_feature, "o-", color=BLUE, markersize=4.5, linewidth=1, label="trained")
    ax.set(
        ylim=(0, 1.1),
        ylabel="dimensions per feature  D* = m / ‖W‖²",
        title=f"{shown.name}: dimensions per feature",
    )
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.92), fontsize=9)


def _products(ax: Axes, shown: Uniform) -> None:
    x, (n, m), v = 1 / shown.density, (shown.case.n_features, shown.case.n_hidden), shown.variance
    for name, loss in shown.exact_loss.items():
        ax.plot(x, (n - loss / v) / m, color=COLOURS[name], linewidth=1.8, label=f"{name}s, exact")
    ax.plot(x, (n - shown.best("loss") / v) / m, "o", color=BLUE, markersize=4.5, label="trained")
    ax.set(
        yscale="log",
        ylabel="explained features\nper dimension: (n − L/v) / m",
        title=f"{shown.name}: explained features per dimension",
    )
    top = ax.get_ylim()[1]
    ticks = [tick for tick in (1, 1.2, 1.5, 2, 3, 4, 6, 8, 12) if tick <= top]
    ax.set(ylim=(0.97, top))
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


def _reached(ax: Axes, shown: Uniform) -> None:
    x = 1 / shown.density
    for name, gain in shown.gains.items():
        ax.plot(x, gain / shown.lowest_gain, color=COLOURS[name], linewidth=1.2)
    ax.errorbar(
        x, shown.reached, shown.resolution, color=BLUE, marker="o", markersize=4.5, linewidth=1, ecolor=_UNNAMED,
        elinewidth=0.6,
    )  # fmt: skip
    ax.set(
        ylim=(-0.05, max(1.25, 1.05 * float(shown.reached.max()))),
        ylabel="gain over PCA,\nas a share of the best product's",
        title=f"{shown.name}: reached by training",
    )


def _explained(ax: Axes, shown: Uniform) -> None:
    x, explained = 1 / shown.density, shown.best("explained")
    _dots(ax, x, explained, np.where(shown.represented, "represented", ""), _BY_NORM)
    ax.plot(x, explained.mean(1), color=VERMILION, linewidth=2, label="mean of all features")
    share = shown.case.n_hidden / shown.case.n_features
    ax.axhline(share, color="black", linewidth=0.8, linestyle=":", label=f"m/n = {share:.3g}")
    ax.set(
        ylim=(-0.08, 1.03),
        ylabel="explained fraction of variance",
        title=f"{shown.name}: explained of features",
    )
    ax.legend(ncols=2, **_BELOW)


def _dots(ax: Axes, x: np.ndarray, values: np.ndarray, kinds: np.ndarray, colours: dict[str, str]) -> None:
    """A dot for every feature at every density (densities, features), in the colour of its kind, the last on top."""
    columns = np.broadcast_to(x[:, None], values.shape)
    for kind, colour in colours.items():
        which = kinds == kind
        ax.plot(columns[which], values[which], ".", color=colour, markersize=6, markeredgewidth=0)


def _trained(ax: Axes, shown: Uniform) -> None:
    _dots(ax, 1 / shown.density, shown.dimensionality, shown.kinds, {"": GREY, "other": _UNNAMED, **COLOURS})
    _guides(ax)
    _dimensionality_axis(ax, f"{shown.name}: D$_i$ of all features")


def _random(ax: Axes, shown: Uniform) -> None:
    kinds = np.where(shown.represented, "represented", "")
    _dots(ax, 1 / shown.density, shown.random_dimensionality, kinds, _BY_NORM)
    _guides(ax)
    _dimensionality_axis(ax, f"{shown.name}: random directions")


def _dimensionality_axis(ax: Axes, title: str) -> None:
    ax.set(ylim=(-0.02, 1.06), title=title, ylabel="feature dimensionality D$_i$")


def _guides(ax: Axes) -> None:
    for name, polytope in NAMED.items():
        ax.axhline(polytope.dimensionality, color=COLOURS[name], linewidth=1, zorder=1)
    ax.axhline(0, color="black", linewidth=1, zorder=1)


def _names(ax: Axes) -> None:
    """What the guide lines stand for, on the right of them."""
    for name, polytope in NAMED.items():
        below = name == "square antiprism"  # 3/8 is close to 2/5
        ax.text(
            1.03,
            polytope.dimensionality,
            f"{name} {FRACTIONS[name]}",
            transform=ax.get_yaxis_transform(),
            va="top" if below else "bottom" if name == "pentagon" else "center",
        )


def _histogram(ax: Axes, shown: Uniform) -> None:
    bins = np.arange(-0.005, 1.06, 0.01)
    for values, style in (
        (shown.dimensionality, {"color": BLUE}),
        (shown.random_dimensionality, {"color": "black", "histtype": "step"}),
    ):
        ax.hist(values[shown.represented], bins, orientation="horizontal", **style)
    _guides(ax)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(xlabel="represented features, all densities", title="Histogram of D$_i$", ylim=(-0.02, 1.06))
    handles = [Line2D([], [], color=BLUE, linewidth=6), Line2D([], [], color="black")]
    ax.legend(handles, ["trained", "random"], loc="upper right", bbox_to_anchor=(1, 0.93))
