"""The figures of the absolute value: neurons at every density, how many are polysemantic, and the asymmetric motif."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREEN, VERMILION
from superjax.studies.absolute_value.motif import motif
from superjax.studies.absolute_value.view import (
    SHARES,
    at_best,
    by_hand,
    error,
    is_sanity,
    motifs,
    polysemantic,
    serves,
    weights,
)
from superjax.studies.axes import readable_logs
from superjax.studies.captions import frame, partly, spread, training_in_words
from superjax.studies.results import Results, known, only

MAX_ROWS, MAX_COLUMNS = 8, 5
_LIMIT = 1.5  # of a weight, in colours
RULE = (
    "A neuron serves a feature if |input weight| × output weight is at least {share:g} of the largest of that feature, "
    "whose gains sum to {represented:g} or more; it is monosemantic if it serves one, polysemantic if several."
)


def figures(results: Results) -> dict[str, Figure]:
    results, found, of_cases = known(results), {}, {}
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        if is_sanity(case):
            found[f"{name}_neurons"] = two_a_feature(results, name)
            continue
        of_cases[name] = motifs(data)
        if case.n_features > 2 * case.n_hidden:
            found |= {f"{name}_neurons": neurons(results, name), f"{name}_counts": counts(results, name)}
    best = min((name for name in of_cases if of_cases[name]), key=lambda name: of_cases[name][0].deviation, default="")
    if best:
        found["motif"] = motif(results, best, of_cases)
    return found or {f"{name}_counts": counts(results, name) for name in results.datasets}


def _by_number(n_features: int) -> ScalarMappable:
    """Colours of features by their number, the first the most important."""
    return plots.importance_scale(-np.arange(n_features, dtype=float))


def _key(figure: SubFigure, axes, n_features: int) -> None:
    bar = figure.colorbar(_by_number(n_features), ax=axes, shrink=0.5, aspect=25, label="feature, by importance")
    ticks = sorted({0, n_features // 2, n_features - 1})
    bar.set_ticks([-float(k) for k in ticks], labels=[f"{k + 1}" for k in ticks])


def _with_legend(figure: Figure, inches: float) -> SubFigure:
    """The part of a figure below the legend of its neurons."""
    head, body = np.ravel(figure.subfigures(2, 1, height_ratios=[0.3, inches]))
    head.legend(handles=plots.neuron_handles(), loc="center", ncols=3, frameon=False)
    return body


def _rule() -> str:
    return RULE.format(share=analysis.SHARE, represented=analysis.REPRESENTED)


def _sorted(W1: np.ndarray, served: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neurons by the most important feature that they serve: their order is arbitrary."""
    order = np.argsort(np.where(served.any(1), served.argmax(1), W1.shape[1]), kind="stable")
    return W1[order], served[order]


