"""The figures of correlated features: pairs in the plane, their collapse, and bases of larger sets."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superjax import analysis, plots
from superjax.plots.maps import BLUE, OKABE_ITO, VERMILION
from superjax.spec import Case
from superjax.studies.captions import frame, nearest, partly, spread, training_in_words
from superjax.studies.correlated_features.view import (
    COLLAPSED,
    JUMP,
    PAPER_RANGES,
    collapsed,
    collapses,
    converged,
    in_plane,
    in_words,
    is_judged,
    losses_by_number,
    lowest_loss,
    partner_cosines,
    principal_loss,
    root_mean_square,
    set_cosines,
    share_of,
    solution,
    with_gaps,
)
from superjax.studies.results import Results, known
from superjax.studies.solutions import Switch, best_names

MAX_CASES = 8  # of a figure
MAX_ROWS = 8  # correlations
SHOWN = (0.9, 0.6, 0.4, 0.2, 0.1, 0.02)  # densities of the pairs in the plane
SET_COLOURS = OKABE_ITO[:6]
NUMBER_SHADES = ("white", "#e4ecf3", "#c3d4e3", "#9cb9d1", "#7a9fbf")  # by how many pairs are collapsed
NUMBER_COLOURS = ("#000000", "#009e73", "#e69f00", "#cc79a7", "#56b4e9")
TICKS = (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    cases = results.sweep.cases
    plane = [name for name in results.datasets if in_plane(cases[name])]
    correlated = [name for name in plane if cases[name].data.correlation > 0]
    found = {"pairs": pairs(results, plane)} if plane else {}
    found |= {"collapse": collapse(results, correlated)} if correlated else {}
    hexagons = [name for name in plane if cases[name].n_features == 6 and cases[name].data.correlation >= 0]
    found |= {"hexagons": shares(results, hexagons)} if any(cases[n].data.correlation == 0 for n in hexagons) else {}
    return found | {name: bases(results, name) for name in results.datasets if name not in plane}


def pairs(results: Results, names: Sequence[str]) -> Figure:
    """A row per case: the columns of W of the best solution at some densities, each pair in a colour."""
    every, names = names, names[:MAX_CASES]
    cells = {name: _nearest(results.datasets[name]["density"].values, SHOWN) for name in names}
    columns = max(max(map(len, cells.values())), 4)
    figure = Figure(figsize=(1.9 * columns, 2.7 * len(names) + 1.6), layout="constrained")
    for name, part in zip(names, np.atleast_1d(figure.subfigures(len(names), 1)), strict=True):
        case, data = results.sweep.cases[name], results.datasets[name]
        W, density, n_pairs = solution(data, "W"), data["density"].values, case.n_features // 2
        minimum = converged(case, data)
        part.suptitle(f"{in_words(case)}: n = {case.n_features}, m = {case.n_hidden}", fontsize=12)
        for ax, cell in zip(
            part.subplots(1, columns, squeeze=False)[0], [*cells[name], *[None] * columns], strict=False
        ):
            if cell is None or not minimum[cell]:
                ax.axis("off")
                continue
            position, colours = analysis.canonical(W[cell]), np.resize(SET_COLOURS, n_pairs)
            if case.data.correlation == 0:
                plots.vectors(ax, position, "0.35")
            else:
                plots.vectors(ax, position[:, 1::2], colours, alpha=0.4, dots=12.0)
                plots.vectors(ax, position[:, ::2], colours)
            title = f"density {density[cell]:.3g}"
            if case.data.correlation > 0:
                title += f"\n{collapsed(W[cell])} of {n_pairs} collapsed"
            ax.set_title(title, fontsize=10)
            ax.label_outer()
    frame(
        figure, results,
        "Columns of W of the best solution (its features as vectors, turned to a canonical position). A colour is a "
        "pair; its first member is drawn thin and dark, the second thick and pale, so that a collapsed pair is a dark "
        f"line within a pale one; independent features are grey. {_judged(results, names)}{_training(results, names)}"
        f"{partly(columns, max(len(results.datasets[name]['density']) for name in names), 'densities at most')}"
        f"{partly(len(names), len(every), 'cases')}",
        36 * columns,
    )  # fmt: skip
    return figure


def _nearest(values: np.ndarray, wanted: Sequence[float]) -> list[int]:
    """The cells nearest to the wanted values within the range that the sweep covers, each once, from large to small."""
    inside = [value for value in wanted if values.min() / 1.1 <= value <= values.max() * 1.1] or list(values[:1])
    return nearest(values, inside)


def _judged(results: Results, names: Sequence[str]) -> str:
    """A sentence that only minima are drawn, if they are told from other models."""
    told = all(is_judged(results.sweep.cases[name]) for name in names)
    return "Drawn are converged minima only. " if told else ""


def _training(results: Results, names: Sequence[str]) -> str:
    """Restarts and training of the cases, those that were trained alike together."""
    alike: dict[str, dict[str, None]] = {}
    for case in (results.sweep.cases[name] for name in names):
        how = f"{case.restarts} restarts a density{', with transplants between densities' if case.optimum else ''}"
        alike.setdefault(training_in_words(case), {})[how] = None
    texts = (f"{', or '.join(how)}; each model: {words}." for words, how in alike.items())
    return f"Best of {' '.join(texts)}"


def collapse(results: Results, names: Sequence[str]) -> Figure:
    """A column per case, against density: cosine of partners, lengths of W(a ± b)/√2, losses by number collapsed."""
    every, names = names, names[:MAX_CASES]
    figure = Figure(figsize=(max(5.8 * len(names), 7), 11.5), layout="constrained")
    columns = figure.subplots(3, len(names), squeeze=False, sharex="col").T
    for name, axes in zip(names, columns, strict=True):
        case, data = results.sweep.cases[name], results.datasets[name]
        axes[0].set_title(f"{in_words(case)}, n = {case.n_features}, m = {case.n_hidden}\n", fontsize=12)
        passed = collapses(case, data)
        for ax in axes:
            _shade(ax, data, passed, named=ax is axes[0])
        _draw_partners(axes[0], axes[1], case, data)
        _draw_losses(axes[2], case, data)
        if (case.n_features, case.data.correlation) == (6, 1):
            _draw_paper(axes[0], data)
        density = data["density"].values
        axes[2].set(xlabel="density 1 − S", xscale="log", xlim=(density.max() * 1.05, density.min() / 1.05))
        axes[2].set_xticks([tick for tick in TICKS if density.min() <= tick <= density.max()])
        axes[2].xaxis.set_major_formatter("{x:g}")
        axes[2].minorticks_off()
    frame(
        figure, results,
        "Shaded: number of pairs that have collapsed to one direction in the best solution, cosine of partners at "
        f"least {COLLAPSED:g}; its edges, where the losses of both solutions cross, are labelled with the density. In "
        "the two upper rows pairs are ordered at each density, the most collapsed first. Below: the lowest loss of a "
        f"model with so many collapsed pairs, not joined where it jumps by more than {JUMP:g}. PCA: the best linear "
        f"model. {_judged(results, names)}{_training(results, names)}{partly(len(names), len(every), 'cases')}",
        116 * len(names),
    )  # fmt: skip
    return figure


def _shade(ax: Axes, data: xr.Dataset, passed: Sequence[Switch], named: bool) -> None:
    """Regions by number of collapsed pairs, which the densities at which it changes divide; both in numbers if
    `named`."""
    density = data["density"].values
    number = collapsed(solution(data, "W"))[np.argsort(-density)]
    edges = [density.max() * 1.05, *(switch.density for switch in passed), density.min() / 1.05]
    numbers = [number[0], *(switch.sparse for switch in passed)]
    for left, right, count in zip(edges[:-1], edges[1:], numbers, strict=True):
        ax.axvspan(left, right, color=NUMBER_SHADES[min(count, len(NUMBER_SHADES) - 1)], linewidth=0, zorder=-2)
        if named:
            ax.text(np.sqrt(left * right), 0.985, str(count), transform=ax.get_xaxis_transform(), ha="center",
                    va="top", fontsize=13, fontweight="bold", color="0.25")  # fmt: skip
    for switch in passed:
        ax.axvline(switch.density, color="0.3", linewidth=0.8, linestyle=":")
        if named:
            ax.text(switch.density, -0.22, f" {switch.density:.2g}", va="center", fontsize=10)


def _draw_paper(ax: Axes, data: xr.Dataset) -> None:
    """The ranges of densities that the paper states, as bars below the curves."""
    density = data["density"].values
    ax.set_ylim(-0.68, ax.get_ylim()[1])
    for number, (low, high) in PAPER_RANGES.items():
        ends = np.clip([low, high], density.min() / 1.05, density.max() * 1.05)
        if ends[0] == ends[1]:  # beyond the densities of the sweep
            continue
        ax.plot(ends, [-0.5, -0.5], color="0.25", linewidth=2, solid_capstyle="butt", marker="|", markersize=9)
        ax.text(np.sqrt(ends.prod()), -0.47, str(number), ha="center", va="bottom", fontsize=10)
    ax.text(density.min(), -0.66, "the paper's numbers of collapsed pairs", ha="right", va="bottom", fontsize=9.5)


def _draw_partners(top: Axes, middle: Axes, case: Case, data: xr.Dataset) -> None:
    """Cosines of partners, and lengths of the sum and the difference of partners as the model sees them."""
    density, W = data["density"].values, solution(data, "W")
    W = np.where(converged(case, data)[:, None, None], W, np.nan)
    cosines = partner_cosines(W)
    order = np.argsort(-cosines, axis=-1, kind="stable")
    sums, differences = (
        np.take_along_axis(analysis.norm(W[..., ::2] + sign * W[..., 1::2]) / np.sqrt(2), order, axis=-1)
        for sign in (1, -1)
    )
    styles = ("o-", "s--", "^:", "v-.")
    for k in range(cosines.shape[-1]):
        style, label = styles[k % len(styles)], f"pair {k + 1}"
        top.plot(density, np.take_along_axis(cosines, order, axis=-1)[:, k], style, color=BLUE, markersize=4,
                 label=label)  # fmt: skip
        middle.plot(density, sums[:, k], style, color=BLUE, markersize=4, label=f"(a + b)/√2, {label}")
        middle.plot(density, differences[:, k], style, color=VERMILION, markersize=4, label=f"(a − b)/√2, {label}")
    top.set(ylabel="cosine of partners", ylim=(-0.35, 1.25), yticks=[0, 0.5, 1])
    middle.set(ylabel="length of W(a ± b)/√2", ylim=(-0.12, 1.45), yticks=[0, 0.5, 1])
    _legend(top, cosines.shape[-1])
    _legend(middle, cosines.shape[-1])


def _legend(ax: Axes, columns: int) -> None:
    """A legend above a panel."""
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(columns, 3), fontsize=9.5, frameon=False,
              borderaxespad=0.2, columnspacing=1.2, handlelength=1.8)  # fmt: skip


def _draw_losses(ax: Axes, case: Case, data: xr.Dataset) -> None:
    """Lowest loss found with each number of collapsed pairs, and that of PCA, above the best solution's."""
    density, least = data["density"].values, lowest_loss(data)
    ax.plot(density, principal_loss(case, density) / least, color="0.5", linewidth=3, label="PCA")
    for number, loss in losses_by_number(case, data).items():
        colour = NUMBER_COLOURS[number % len(NUMBER_COLOURS)]
        ax.plot(*with_gaps(density, loss / least), "o-", color=colour, markersize=4, linewidth=1,
                label=f"{number} collapsed")  # fmt: skip
    ax.set(ylabel="loss / loss of the best solution", ylim=(0.97, 1.5))
    _legend(ax, 3)


