"""The figure of the boundaries: curves over the plane, and how far they are from the float64 reference."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from superjax.plots.maps import GREY, OKABE_ITO, VERMILION
from superjax.studies.captions import frame, partly, training_in_words
from superjax.studies.phase_boundary.view import Search, searches
from superjax.studies.results import Results

IMPORTANCE, DENSITY = "relative importance", "density 1 − S"
MAX_ROWS = 6  # cases of a figure
KIND_COLOURS = ("#c9c9c9", *(OKABE_ITO[k] for k in (5, 4, 2, 3, 6, 0)))
INSIDE = "#ededed"
BAND = {0.1: (0, (1, 1.2)), 0.9: (0, (4, 1.5))}


def figures(results: Results) -> dict[str, Figure]:
    shown = searches(results)[:MAX_ROWS]
    figure = Figure(figsize=(13, 4.6 * len(shown) + 1.4), layout="constrained")
    rows = figure.subplots(len(shown), 3, width_ratios=[1.5, 0.75, 1.3], squeeze=False)
    for search, (plane, keys, difference) in zip(shown, rows, strict=True):
        _plane(plane, search)
        _keys(keys, search)
        _difference(difference, search)
    frame(figure, results, f"{_caption(shown)}{partly(len(shown), len(results.datasets), 'cases')}", 190)
    return {"phase_boundary": figure}


def _scales(ax: Axes, search: Search, log_y: bool = True) -> None:
    x, y = (search.data[name].values for name in ("importance", "density"))
    ax.set(xscale="log", xlim=(x.min(), x.max()), xlabel=IMPORTANCE)
    ax.xaxis.set_major_formatter("{x:g}")
    if log_y:  # dense data at the top, as in the paper
        ax.set(yscale="log", ylim=(y.min(), y.max()), ylabel=f"{search.title}\n{DENSITY}")
        ax.yaxis.set_major_formatter("{x:g}")


def _plane(ax: Axes, search: Search) -> None:
    data = search.data
    for number in range(len(search.kinds)):
        own = data["boundary_point_class"].values == number
        x, y = (data[f"boundary_point_{name}"].values[own] for name in ("importance", "density"))
        ax.plot(x, y, ".", color=_colour(number), markersize=2.5, rasterized=True, zorder=1)
    if search.band and (share := search.share_superposed) is not None:
        x, y = (data[name].values for name in ("importance", "density"))
        ax.contourf(x, y, share.T >= max(BAND), levels=[0.5, 1.5], colors=[INSIDE], zorder=0)
    for line in search.band:
        ax.plot(line.at["importance"], line.at["density"], color="0.35", linewidth=1, zorder=2,
                linestyle=BAND[min(BAND, key=lambda share, line=line: abs(share - line.share))])  # fmt: skip
    for line in search.lines:
        ax.plot(line.at["importance"], line.at["density"], color="black", linewidth=1.6, zorder=3)
    known = search.reference
    ax.plot([*known], [*known.values()], "o", markersize=5, color="white", markeredgecolor=VERMILION,
            markeredgewidth=1.4, linestyle="", zorder=4)  # fmt: skip
    _scales(ax, search)


def _colour(number: int) -> str:
    return KIND_COLOURS[number % len(KIND_COLOURS)]


def _keys(ax: Axes, search: Search) -> None:
    points = [
        Line2D([], [], marker="o", linestyle="", color=_colour(number), label=_words(kind))
        for number, kind in enumerate(search.kinds)
    ]
    lines: list[Artist] = [Line2D([], [], color="black", linewidth=1.6, label="boundary of the optimum")]
    if search.reference:
        lines.append(Line2D([], [], marker="o", linestyle="", color="white", markeredgecolor=VERMILION,
                            markeredgewidth=1.4, label="float64 reference"))  # fmt: skip
    if search.band:
        lines += [
            Line2D([], [], color="0.35", linewidth=1, linestyle=style, label=f"{share:.0%} of the restarts inside")
            for share, style in BAND.items()
        ]
        if search.share_superposed is not None:
            lines.append(Patch(color=INSIDE, label=f"inside of the {max(BAND):.0%} line"))
    ax.axis("off")
    title = "points tried, by the phases\nof features 0, 1, …, extra" if "phases" in _of(search) else "points tried"
    first = ax.legend(handles=points, loc="upper left", frameon=False, fontsize=9, title=title, alignment="left")
    ax.add_artist(first)
    ax.legend(handles=lines, loc="lower left", frameon=False, fontsize=9)


def _of(search: Search) -> str:
    return search.case.boundary.of if search.case.boundary else ""


def _words(kind: str) -> str:
    """The phases of features, the one after the other, in few letters."""
    short = {"not represented": "none", "dedicated": "own", "superposed": "shared"}
    return ", ".join(short.get(word, word) for word in kind.split(", "))


def _difference(ax: Axes, search: Search) -> None:
    importance, deviation = search.deviation()
    tolerance = 1e3 * search.wanted
    ax.axhspan(-tolerance, tolerance, color=GREY, alpha=0.5, linewidth=0)
    ax.axhline(0, color="black", linewidth=0.7)
    ax.plot(importance, 1e3 * deviation, "o", color=VERMILION, markersize=5)
    largest = np.max(np.abs(1e3 * deviation), initial=tolerance, where=np.isfinite(deviation))
    ax.set(ylim=(-1.15 * largest, 1.15 * largest), ylabel="ln(density / reference), thousandths",
           title=f"difference from the reference (grey: ±{tolerance:g})")  # fmt: skip
    _scales(ax, search, log_y=False)


def _caption(shown: list[Search]) -> str:
    case = shown[0].case
    cost = "; ".join(
        f"{search.title}: {search.data.sizes['boundary_point']:,} points, {int(search.data['boundary_models']):,} "
        f"models ({search.data['loss'].size:,} of them of the grid), {search.share:.2%} of a full grid of squares of "
        f"{search.resolution:.3g} (asked for {search.wanted:g})"
        for search in shown
    )
    known = len(shown[0].reference)
    beside = (
        f" Right: the boundary of superposition at {known} importances chosen beforehand; at n = 2 the search was "
        "tuned at others, at n = 3 on these too."
    )
    return (
        f"Boundaries of the optimum, searched from a grid of {case.axes['importance'].size} x "
        f"{case.axes['density'].size} points by halving the squares in which it changes and following the solutions of "
        f"both sides, in ln of both axes. {cost}. Relative importance is that of the extra feature, the last one; the "
        f"others have 1. Left: every point that was tried, the boundaries, and the band of {case.restarts} restarts: "
        f"the lines inside of which 10% and 90% of them have superposition.{beside if known else ''} Each restart of "
        f"the grid: {training_in_words(case)}."
    )