def neurons(results: Results, name: str) -> Figure:
    """A row for each density: the neurons of the best restart as stacked bars of |W1|, each scaled to its largest."""
    case, data = results.sweep.cases[name], results.datasets[name]
    density = data["density"].values
    W1, served = at_best(data, np.abs(weights(data)[0])), at_best(data, serves(data))
    lost, order = at_best(data, error(case, data)), np.argsort(-density)
    heights = W1 / np.maximum(W1.max(-1, keepdims=True), 1e-300)
    idle = [f"{(heights[k] * ~served[k]).sum() / max(heights[k].sum(), 1e-300):.0%}" for k in order]
    shown = [int(order[k]) for k in spread(len(order), MAX_ROWS)]
    figure = Figure(figsize=(11, 1.55 * len(shown) + 2.7), layout="constrained")
    body = _with_legend(figure, 1.55 * len(shown))
    axes = body.subplots(len(shown), 1, squeeze=False)[:, 0]
    colours = _by_number(case.n_features).to_rgba(-np.arange(case.n_features, dtype=float))
    for k, ax in zip(shown, axes, strict=True):
        W, own = _sorted(W1[k], served[k])
        plots.neuron_bars(ax, W, colours, plots.neuron_kinds(own), scaled=True)
        number = own.sum(1)
        ax.set_ylabel(f"density\n{density[k]:.3g}", rotation=0, ha="right", va="center", fontsize=11, labelpad=14)
        beside = (f"{(number == 1).sum()} monosemantic", f"{(number > 1).sum()} polysemantic",
                  f"{own.any(0).sum()} features", f"error {lost[k]:.2g}")  # fmt: skip
        ax.text(1.01, 0.5, "\n".join(beside), transform=ax.transAxes, va="center", fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("neurons", fontsize=11)
    _key(body, list(axes), case.n_features)
    frame(
        figure, only(results, name),
        f"n = {case.n_features}, m = {case.n_hidden}, importance {_ratio(case)}ⁱ: the restart of lowest loss of "
        f"{case.restarts} at each density. A bar is a neuron: its input weights |W₁|, stacked by feature, the most "
        "important at the bottom, and scaled so that the largest is 1. "
        f"{_rule()} The part of all bars that is of features which the neuron does not serve: {', '.join(idle)} from "
        "dense to sparse. Error: loss divided by the variance of |x|; two neurons each for the "
        f"{case.n_hidden // 2} most important features would have {by_hand(case):.2g}. "
        f"{training_in_words(case).capitalize()}.{partly(len(shown), len(density), 'densities')}",
        155, 13,
    )  # fmt: skip
    return figure


def _ratio(case) -> str:
    importance = case.importance_vector()
    return f"{(importance[-1] / importance[0]) ** (1 / max(len(importance) - 1, 1)):.3g}"


def counts(results: Results, name: str) -> Figure:
    """Against density: the fraction of polysemantic neurons, for shares around that of the rule, and how many features
    are served."""
    case, data = results.sweep.cases[name], results.datasets[name]
    density = data["density"].values
    figure = Figure(figsize=(10.5, 4.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for factor, style, colour in zip(SHARES, ("--", "o-", ":"), ("0.6", VERMILION, "0.3"), strict=True):
        own = serves(data, factor)
        left.plot(density, at_best(data, polysemantic(own)), style, color=colour,
                  label=f"best restart, share {factor * analysis.SHARE:.3g}")  # fmt: skip
    every = polysemantic(serves(data))
    for k in range(every.shape[1]):
        left.plot(density, every[:, k], "x", color=VERMILION, alpha=0.6, markersize=5,
                  label="all restarts, share of the rule" if k == 0 else "_")  # fmt: skip
    left.set(xscale="log", ylim=(-0.03, 1.03), ylabel="polysemantic neurons (fraction)")
    own = at_best(data, serves(data))
    number = own.sum(-1)
    used = np.maximum((number > 0).sum(-1), 1)
    right.plot(density, own.any(-2).sum(-1), "D-", color="black", label="features that are served")
    right.plot(density, number.sum(-1) / used, "v-", color="#cc79a7", label="features a neuron (mean)")
    right.plot(density, number.sum(-1) / np.maximum(own.any(-2).sum(-1), 1), "^-", color=GREEN,
               label="neurons a feature (mean)")  # fmt: skip
    right.axhline(case.n_hidden / 2, color=BLUE, linewidth=1, linestyle=":", label="m / 2: two neurons a feature")
    right.set(xscale="log", yscale="log", ylabel="number")
    for ax in (left, right):
        ax.set(xlabel="density 1 − S", xlim=(density.max() * 1.2, density.min() / 1.2))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=9)
    readable_logs(figure)
    frame(
        figure, only(results, name),
        f"n = {case.n_features}, m = {case.n_hidden}, {case.restarts} restarts. {_rule()} "
        f"{training_in_words(case).capitalize()}.",
        150, 13,
    )  # fmt: skip
    return figure


def two_a_feature(results: Results, name: str) -> Figure:
    """Both weights and the neurons of the best restart at some densities, where every feature may have two neurons."""
    case, data = results.sweep.cases[name], results.datasets[name]
    density, lost = data["density"].values, at_best(data, error(case, data))
    W1, W2 = (at_best(data, array) for array in weights(data))
    served, order = at_best(data, serves(data)), np.argsort(-density)
    shown = [int(order[k]) for k in spread(len(order), MAX_COLUMNS)]
    drawn = np.stack([W1[shown], np.swapaxes(W2[shown], 1, 2)])
    figure = Figure(figsize=(2.0 * max(len(shown), 3) + 1.4, 7.0), layout="constrained")
    body = _with_legend(figure, 6.0)
    grid = body.subplots(3, len(shown), squeeze=False)
    colours, image = _by_number(case.n_features).to_rgba(-np.arange(case.n_features, dtype=float)), None
    for column, k in enumerate(shown):
        first = np.where(served[k].any(1), served[k].argmax(1), case.n_features)
        order_of = np.lexsort((-np.take_along_axis(W1[k], np.minimum(first, case.n_features - 1)[:, None], 1)[:, 0],
                               first))  # fmt: skip
        above, middle, below = grid[:, column]
        image = plots.neuron_weights(above, W1[k][order_of], _LIMIT)
        plots.neuron_weights(middle, W2[k].T[order_of], _LIMIT)
        plots.neuron_bars(below, np.abs(W1[k][order_of]), colours, plots.neuron_kinds(served[k][order_of]), scaled=True)
        above.set_title(f"density {density[k]:.3g}\nerror {lost[k]:.1g}", fontsize=10)
        below.set_xlabel("neurons")
        if column == 0:
            above.set_ylabel("W₁: feature")
            middle.set_ylabel("W₂: output")
            below.set_ylabel("|W₁|, stacked")
    if image is not None:
        bar = body.colorbar(image, ax=list(grid[:2].ravel()), label="weight", shrink=0.6,
                            extend=plots.beyond(drawn, _LIMIT))  # fmt: skip
        bar.set_ticks([-1, 0, 1], labels=["−1", "0", "1"])
    _key(body, list(grid[2]), case.n_features)
    frame(
        figure, only(results, name),
        f"n = {case.n_features}, m = {case.n_hidden}: the restart of lowest loss of {case.restarts}. A column is a "
        f"neuron.{plots.ends_in_words(drawn, _LIMIT)} Error: loss divided by the variance of |x|. Bars are input "
        "weights, those of features that a neuron does not serve too, scaled to the largest of each neuron. "
        f"{_rule()} {training_in_words(case).capitalize()}.{partly(len(shown), len(density), 'densities')}",
        150, 13,
    )  # fmt: skip
    return figure