def shares(results: Results, names: Sequence[str]) -> Figure:
    """How many of the single fits are hexagons, with and without correlation, by density."""
    names = names[:MAX_CASES]
    figure = Figure(figsize=(7.5, 5.4), layout="constrained")
    ax = figure.subplots()
    for k, name in enumerate(names):
        case, data = results.sweep.cases[name], results.datasets[name]
        density, share, fits = data["density"].values, share_of(data, "hexagon"), data.sizes["restart"]
        colour = SET_COLOURS[k % len(SET_COLOURS)]
        error = np.sqrt(share * (1 - share) / fits)
        ax.errorbar(density, share, error, fmt="-", color=colour, capsize=2, label=f"{in_words(case)} ({fits} fits)")
        best = best_names(data) == "hexagon"
        ax.plot(density[best], share[best], "o", color=colour, markersize=8)
        ax.plot(density[~best], share[~best], "o", color=colour, markersize=8, markerfacecolor="white")
    ax.plot([], [], "o", color="0.3", label="the best fit is a hexagon")
    ax.plot([], [], "o", color="0.3", markerfacecolor="white", label="it is not")
    ends = [results.datasets[name]["density"].values for name in names]
    ax.set(xscale="log", xlim=(max(map(np.max, ends)) * 1.1, min(map(np.min, ends)) / 1.1), ylim=(-0.04, 1.0),
           xlabel="density 1 − S", ylabel="share of single fits that are hexagons")  # fmt: skip
    ax.set_xticks([tick for tick in TICKS if min(map(np.min, ends)) <= tick <= max(map(np.max, ends))])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    _legend(ax, 2)
    frame(
        figure, results,
        "Six features in the plane. Bars: one standard error. A hexagon: deviation of no overlap more than "
        f"{analysis.TOLERANCE:g} from the regular one's. {_training(results, names)}",
        100, 12,
    )  # fmt: skip
    return figure


