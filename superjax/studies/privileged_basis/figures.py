"""The figures of a privileged basis: weights and neurons at every density, and the kinds of solution."""

from collections import Counter

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREEN, OKABE_ITO, VERMILION
from superjax.spec import Case
from superjax.studies.captions import frame, partly, spread, training_in_words
from superjax.studies.privileged_basis.view import (
    PAPER,
    Boundary,
    Minimum,
    best_trained,
    boundaries,
    is_paper,
    kinds,
    minima,
)
from superjax.studies.results import Results, known, only

COLUMNS, MAX_DENSITIES = 5, 10
_LIMIT = 1.2  # of a weight, in colours
_REST = "0.85"


def figures(results: Results) -> dict[str, Figure]:
    results, found = known(results), {}
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        if case.model.kind != "relu_hidden":
            found[f"{name}_neurons"] = neurons(results, name, best_trained(case, data))
            continue
        by_density = minima(case, data)
        if not all(by_density):
            continue
        found[f"{name}_neurons"] = neurons(results, name, [(one[0].W, one[0].b, one[0].serves) for one in by_density])
        found[f"{name}_solutions"] = solutions(results, name, by_density, boundaries(case, data, by_density))
    return found


def neurons(results: Results, name: str, models: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """W and its neurons as stacked bars, at some densities."""
    case, density = results.sweep.cases[name], results.datasets[name]["density"].values
    order = np.argsort(-density)
    shown = [int(order[k]) for k in spread(len(order), MAX_DENSITIES)]
    columns = min(COLUMNS, len(shown))
    blocks = -(-len(shown) // columns)
    figure = Figure(figsize=(2.05 * max(columns, 3) + 1.3, 4.7 * blocks + 2.3), layout="constrained")
    head, body = np.ravel(figure.subfigures(2, 1, height_ratios=[0.3, 4.7 * blocks]))
    grid = body.subplots(2 * blocks, columns, squeeze=False, height_ratios=[1, 1.1] * blocks)
    scale = plots.importance_scale(np.array(case.importance_vector()))
    colours, image = scale.to_rgba(case.importance_vector()), None
    drawn = np.stack([models[k][0] for k in shown])
    top = max(np.abs(models[k][0]).sum(1).max() for k in shown)
    low, high = (max(np.maximum(sign * models[k][0], 0).sum(1).max() for k in shown) for sign in (-1, 1))
    for place, k in enumerate(shown):
        W, _, serves = models[k]
        order_of = _order(W, serves)
        W, serves = W[order_of], serves[order_of]
        block, column = divmod(place, columns)
        above, below = grid[2 * block, column], grid[2 * block + 1, column]
        image = plots.neuron_weights(above, W, _LIMIT)
        above.set_title(f"density {density[k]:.3g}\n{_lines(analysis.regime(serves))}", fontsize=10)
        plots.neuron_bars(below, W, colours, plots.neuron_kinds(serves))
        below.set(ylim=(-1.05 * low - 0.06 * top, 1.05 * high))
        below.set_xticks(range(len(W)), [str(count) for count in serves.sum(1)])
        below.set_xlabel("features served", fontsize=9)
        above.set_ylabel("feature" if column == 0 else "")
        below.set_ylabel("weights, stacked" if column == 0 else "")
        if column:
            below.set_yticklabels([])
    for ax in grid.ravel()[[not ax.has_data() for ax in grid.ravel()]]:
        ax.axis("off")
    if image is not None:
        bar = body.colorbar(image, ax=list(grid.ravel()), label="weight", shrink=0.4, aspect=15,
                            extend=plots.beyond(drawn, _LIMIT))  # fmt: skip
        bar.set_ticks([-1, 0, 1], labels=["−1", "0", "1"])
    body.colorbar(scale, ax=list(grid.ravel()), label="importance of a feature", shrink=0.4, aspect=15)
    head.legend(handles=plots.neuron_handles(), loc="center", ncols=3, frameon=False)
    title = "" if case.model.kind == "relu_hidden" else "Linear neurons: no basis is privileged"
    caption = _caption(case, len(shown), len(density), plots.ends_in_words(drawn, _LIMIT))
    frame(figure, only(results, name, title=title), caption, 150, 13)
    return figure


def _lines(regime: str) -> str:
    return regime.replace(" + ", "\n+ ")


def _short(regime: str) -> str:
    """Without the word for the dedicated ones, beside which there are others."""
    return _lines(regime.replace(" dedicated +", " +"))


def _order(W: np.ndarray, serves: np.ndarray) -> np.ndarray:
    """Neurons by the most important feature that they serve, monosemantic ones first: their order is arbitrary."""
    first = np.where(serves.any(1), serves.argmax(1), W.shape[1])
    return np.lexsort((first, serves.sum(1) != 1))


def _caption(case: Case, shown: int, of: int, ends: str) -> str:
    ratio = case.importance_vector()[-1] ** (1 / max(case.n_features - 1, 1))
    if case.model.kind == "relu_hidden":
        layer, drawn = "ReLU hidden layer, x' = ReLU(Wᵀ ReLU(Wx) + b)", "the minimum in float64 of the best kind found"
        serves = "fires for features with positive weights, and serves one if the square of its positive weight"
    else:
        layer = "Linear hidden layer, x' = ReLU(WᵀWx + b)"
        drawn = "the restart of lowest loss, which stays the same when the hidden space is turned"
        serves = "serves a feature if the square of its weight"
    return (
        f"{layer}, n = {case.n_features}, m = {case.n_hidden}, importance {ratio:.3g}ⁱ; of {case.restarts} restarts "
        f"{drawn}. Above: W, a column for each neuron, a row for each feature, the most important on top.{ends} "
        f"Below: its weights as a bar, stacked by feature, the most important next to 0. A neuron {serves} is at least "
        f"{analysis.SHARE:g} of that feature's largest; the feature is represented if these squares sum to "
        f"{analysis.REPRESENTED:g} or more. Titles: how many features have a neuron for themselves alone (dedicated), "
        f"and how many share how many neurons. {training_in_words(case).capitalize()}.{partly(shown, of, 'densities')}"
    )


def solutions(results: Results, name: str, found: list[list[Minimum]], changes: list[Boundary]) -> Figure:
    """Against density: how many neurons are mono- and polysemantic, the losses of the two best kinds, and how many
    restarts end in each kind."""
    case, data = results.sweep.cases[name], results.datasets[name]
    density, every = data["density"].values, kinds(case, data)
    order = np.argsort(-density)
    density, every, found = density[order], every[order], [found[k] for k in order]
    figure = Figure(figsize=(10.5, 11), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, height_ratios=[1, 1, 1.25], sharex=True)
    places = np.arange(len(density))
    _draw_counts(top, places, [one[0] for one in found])
    _draw_losses(middle, places, found)
    _draw_restarts(bottom, places, found, every)
    if is_paper(case):
        _draw_paper(top, density)
    for change in changes:
        if np.isfinite(change.density):
            at = np.interp(-np.log(change.density), -np.log(density), places)
            for ax in (top, middle):
                ax.axvline(at, color="black", linewidth=0.8, linestyle=":")
            middle.text(at, 1.01, f"{change.density:.2g}", ha="center", va="bottom", fontsize=9,
                        transform=middle.get_xaxis_transform())  # fmt: skip
    bottom.set_xticks(places, [f"{s:.3g}" for s in density])
    bottom.set(xlabel="density 1 − S", xlim=(-0.6, len(density) - 0.4))
    frame(
        figure, only(results, name),
        f"ReLU hidden layer, n = {case.n_features}, m = {case.n_hidden}; {case.restarts} restarts at each density. "
        "Above: of the best solution. Middle: minima of the two best kinds, of each kind that of its best restart, "
        "finished in float64; bars are standard "
        "errors of the difference; there is none where all kinds that were finished end in the best one. 2 + 3 in 3: "
        "two features with a neuron each, three that share three neurons. Dotted, with its density: the losses of the "
        "best kinds on both sides, each followed in float64, cross. Below: the kinds in which restarts end as they "
        f"were trained. {training_in_words(case).capitalize()}.", 150, 13,
    )  # fmt: skip
    return figure


def _draw_counts(ax: Axes, places: np.ndarray, best: list[Minimum]) -> None:
    rows = (
        ("features represented", "k", "D-", [one.serves.any(0).sum() for one in best]),
        ("monosemantic neurons", BLUE, "o-", [one.monosemantic for one in best]),
        ("polysemantic neurons", VERMILION, "s-", [one.polysemantic for one in best]),
        ("neurons a feature (mean)", GREEN, "^--", [_mean(one.serves.sum(0)) for one in best]),
        ("features a neuron (mean)", "#cc79a7", "v--", [_mean(one.serves.sum(1)) for one in best]),
    )  # fmt: skip
    for label, colour, style, values in rows:
        ax.plot(places, values, style, color=colour, label=label, markersize=5)
    ax.set(ylabel="number", ylim=(-0.4, None))
    ax.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=9)


def _mean(counts: np.ndarray) -> float:
    return float(counts[counts > 0].mean()) if (counts > 0).any() else 0.0


def _draw_paper(ax: Axes, density: np.ndarray) -> None:
    """The paper's regimes above the densities that they are stated for."""
    for low, high, regime in PAPER:
        here = np.flatnonzero((density * 1.0001 >= low) & (density <= high * 1.0001))
        if len(here):
            ax.plot([here[0] - 0.35, here[-1] + 0.35], [1.03, 1.03], color="0.4", linewidth=2,
                    transform=ax.get_xaxis_transform(), clip_on=False)  # fmt: skip
            ax.text(here.mean(), 1.05, _short(regime), ha="center", va="bottom", fontsize=8.5,
                    transform=ax.get_xaxis_transform())  # fmt: skip
    ax.text(1.01, 1.05, "regimes of\nthe paper", va="bottom", fontsize=9, transform=ax.transAxes)


def _draw_losses(ax: Axes, places: np.ndarray, found: list[list[Minimum]]) -> None:
    """How far the second kind is above the best, in percent."""
    with_rival = [(place, *one) for place, one in zip(places, found, strict=True) if len(one) > 1]
    for place, best, other in with_rival:
        excess, error = 100 * (other.loss / best.loss - 1), 100 * other.error / best.loss
        ax.bar(place, excess, color=_REST, width=0.8, zorder=1)
        ax.errorbar(place, excess, error, color="black", capsize=4, linewidth=1, zorder=2)
        ax.annotate(_short(other.kind), (place, excess + error), (0, 4), textcoords="offset points",
                    ha="center", va="bottom", fontsize=8.5)  # fmt: skip
    highest = max((100 * (other.loss / best.loss - 1) for _, best, other in with_rival), default=1.0)
    ax.set(ylabel="loss of the second best\nkind above the best, %", ylim=(0, 1.3 * max(highest, 1e-6)))


def _draw_restarts(ax: Axes, places: np.ndarray, found: list[list[Minimum]], every: np.ndarray) -> None:
    """How many restarts end in each kind, those of the best minima from below, in colours; the rest grey."""
    names = list(dict.fromkeys(one.kind for here in found for one in here[:1]))
    colours = dict(zip(names, np.resize(OKABE_ITO, len(names)), strict=True))
    for place, here, named in zip(places, found, every, strict=True):
        counts = Counter(named.tolist())
        best = here[0].kind
        shown = [best, *[kind for kind, _ in counts.most_common() if kind != best and kind in colours]]
        others = [kind for kind, _ in counts.most_common() if kind not in shown]
        start = 0
        for kind in [*shown, *others]:
            share = counts[kind] / named.size
            ax.bar(place, share, bottom=start, width=0.8, color=colours.get(kind, _REST), edgecolor="white",
                   linewidth=1.8 if kind == best else 0.6)  # fmt: skip
            if share > 0.08 and kind not in colours:
                ax.text(place, start + share / 2, _short(kind), ha="center", va="center", fontsize=8)
            if kind == best:
                ax.text(place, start + share + 0.01 if share < 0.05 else start + share / 2, f"{counts[kind]}",
                        ha="center", va="bottom" if share < 0.05 else "center", fontsize=8.5, fontweight="bold",
                        color="black" if share < 0.05 else "white")  # fmt: skip
            start += share
    handles = [Patch(color=colour, label=kind) for kind, colour in colours.items()]
    ax.legend(handles=[*handles, Patch(color=_REST, label="other kinds")], loc="center left",
              bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=9, title="best somewhere")  # fmt: skip
    ax.set(ylabel="fraction of restarts\n(bold: number in the best kind)", ylim=(0, 1))
