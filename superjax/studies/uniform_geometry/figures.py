"""The figures of uniform superposition: dimensions per feature, D_i of every feature, exact losses, feature graphs."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from superjax.plots.graphs import feature_graph
from superjax.plots.maps import BLUE, GREY, VERMILION
from superjax.studies.captions import frame, partly, training_in_words
from superjax.studies.results import Results, known
from superjax.studies.uniform_geometry.view import EDGE, NAMED, SHOWN, TOLERANCE, Uniform, uniforms

COLOURS = {
    "single": "#000000", "tetrahedron": "#cc79a7", "triangle": "#009e73", "digon": "#d55e00", "pentagon": "#56b4e9",
    "square antiprism": "#e69f00",
}  # fmt: skip
FRACTIONS = dict(zip(COLOURS, ("1", "3/4", "2/3", "1/2", "2/5", "3/8"), strict=True))
_BANDS = 0.12  # opacity of the colours of the lowest exact loss


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    drawn = {}
    for shown in uniforms(results):
        drawn[shown.name] = uniform_geometry(results, shown)
        drawn[f"{shown.name}_graphs"] = feature_graphs(results, shown)
    return drawn


def uniform_geometry(results: Results, shown: Uniform) -> Figure:
    """Against 1/(1-S): above, D*, explained variance, losses; below, D_i of all features, as trained and random."""
    figure = Figure(figsize=(18, 11.5), layout="constrained")
    top, bottom = np.atleast_1d(figure.subfigures(2, 1, height_ratios=[1, 1.1]))
    axes = top.subplots(1, 3)
    _per_feature(axes[0], shown)
    _explained(axes[1], shown)
    _losses(axes[2], shown)
    trained, histogram, random = bottom.subplots(1, 3, sharey=True, width_ratios=[1, 0.5, 1])
    _dimensionalities(trained, shown, shown.dimensionality, "D$_i$ of every feature, trained")
    _histogram(histogram, shown)
    _dimensionalities(random, shown, shown.random_dimensionality, "The same for random directions of equal norms")
    trained.set_ylabel("feature dimensionality D$_i$")
    trained.legend(
        handles=[Line2D([], [], marker="o", linestyle="", color=colour, label=label) for colour, label in
                 ((BLUE, "represented"), (GREY, f"norm below {shown.case.phases.represented:g}"))],
        loc="upper right",
    )  # fmt: skip
    for ax in (*axes, trained, random):
        _density_axis(ax, shown)
    _names(random)
    case, fits = shown.case, shown.data["loss"].size // len(shown.density)
    frame(
        figure, results,
        f"n = {case.n_features}, m = {case.n_hidden}, equal importances: {len(shown.density)} densities x {fits} fits, "
        f"of which the one of lowest loss is drawn. Each model: {training_in_words(case)}. "
        f"Background and lines of exact losses: all dimensions filled with one kind of polytope at its exact optimum, "
        f"all other features left out; the colour of the background is the one of lowest loss.",
        230,
    )  # fmt: skip
    return figure


def _density_axis(ax: Axes, shown: Uniform) -> None:
    """1/(1-S) on a logarithmic axis, over bands in the colour of the polytope with the lowest exact loss."""
    x = 1 / shown.density
    ax.set(xscale="log", xlabel="1 / (1 − S)", xlim=(x.min() / 1.04, x.max() * 1.04))
    ticks = [
        tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000) if x.min() <= tick * 1.001 <= x.max() * 1.01
    ]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    middle = np.sqrt(x[:-1] * x[1:])
    for left, right, name in zip([x[0] / 1.04, *middle], [*middle, x[-1] * 1.04], shown.lowest, strict=True):
        ax.axvspan(left, right, color=COLOURS[name], alpha=_BANDS, linewidth=0, zorder=0)


def _per_feature(ax: Axes, shown: Uniform) -> None:
    x = 1 / shown.density
    for level, label in ((1, "one feature a dimension"), (0.5, "two features a dimension")):
        ax.axhline(level, color="black", linewidth=0.8, linestyle=":")
        ax.text(x.max(), level + 0.012, label, ha="right", fontsize=9)
    digons = shown.lowest == "digon"
    ax.plot(x[digons], shown.digon_per_feature[digons], color=COLOURS["digon"], linewidth=3, alpha=0.6,
            label="isolated digons, exact")  # fmt: skip
    ax.plot(x, shown.per_feature, "o-", color=BLUE, markersize=4, linewidth=1, label="trained")
    ax.set(
        ylim=(0, 1.1),
        ylabel="dimensions per feature  D* = m / ‖W‖²",
        title="Dimensions per feature: sticky at 1 and 1/2",
    )
    ax.legend(loc="lower left")


def _explained(ax: Axes, shown: Uniform) -> None:
    x, explained, represented = 1 / shown.density, shown.best("explained"), shown.represented
    _dots(ax, x, explained, represented)
    ax.plot(x, explained.mean(1), color=VERMILION, linewidth=2, label="mean of all features")
    share = shown.case.n_hidden / shown.case.n_features
    ax.axhline(share, color="black", linewidth=0.8, linestyle=":")
    ax.text(x.max(), share + 0.012, f"m/n = {share:.3g}", ha="right", fontsize=9)
    ax.set(
        ylim=(-0.08, 1.03), ylabel="explained fraction of variance", title="How much of every feature is reconstructed"
    )
    ax.legend(loc="upper left")


def _losses(ax: Axes, shown: Uniform) -> None:
    x = 1 / shown.density
    for name, loss in shown.exact_loss.items():
        ax.plot(x, shown.explained_per_dimension(loss), color=COLOURS[name], linewidth=1.8, label=f"{name}s, exact")
    ax.plot(x, shown.explained_per_dimension(shown.best("loss")), "o", color=BLUE, markersize=4, label="trained")
    ax.set(
        yscale="log",
        ylim=(0.9, 10),
        ylabel="explained variance per dimension, in features:  (n − L/v) / m",
        title="Which polytope has the lowest loss?",
    )
    ax.set_yticks([1, 1.5, 2, 3, 4, 6, 8], ["1", "1.5", "2", "3", "4", "6", "8"])
    ax.minorticks_off()
    ax.legend(loc="upper left", fontsize=9)


def _dots(ax: Axes, x: np.ndarray, values: np.ndarray, represented: np.ndarray) -> None:
    """A dot for every feature at every density (densities, features), those represented on top."""
    columns = np.broadcast_to(x[:, None], values.shape)
    for which, colour in ((~represented, GREY), (represented, BLUE)):
        ax.plot(columns[which], values[which], ".", color=colour, markersize=4, markeredgewidth=0)


def _dimensionalities(ax: Axes, shown: Uniform, dimensionality: np.ndarray, title: str) -> None:
    _dots(ax, 1 / shown.density, dimensionality, shown.represented)
    _guides(ax)
    ax.set(ylim=(-0.02, 1.06), title=title)


def _guides(ax: Axes) -> None:
    for name, polytope in NAMED.items():
        ax.axhline(polytope.dimensionality, color=COLOURS[name], linewidth=1, zorder=1)
    ax.axhline(0, color="black", linewidth=1, zorder=1)


def _names(ax: Axes) -> None:
    """What the guide lines stand for, on the right of them."""
    for name, polytope in NAMED.items():
        below = name == "square antiprism"  # 3/8 is close to 2/5
        ax.text(
            1.01,
            polytope.dimensionality,
            f"{name} {FRACTIONS[name]}",
            transform=ax.get_yaxis_transform(),
            va="top" if below else "bottom" if name == "pentagon" else "center",
        )


def _histogram(ax: Axes, shown: Uniform) -> None:
    bins = np.arange(-0.005, 1.06, 0.01)
    for values, style, label in (
        (shown.dimensionality, {"color": BLUE}, "trained"),
        (shown.random_dimensionality, {"color": "black", "histtype": "step"}, "random"),
    ):
        ax.hist(values[shown.represented], bins, orientation="horizontal", label=label, **style)
    _guides(ax)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(xlabel="represented features, all densities", title="Histogram")
    ax.legend(loc="upper left")


def feature_graphs(results: Results, shown: Uniform) -> Figure:
    """The represented features of some densities' models, and the polytopes that they form."""
    cells = list(dict.fromkeys(shown.cell(density) for density in SHOWN))
    width = max(5 * len(cells), 14)
    figure = Figure(figsize=(width, 7.5), layout="constrained")
    graphs, key = np.atleast_1d(figure.subfigures(2, 1, height_ratios=[1, 0.06]))
    for ax, cell in zip(graphs.subplots(1, len(cells), squeeze=False)[0], cells, strict=True):
        feature_graph(ax, shown.W[cell], shown.components[cell], COLOURS)
        density = shown.density[cell]
        ax.set_title(
            f"1 / (1 − S) = {1 / density:.3g}   (density {density:.3g})\n"
            f"{shown.represented[cell].sum()} of {shown.case.n_features} features represented"
        )
        ax.set_xlabel("\n".join(f"{count} x {name}" for name, count in shown.factors(cell).items()), fontsize=11)
    handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=name) for name, colour in COLOURS.items()]
    handles.append(Line2D([], [], marker="o", linestyle="", color=GREY, label="no named polytope"))
    key.legend(handles=handles, loc="center", ncols=len(handles), frameon=False)
    frame(
        figure, results,
        f"Features of norm ≥ {shown.case.phases.represented:g}; lines as wide and dark as |W_i·W_j|. Features whose "
        f"unit vectors overlap by {EDGE:g} or more are connected, every connected component is a factor of the tegum "
        f"product, named if its overlaps are within {TOLERANCE:g} of a polytope's."
        f"{partly(len(cells), len(shown.density), 'densities')}",
        10 * width,
    )  # fmt: skip
    return figure