def bases(results: Results, name: str) -> Figure:
    """A row per correlation: WᵀW at every density, features ordered by set, and cosines within and across sets."""
    case, data = results.sweep.cases[name], results.datasets[name]
    shown = spread(data.sizes["correlation"], MAX_ROWS)
    correlations, data = data.sizes["correlation"], data.isel(correlation=shown)
    density, correlation = data["density"].values, data["correlation"].values
    W, size = solution(data, "W"), case.data.set_size
    columns = _nearest(density, np.geomspace(density.max(), density.min(), min(len(density), 5)).tolist())
    figure = Figure(figsize=(2.1 * len(columns) + 3.6, 2.75 * len(correlation) + 1.6), layout="constrained")
    rows = figure.subplots(len(correlation), len(columns) + 1, squeeze=False, width_ratios=[*[1] * len(columns), 1.35])
    b = solution(data, "b")
    image = None
    for k in reversed(range(len(correlation))):
        axes = rows[len(correlation) - 1 - k]
        for ax, cell in zip(axes, columns, strict=False):
            image = plots.gram(ax, W[cell, k], b[cell, k])
            for edge in range(size, case.n_features, size):
                ax.plot([-0.5, case.n_features - 0.5], [edge - 0.5] * 2, color="black", linewidth=0.7)
                ax.plot([edge - 0.5] * 2, [-0.5, case.n_features - 0.5], color="black", linewidth=0.7)
            ax.set_title(f"density {density[cell]:.3g}", fontsize=10)
        axes[0].set_ylabel(f"correlation ρ = {correlation[k]:g}")
        cosines = set_cosines(W[:, k], size, case.phases.represented)
        for values, colour, style, label in zip(
            cosines, (BLUE, VERMILION), ("o-", "s--"), ("within a set", "of different sets"),
            strict=True,
        ):  # fmt: skip
            axes[-1].plot(density, root_mean_square(values), style, color=colour, markersize=5, label=label)
        axes[-1].axhline(case.n_hidden**-0.5, color="black", linewidth=1, linestyle=":", label="1/√m: two bases")
        axes[-1].set(xscale="log", xlim=(density.max() * 1.1, density.min() / 1.1), ylim=(0, 0.55),
                     xlabel="density 1 − S", ylabel="r.m.s. cosine")  # fmt: skip
        axes[-1].set_xticks(density[columns], [f"{density[cell]:.3g}" for cell in columns])
        axes[-1].minorticks_off()
        if k == len(correlation) - 1:
            _legend(axes[-1], 2)
    if image is not None:
        figure.colorbar(image, ax=rows[:, :-1], location="bottom", shrink=0.5, aspect=40, label="WᵀW and b",
                        ticks=[-1, 0, 1])  # fmt: skip
    sets = case.n_features // size
    frame(
        figure, results,
        f"n = {case.n_features}, m = {case.n_hidden}: {sets} sets of {size} features, in order, black lines between "
        f"them. Off the diagonal, white is orthogonal. {_training(results, [name])}"
        f"{partly(len(columns), len(density), 'densities')}{partly(len(shown), correlations, 'correlations')}",
        46 * (len(columns) + 1),
    )  # fmt: skip
    return figure
