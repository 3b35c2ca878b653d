"""The figures: the map of the order with latent jumps, and the hysteresis of some lines."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from superjax import plots
from superjax.analysis import Coexistence
from superjax.plots.maps import BLUE, GREEN, GREY, OKABE_ITO, VERMILION
from superjax.reference import branches
from superjax.studies.axes import readable_logs
from superjax.studies.captions import frame, nearest, partly, training_in_words
from superjax.studies.results import Results, known
from superjax.studies.transition_order.view import APART, CONVERGED, NEGLIGIBLE, Line, View, views

SHOWN = {"density": (0.1, 0.3, 0.5, 0.75, 0.944, 1.0), "importance": (0.9, 0.72, 0.6, 0.4, 0.2)}  # lines of hysteresis
LABELS = {"importance": "relative importance", "density": "density 1 − S"}
COLOURS = {"rising": BLUE, "falling": VERMILION}
MAX_CASES = 4
_WIDEST = 3.0  # of the panels: a coexistence with so much of its width (in ln x) on either side
_PURPLE, _YELLOW = OKABE_ITO[3], OKABE_ITO[6]
_REGIONS = (  # words, a point of the region, and where the words are
    ("the extra feature\nis left out", (0.2, 0.72), (0.2, 0.72)),
    ("the other feature\nis left out", (5.0, 0.72), (5.0, 0.72)),
    ("antipodal pair,\nlarge norms", (1.0, 0.36), (1.0, 0.36)),
    ("uneven pair", (1.1, 0.72), (2.3, 0.93)),
)
_LINE = {"color": "black", "linewidth": 1.0}


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    if not (shown := views(results)[:MAX_CASES]):
        return {}
    return {"transition_order": transition_order(results, shown), "hysteresis": hysteresis(results, shown)}


# --- the map ---------------------------------------------------------------------------------------------------------


def transition_order(results: Results, shown: Sequence[View]) -> Figure:
    """The map of the transitions of every line, and latent jumps and norms along the lines of every case."""
    figure = Figure(figsize=(8.4 + 3.6 * len(shown), 7.4), layout="constrained")
    left, right = np.atleast_1d(figure.subfigures(1, 2, width_ratios=[8.0, 3.8 * len(shown)]))
    _draw_map(left.subplots(), shown)
    columns = right.subplots(2, len(shown), squeeze=False, sharex="col")
    for view, axes in zip(shown, columns.T, strict=True):
        _draw_jumps(axes[0], view)
        _draw_norms(axes[1], view)
    readable_logs(figure)
    frame(figure, results, f"{_caption(shown)}{partly(len(shown), len(results.datasets), 'cases')}", 230)
    return figure


def _draw_map(ax: Axes, shown: Sequence[View]) -> None:
    x, y = (np.concatenate([view.data[name].values for view in shown]) for name in ("importance", "density"))
    ax.set(xscale="log", yscale="log", xlim=(x.min() / 1.05, 1.05 * x.max()), ylim=(y.min(), max(1.0, y.max())))
    density = np.linspace(1e-3, 1, 2000)
    onset = branches.onset_importance(density)
    for of in (onset, 1 / onset):
        ax.plot(of, density, **_LINE)
    for view in shown:
        for line in view.lines:
            for change in line.changes:
                _draw_change(ax, view, line, change)
            for begin in line.onsets:
                ax.plot(*_place(view, line, begin.position), "o", markersize=4.5, markerfacecolor="white", color=BLUE)
    end = branches.CRITICAL_END
    for r, s, marker in ((*end, "s"), *((*point, "D") for point in branches.tricritical_points())):
        for importance in (r, 1 / r):
            ax.plot(importance, s, marker, markersize=8, color="black", markerfacecolor=_YELLOW, zorder=5)
    for words, at, place in _REGIONS:
        if x.min() < place[0] < x.max() and y.min() < place[1] < y.max():
            arrow = {"arrowstyle": "-", "color": "0.3", "linewidth": 0.8} if at != place else None
            ax.annotate(words, at, place, ha="center", va="center", fontsize=10, arrowprops=arrow)
    ax.set_xlabel(LABELS["importance"], fontsize=11)
    ax.set_ylabel(LABELS["density"], fontsize=11)
    handles = [
        _dot("o", VERMILION, VERMILION, f"first order, latent jump {NEGLIGIBLE:g} or more"),
        _dot("o", _PURPLE, _PURPLE, "first order, a smaller jump"),
        _dot("o", BLUE, "white", "the weaker feature begins, continuously"),
        Line2D([], [], color=GREY, linewidth=3, label="both branches are minima"),
        Line2D([], [], **_LINE, label="one feature alone ceases to be a minimum (closed form)"),
        _dot("D", "black", _YELLOW, "there that changes its order (closed form)"),
        _dot("s", "black", _YELLOW, "critical end: both meet"),
    ]  # fmt: skip
    ax.legend(handles=handles, loc="lower center", fontsize=8.5, framealpha=0.95)
    ax.set_title("Transitions on every line", fontsize=11)


def _dot(marker: str, edge: str, face: str, label: str) -> Line2D:
    return Line2D([], [], color=edge, marker=marker, markerfacecolor=face, linestyle="", label=label)


def _place(view: View, line: Line, x: float) -> tuple[float, float]:
    return view.importance(line, x), view.density(line, x)


def _draw_change(ax: Axes, view: View, line: Line, change: Coexistence) -> None:
    """A transition, and how far both branches are minima around it."""
    low = change.low if np.isfinite(change.low) else line.x[change.first]
    high = change.high if np.isfinite(change.high) else line.x[change.last]
    ends = np.array([_place(view, line, float(x)) for x in (low, high)]).T
    ax.plot(*ends, color=GREY, linewidth=2.2, zorder=0, solid_capstyle="butt")
    colour = VERMILION if change.jump >= NEGLIGIBLE else _PURPLE
    ax.plot(*_place(view, line, change.position), "o", color=colour, markersize=3.2, zorder=3)


def _draw_jumps(ax: Axes, view: View) -> None:
    """Latent jumps of all transitions against the other axis."""
    for line in view.lines:
        for change in line.changes:
            colour = VERMILION if change.jump >= NEGLIGIBLE else _PURPLE
            ax.plot(line.at, _least(change.jump), "o", color=colour, markersize=3.5)
        for begin in line.onsets:
            ax.plot(line.at, _least(line.jump_at_onset(begin)), "o", color=BLUE, markerfacecolor="white", markersize=4)
    ax.axhline(NEGLIGIBLE, color="black", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", yscale="log", ylim=(_LEAST / 1.5, 4))
    ax.set_ylabel(f"latent jump of\nd ln(loss) / d ln({view.along})", fontsize=10)
    ax.set_title(f"along {view.along},\nat fixed {view.across}", fontsize=10.5)


_LEAST = 1e-3  # jumps below are drawn there


def _least(jump: float) -> float:
    return max(abs(jump), _LEAST)


def _main(view: View, line: Line) -> Coexistence | None:
    """The transition with the largest jump; along importance of those at importances up to 1, of which the others are
    the mirror images."""
    if view.along == "density":
        return line.main
    return max((change for change in line.changes if change.position < 1.001), key=lambda one: one.jump, default=None)


def _draw_norms(ax: Axes, view: View) -> None:
    """Norm of the weaker feature on either side of the transition with the largest jump."""
    for family, colour in COLOURS.items():
        k = list(COLOURS).index(family)
        mains = [(line, _main(view, line)) for line in view.lines]
        found = [(line.at, line.beside(change, line.weaker)[k]) for line, change in mains if change]
        if found:
            ax.plot(*np.array(found).T, "o-", color=colour, markersize=3, linewidth=0.8, label=f"{family} branch")
    ax.set(xscale="log", ylim=(-0.03, 1.1))
    ax.set_xlabel(LABELS[view.across], fontsize=10)
    ax.set_ylabel("norm of the weaker feature\nat the largest jump", fontsize=10)
    if ax.lines:
        ax.legend(fontsize=8.5)


def _caption(shown: Sequence[View]) -> str:
    case = shown[0].case
    return (
        "Every line has two branches of minima, rising and falling, from the best solution at its lowest and highest "
        "point; each point starts from the weights of the one before. Where the losses of both cross the transition "
        "is of first order. The latent jump is how much steeper the one loss is than the other, in d ln(loss) / d "
        f"ln(coordinate). Branches count where the gradient is at most {CONVERGED:g} of the loss, and differ where an "
        f"entry of WᵀW does by more than {APART:g}. A continuous onset is where the norm of the weaker feature grows "
        f"from 0, as far as the steps of a line can tell; jumps below {_LEAST:g} are drawn there. Each restart: "
        f"{training_in_words(case)}."
    )


# --- hysteresis ------------------------------------------------------------------------------------------------------


def hysteresis(results: Results, shown: Sequence[View]) -> Figure:
    """Norms and losses of both branches along some lines of every case."""
    chosen = [(view, _chosen(view)) for view in shown]
    most = max(len(lines) for _, lines in chosen)
    figure = Figure(figsize=(2.7 * most + 0.8, 4.6 * len(shown) + 1.2), layout="constrained")
    for (view, lines), part in zip(chosen, np.atleast_1d(figure.subfigures(len(shown), 1)), strict=True):
        rows = part.subplots(2, most, squeeze=False, sharex="col")
        for line, column in zip(lines, rows.T, strict=False):
            _draw_line(view, line, *column)
        for ax in rows[:, len(lines) :].ravel():
            ax.axis("off")
        rows[0, 0].set_ylabel("norm of the weaker feature", fontsize=9.5)
        rows[1, 0].set_ylabel("loss above the better\nbranch (relative)", fontsize=9.5)
        handles = [
            *(Line2D([], [], color=colour, linewidth=2, label=f"{name} branch") for name, colour in COLOURS.items()),
            Line2D([], [], color=VERMILION, linestyle=(0, (4, 2)), linewidth=1.0, label="the losses cross"),
            Line2D([], [], color="0.5", linestyle=":", linewidth=1.2, label="a branch ceases to exist"),
            Line2D([], [], color=GREEN, linestyle="-.", linewidth=1.2, label="continuous onset"),
        ]  # fmt: skip
        part.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=9, frameon=False)
    readable_logs(figure)
    frame(
        figure, results,
        "Branches of minima that begin with the best solution at the low end (rising) and at the high end (falling) of "
        "a line, drawn where they are converged; solid where the loss is the lower one of both, thin where it is not. "
        f"{partly(most, max(len(view.lines) for view in shown), 'lines of a case')}"
        f"{partly(len(shown), len(results.datasets), 'cases')}", 190,
    )  # fmt: skip
    return figure


def _chosen(view: View) -> list[Line]:
    return [view.lines[k] for k in nearest(np.array([line.at for line in view.lines]), SHOWN[view.along])]


def _draw_line(view: View, line: Line, top: Axes, bottom: Axes) -> None:
    lowest = line.of_best(line.loss)
    for k, colour in enumerate(COLOURS.values()):
        known = np.isfinite(line.loss[k])
        better = known & ((line.best == k) | ~line.apart)
        for ax, values in ((top, line.weaker[k]), (bottom, line.loss[k] / lowest - 1)):
            ax.plot(line.x, np.where(known, values, np.nan), color=colour, linewidth=0.9)
            ax.plot(line.x, np.where(better, values, np.nan), color=colour, linewidth=2.4 - k)
    for change in line.changes:
        for ax in (top, bottom):
            ax.axvline(change.position, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1.0)
            for end in (change.low, change.high):
                if np.isfinite(end):
                    ax.axvline(end, color="0.5", linestyle=":", linewidth=1.2)
    for begin in line.onsets:
        top.axvline(begin.position, color=GREEN, linestyle="-.", linewidth=1.2)
    value = f"{line.at:.3g}"
    top.set(title=f"{view.across} {value}", ylim=(-0.03, 1.1), xscale="log")
    top.title.set_fontsize(10)
    low, high = _window(line)
    ends = (high, low) if view.along == "density" else (low, high)  # dense data first
    top.set_xlim(*ends)
    if high < 4 * low:
        top.set_xscale("linear")
        top.xaxis.set_major_locator(MaxNLocator(4))
    bottom.set_xlabel(LABELS[view.along], fontsize=9.5)
    inside = (line.x >= low) & (line.x <= high)
    excess = (line.loss / lowest - 1)[:, inside & line.apart]
    most = float(np.nanmax(excess)) if np.isfinite(excess).any() else 0.0
    bottom.set_ylim(-0.05 * max(most, 1e-6), 1.08 * max(most, 1e-6))
    bottom.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    for ax in (top, bottom):
        ax.tick_params(labelsize=8)


def _window(line: Line) -> tuple[float, float]:
    """The part of a line around its transitions and onsets."""
    x = np.log(line.x)
    marks = [np.log(begin.position) for begin in line.onsets]
    marks += [x[point] for change in line.changes for point in (change.first, change.last)]
    if not marks or len(x) < 2:
        ends = plots.cell_edges(line.x, True)
        return float(ends[0]), float(ends[-1])
    room = max(0.25 * (max(marks) - min(marks)), _WIDEST * line.step, 0.02)
    return float(np.exp(max(x[0], min(marks) - room))), float(np.exp(min(x[-1], max(marks) + room)))
