"""The figure of the asymmetric motif."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superjax.plots.maps import BLUE, GREY, VERMILION
from superjax.studies.absolute_value.view import ASYMMETRY, INHIBITED, PAPER, Motif, in_words, response
from superjax.studies.captions import frame
from superjax.studies.results import Results, only

_NAMES = ("in, a", "in, b", "out, a", "out, b")
_LEAST = 0.1  # of the largest weight: smaller ones are not drawn


def motif(results: Results, name: str, found: Mapping[str, list[Motif]]) -> Figure:
    """The best example: its neuron and the one that inhibits, what they do to the outputs of both features, and the
    weights of all motifs beside the paper's."""
    best, data = found[name][0], results.datasets[name]
    one = data.sel(density=best.density).isel(restart=best.restart)
    W1, W2 = one["W1"].transpose("hidden", "feature").values, one["W2"].transpose("feature", "hidden").values
    figure = Figure(figsize=(11, 9.2), layout="constrained")
    (network, active_a), (spread, active_b) = figure.subplots(2, 2)
    _draw_network(network, best, W1, W2)
    for ax, feature, label in ((active_a, best.one, "a"), (active_b, best.other, "b")):
        x = np.linspace(-1, 1, 201)
        y = response(W1, W2, one["b"].values, feature, x)
        ax.plot(x, np.abs(x), color=GREY, linewidth=4, label="|x|")
        ax.plot(x, y[:, best.one], color=BLUE, label="output a")
        ax.plot(x, y[:, best.other], color=VERMILION, label="output b")
        side = x * np.sign(W1[best.neuron, feature])
        alone = W2[best.other if label == "a" else best.one, best.neuron] * np.maximum(
            W1[best.neuron, feature] * x, 0
        )  # fmt: skip
        inside = (side >= 0) & (alone <= 1.3)
        ax.plot(x[inside], alone[inside], color="black", linestyle=":",
                label=f"output {'b' if label == 'a' else 'a'}, if the neuron were alone")  # fmt: skip
        ax.set(xlabel=f"feature {label}, active alone", ylabel="outputs", ylim=(-0.05, 1.35))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=9)
    _draw_spread(spread, best, found)
    case = results.sweep.cases[name]
    counted = "; ".join(f"{in_words(motifs)}, of {_shape(results, other)}" for other, motifs in found.items())
    frame(
        figure, only(results, *found),
        f"The motif nearest to the paper's: n = {case.n_features}, m = {case.n_hidden}, density {best.density:g}, "
        f"restart {best.restart}. A motif is a neuron that serves two features of opposite signs, whose input weights "
        f"differ by a factor of {ASYMMETRY:g} or more, and whose output weights do the other way round, while others "
        f"take away {INHIBITED:.0%} or more of what a would do to output b. Weights of a neuron are scaled so that the "
        "largest input weight is the largest output weight, which changes nothing it does, in the motif those of the "
        f"two features; weights below a tenth of the largest are left out. Found: {counted}.",
        155, 13,
    )  # fmt: skip
    return figure


def _shape(results: Results, name: str) -> str:
    case = results.sweep.cases[name]
    models = results.datasets[name]["loss"].size
    return f"{models} models of n = {case.n_features}, m = {case.n_hidden}"


def _draw_network(ax: Axes, best: Motif, W1: np.ndarray, W2: np.ndarray) -> None:
    """The motif's neuron and the one that inhibits it most, with their weights to and from the two features."""
    ax.set(xlim=(-0.35, 2.35), ylim=(-0.45, 1.45), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    rows = {best.one: 1.0, best.other: 0.0}
    for place, k, title in ((1.0, best.neuron, "motif"), (0.0, best.inhibitor, "inhibits")):
        pair = [best.one, best.other]
        if k == best.neuron:
            scale = np.sqrt(abs(W1[k, best.one]) / W2[best.other, k])
        else:
            scale = np.sqrt(np.abs(W1[k, pair]).max() / np.abs(W2[pair, k]).max())
        into, back = W1[k] / scale, W2[:, k] * scale
        largest = max(np.abs(into[pair]).max(), np.abs(back[pair]).max())
        for feature, row in rows.items():
            for start, end, weight, near in (((0, row), (1, place), into[feature], 0.28),
                                             ((1, place), (2, row), back[feature], 0.72)):  # fmt: skip
                if abs(weight) < _LEAST * largest:
                    continue
                colour = VERMILION if weight > 0 else BLUE
                ax.plot(*zip(start, end, strict=True), color=colour, linewidth=0.8 + 2.2 * abs(weight) / largest,
                        zorder=1)  # fmt: skip
                at = np.array(start) + near * (np.array(end) - start)
                ax.text(*at, f"{weight:.2f}".replace("-", "−"), ha="center", va="center", fontsize=10, zorder=2,
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
        ax.plot([1], [place], "o", color="white", markeredgecolor="black", markersize=24, zorder=3)
        ax.text(1, place + (0.22 if place else -0.22), f"neuron: {title}", ha="center", va="center", fontsize=10)
    for feature, row in rows.items():
        word = "a" if feature == best.one else "b"
        ax.text(-0.08, row, f"x$_{word}$", ha="right", va="center", fontsize=13)
        ax.text(2.08, row, f"y$_{word}$", ha="left", va="center", fontsize=13)
    ax.set_title("the best example (orange: excites, blue: inhibits)", fontsize=11)


def _draw_spread(ax: Axes, best: Motif, found: Mapping[str, list[Motif]]) -> None:
    """The four weights of every motif, beside the paper's."""
    every = np.array([motif.weights for motifs in found.values() for motif in motifs])
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, every.shape)
    ax.plot(np.arange(4) + jitter, every, "o", color="0.6", markersize=3, alpha=0.6)
    ax.plot([], [], "o", color="0.6", markersize=3, label=f"all {len(every)} motifs")
    for k, value in enumerate(PAPER):
        ax.plot(
            [k - 0.35, k + 0.35], [value, value], color="black", linewidth=2, label="the paper's" if k == 0 else "_"
        )
    ax.plot(range(4), best.weights, "D", color=VERMILION, markersize=7, label="best example")
    ax.axhline(0, color=GREY, linewidth=1, zorder=0)
    ax.set(xticks=range(4), xticklabels=_NAMES, ylabel="weight of the motif's neuron",
           ylim=(min(-1.6, every.min() - 0.2), min(4.5, every.max() + 0.3)))  # fmt: skip
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False, fontsize=9)
