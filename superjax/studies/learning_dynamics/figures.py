"""The figures of learning in jumps: levels of dimensionality, and the octahedron forming in space."""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREY, VERMILION
from superjax.studies.captions import frame, training_in_words
from superjax.studies.learning_dynamics.view import (
    EVENTS,
    JUMP,
    LEVELS,
    ORTHOGONAL,
    SET,
    WITHIN,
    Course,
    Jumps,
    Shape,
    courses,
    events,
    in_sets,
)
from superjax.studies.results import Results

SEARCHED = (
    "Some 25 settings (optimiser, learning rate, initial scale, batch, density, steps) were tried for both cases of "
    "the packaged sweep; these were selected as all restarts end in digons and in the octahedron."
)
_DROP = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
_SETS = (BLUE, VERMILION)
_FEATURES = ("#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#cc79a7")  # cold: first set, warm: second


def figures(results: Results) -> dict[str, Figure]:
    """Of every case whose best model did not diverge."""
    return {
        name: (octahedron if in_sets(results, name) else energy_levels)(results, name)
        for name, data in results.datasets.items()
        if int(data["best"]) in courses(data)
    }


def energy_levels(results: Results, name: str) -> Figure:
    """Dimensionality of every feature of the best model, its loss and how fast that falls, against steps; and how much
    features change at once, beside smooth curves."""
    case, data = results.sweep.cases[name], results.datasets[name]
    course = courses(data)[int(data["best"])]
    jumps, ends = course.jumps(), data["norm"].values[int(data["best"])] >= case.phases.represented
    figure = Figure(figsize=(10.5, 12), layout="constrained")
    above, below = np.ravel(figure.subfigures(2, 1, height_ratios=[4, 1]))
    top, middle, bottom = above.subplots(3, 1, sharex=True, height_ratios=[2.4, 1, 1])
    _draw_levels(top, course, jumps, ends)
    middle.plot(course.step, course.loss, color="black", linewidth=1.5)
    middle.set(ylabel="loss")
    falling = course.falling
    bottom.plot(course.step, falling, color="black", linewidth=1.5)
    at = jumps.at[jumps.real]
    if at.size:
        typical = course.typical(int(at.min()), int(at.max()))
        bottom.plot(course.step[[at.min(), at.max()]], [typical] * 2, color=VERMILION, linewidth=1.5, linestyle="--",
                    label="typical: median from first to last jump")  # fmt: skip
        bottom.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9, borderaxespad=0.1)
    bottom.set(xscale="log", yscale="log", ylim=(1e-3, 2 * max(falling.max(), 1e-2)), xlabel="steps trained",
               xlim=(course.step[0], course.step[-1]), ylabel="−d ln(loss) / d ln(steps)")  # fmt: skip
    for ax in (top, middle, bottom):
        for step in course.step[course.drops]:
            ax.axvline(step, **_DROP)
    _draw_changes(below.subplots(), [course.jumps() for course in courses(data).values()])
    frame(
        figure, results,
        f"n = {case.n_features}, m = {case.n_hidden}, density {case.density_vector()[0]:g}, equal importance: the best "
        f"of {case.restarts} restarts. {training_in_words(case).capitalize()}. Jump: the dimensionality changes by "
        f"{JUMP:g} or more within a factor of {WITHIN:g} in steps; dots are in the middle of it. Drop: the loss falls "
        "fastest per factor of steps. Last panel: features of all restarts, beside curves of the same ends that are "
        f"logistic in ln(steps) from where learning begins to where all features have settled. {SEARCHED}",
        165,
    )  # fmt: skip
    return figure


def _draw_levels(ax: Axes, course: Course, jumps: Jumps, ends: np.ndarray) -> None:
    D = course.dimensionality
    for level, label in LEVELS.items():
        ax.axhline(level, color=GREY, linewidth=1, zorder=0)
        below = label.startswith("3/8")
        ax.text(1.005, level, label, transform=ax.get_yaxis_transform(), va="top" if below else "center", fontsize=9)
    for i in np.argsort(ends, kind="stable"):
        ax.plot(course.step, D[:, i], color=VERMILION if ends[i] else BLUE, linewidth=0.9, alpha=0.7)
        if jumps.real[i]:
            ax.plot(course.step[jumps.at[i]], D[jumps.at[i], i], "o", color="black", markersize=3.5, zorder=3)
    ax.set(ylim=(-0.02, 0.8), ylabel="dimensionality D$_i$ of every feature")
    handles = [
        Line2D([], [], color=VERMILION, label=f"represented in the end ({ends.sum()} features)"),
        Line2D([], [], color=BLUE, label=f"not represented in the end ({(~ends).sum()})"),
        Line2D([], [], marker="o", linestyle="", color="black", markersize=3.5, label=f"jump ({jumps.real.sum()})"),
        Line2D([], [], label="drop of the loss", **_DROP),
    ]
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, fontsize=9, frameon=False)


def _draw_changes(ax: Axes, found: list[Jumps]) -> None:
    """How many features change by how much at most within the factor, beside smooth curves of the same ends."""
    change, smooth = (np.concatenate(values) for values in zip(*((f.change, f.smooth) for f in found), strict=True))
    edges = np.arange(0, max(float(change.max()), JUMP) + 0.02, 0.01)
    for values, colour, label in ((change, "black", "features"), (smooth, "0.65", "smooth curves of the same ends")):
        ax.hist(values, edges, histtype="stepfilled" if colour != "black" else "step", color=colour, linewidth=1.5,
                label=f"{label}: {np.mean(values >= JUMP):.0%} jump")  # fmt: skip
    ax.axvline(JUMP, color=VERMILION, linewidth=1.5, linestyle="--")
    ax.set(xlim=(0, edges[-1]), ylabel="features", yscale="log")
    ax.set_xlabel(f"largest change of D$_i$ within a factor of {WITHIN:g} in steps; dashed: from here on a jump")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=9, frameon=False)


