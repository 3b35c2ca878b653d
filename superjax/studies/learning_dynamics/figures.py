"""The figures of learning in jumps: levels of dimensionality, and the octahedron forming in space."""

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREY, VERMILION
from superjax.studies.captions import frame, training_in_words
from superjax.studies.learning_dynamics.view import EVENTS, SET, Shape, courses, events, in_sets
from superjax.studies.results import Results

LEVELS = {
    3 / 4: "3/4 tetrahedron", 2 / 3: "2/3 triangle", 1 / 2: "1/2 digon", 2 / 5: "2/5 pentagon",
    3 / 8: "3/8 square antiprism", 0.0: "0 not represented",
}  # fmt: skip
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
    """Dimensionality of every feature of the best model, its loss and how fast that falls, against steps."""
    case, data = results.sweep.cases[name], results.datasets[name]
    course = courses(data)[int(data["best"])]
    D, ends = course.dimensionality, data["norm"].values[int(data["best"])] >= case.phases.represented
    figure = Figure(figsize=(11, 10.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[2.4, 1, 1])
    for level, label in LEVELS.items():
        top.axhline(level, color=GREY, linewidth=1, zorder=0)
        below = label.startswith("3/8")
        top.text(1.005, level, label, transform=top.get_yaxis_transform(), va="top" if below else "center", fontsize=9)
    for i in np.argsort(ends, kind="stable"):
        top.plot(course.step, D[:, i], color=VERMILION if ends[i] else BLUE, linewidth=0.9, alpha=0.7)
        top.plot(course.step[course.jumps[i]], D[course.jumps[i], i], "o", color="black", markersize=3, zorder=3)
    top.set(ylim=(-0.02, 0.8), ylabel="dimensionality D$_i$ of every feature")
    handles = [
        Line2D([], [], color=VERMILION, label=f"represented in the end ({ends.sum()} features)"),
        Line2D([], [], color=BLUE, label=f"not represented in the end ({(~ends).sum()})"),
        Line2D([], [], marker="o", linestyle="", color="black", markersize=3, label="jump: D$_i$ changes fastest"),
        Line2D([], [], label="drop: the loss falls fastest", **_DROP),
    ]
    top.legend(handles=handles, loc="upper left", fontsize=9)
    middle.plot(course.step, course.loss, color="black", linewidth=1.5)
    middle.set(ylabel="loss")
    falling, typical = course.falling, float(np.median(course.falling))
    bottom.plot(course.step, falling, color="black", linewidth=1.5)
    bottom.axhline(typical, color=VERMILION, linewidth=1, linestyle="--", label="typical (median)")
    bottom.set(xscale="log", yscale="log", ylim=(1e-3, 2 * max(falling.max(), 1e-2)), xlabel="steps trained",
               xlim=(course.step[0], course.step[-1]), ylabel="−d ln(loss) / d ln(steps)")  # fmt: skip
    bottom.legend(loc="lower left", fontsize=9)
    for ax in (top, middle, bottom):
        for step in course.step[course.drops]:
            ax.axvline(step, **_DROP)
    frame(
        figure, results,
        f"n = {case.n_features}, m = {case.n_hidden}, density {case.density_vector()[0]:g}, equal importance: the best "
        f"of {case.restarts} restarts. {training_in_words(case).capitalize()}. Fastest: per factor of steps, on the "
        f"logarithmic axis.",
        170,
    )  # fmt: skip
    return figure


def octahedron(results: Results, name: str) -> Figure:
    """The best model in space at some steps, each with the way that its features came; below, its loss and what its
    sets look like."""
    case, data = results.sweep.cases[name], results.datasets[name]
    course = courses(data)[int(data["best"])]
    W = analysis.canonical_rotation(course.W[-1]) @ course.W
    at = events(course)
    shown = [*(course.between(first, second) for first, second in pairwise(at[: len(EVENTS)])), len(W) - 1]

    figure = Figure(figsize=(14, 11.5), layout="constrained")
    above, below = np.atleast_1d(figure.subfigures(2, 1, height_ratios=[1, 1.7]))
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
    rows = below.subplots(3, 1, sharex=True, height_ratios=[1.3, 1, 1])
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
    labels = zip(_SETS, ("pairs of the first set", "pairs of the second"), strict=True)
    rows[1].legend(handles=[Line2D([], [], color=colour, label=label) for colour, label in labels], loc="center")
    rows[1].set(ylabel="cosine within sets", ylim=(-1.05, 1.05))
    rows[2].set(ylabel="lowest cosine with\nthe other set", ylim=(-1.05, 1.05), xlabel="steps trained")
    frame(
        figure, results,
        f"Two sets of {SET} features (cold and warm colours) of density {case.density_vector()[0]:g}, correlation "
        f"{case.data.correlation:g}, m = {case.n_hidden}: the best of {case.restarts} restarts. "
        f"{training_in_words(case).capitalize()}. In space: the columns of W at the steps marked below, those of a set "
        "joined by black lines, with the way that they came, all in the position that is canonical for the final "
        "weights. Grey: where the means of the sets move apart fastest, then the lowest, then the highest cosine "
        "within sets falls fastest, and once all are near 0 the cosine of partners. Dotted: the loss falls fastest "
        "per factor of steps.",
        225,
    )  # fmt: skip
    return figure