def octahedron(results: Results, name: str) -> Figure:
    """The best model in space at some steps, each with the way that its features came; below, its loss and what its
    sets look like."""
    case, data = results.sweep.cases[name], results.datasets[name]
    course = courses(data)[int(data["best"])]
    W = analysis.canonical_rotation(course.W[-1]) @ course.W
    at = events(course)
    shown = [*(course.between(first, second) for first, second in pairwise(at[: len(EVENTS)])), len(W) - 1]

    figure = Figure(figsize=(12, 12), layout="constrained")
    above, below = np.atleast_1d(figure.subfigures(2, 1, height_ratios=[1, 2.3]))
    for k, snapshot in enumerate(shown):
        ax = above.add_subplot(1, len(shown), k + 1, projection="3d")
        for way, colour in zip(W[: snapshot + 1].transpose(2, 1, 0), _FEATURES, strict=True):
            ax.plot(*way, color=colour, linewidth=0.8, alpha=0.6)
        for first in (0, SET):
            ax.plot(*W[snapshot][:, [first, first + 1, first + 2, first]], color="black", linewidth=0.6)
        plots.vectors_3d(ax, W[snapshot], _FEATURES, size=1.05)
        ax.set_title(f"{'abcd'[k]}: step {course.step[snapshot]:,}", fontsize=11)
        ax.tick_params(labelsize=7, pad=-2)
        ax.view_init(elev=22, azim=28)
        ax.set_box_aspect((1, 1, 1), zoom=1.15)

    shape = Shape.of(course.W)
    rows = below.subplots(4, 1, sharex=True, height_ratios=[1.3, 1, 1, 1])
    rows[0].plot(course.step, course.loss, color="black", linewidth=1.5)
    rows[0].set(xscale="log", yscale="log", ylabel="loss", xlim=(course.step[0], 1.05 * course.step[-1]))
    for step in course.step[course.drops]:
        rows[0].axvline(step, **_DROP)
    rows[0].plot(course.step[shown], course.loss[shown], "o", color="black", markersize=5)
    for k, snapshot in enumerate(shown):
        rows[0].annotate("abcd"[k], (course.step[snapshot], course.loss[snapshot]), (-3, 7), textcoords="offset points")
    for k, (event, snapshot) in enumerate(zip(EVENTS, at, strict=False)):
        for ax in rows:
            ax.axvline(course.step[snapshot], color=GREY, linewidth=3, zorder=0)
        rows[0].text(course.step[snapshot], 1.02 + 0.1 * (k % 2), event, transform=rows[0].get_xaxis_transform(),
                     ha="center", fontsize=9)  # fmt: skip
    for k in range(2):
        rows[1].plot(course.step, shape.within[:, SET * k : SET * (k + 1)], color=_SETS[k], linewidth=1.2)
    for i, colour in enumerate(_FEATURES):
        rows[2].plot(course.step, shape.partner[:, i], color=colour, linewidth=1.2)
    for restart, other in courses(data).items():
        begin, best = events(other).triangles, restart == int(data["best"])
        rows[3].plot(other.step[begin:], Shape.of(other.W).turn[begin:], color="black" if best else "0.7",
                     linewidth=1.8 if best else 0.9, zorder=2 if best else 1)  # fmt: skip
    labels = zip(_SETS, ("pairs of the first set", "pairs of the second"), strict=True)
    rows[1].legend(handles=[Line2D([], [], color=colour, label=label) for colour, label in labels], loc="center")
    rows[1].set(ylabel="cosine within sets", ylim=(-1.05, 1.05))
    rows[2].set(ylabel="lowest cosine with\nthe other set", ylim=(-1.05, 1.05))
    rows[3].set(ylabel="turn (degrees)", ylim=(-2, 64), yticks=[0, 30, 60], xlabel="steps trained")
    for ax, value, word in ((rows[2], -2 / 3, "prism"), (rows[2], -1, "antiprism"), (rows[3], 0, "prism"),
                            (rows[3], 60, "antiprism")):  # fmt: skip
        ax.axhline(value, color=GREY, linewidth=1, zorder=0)
        ax.text(1.005, value, word, transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    frame(
        figure, results,
        f"Two sets of {SET} features (cold and warm colours) of density {case.density_vector()[0]:g}, correlation "
        f"{case.data.correlation:g}, m = {case.n_hidden}: the best of {case.restarts} restarts, "
        f"in which the triangles are turned by {shape.turn[at.triangles]:.0f} degrees when they are there (median of "
        "all restarts: "
        f"{np.median([Shape.of(c.W).turn[events(c).triangles] for c in courses(data).values()]):.0f}). "
        f"{training_in_words(case).capitalize()}. In space: the columns of W at the steps marked below, those of a set "
        "joined by black lines, with the way that they came, all in the position that is canonical for the final "
        "weights. Grey: where the means of the sets move apart fastest, then where the lowest cosine within sets falls "
        f"fastest, where all cosines within sets are below {ORTHOGONAL:g} for good, and where one triangle turns "
        "fastest. Turn: the angle between the triangles around their common axis, once they are there, in grey of the "
        f"other restarts. Dotted: the loss falls fastest per factor of steps. {SEARCHED}",
        185,
    )  # fmt: skip
    return figure
