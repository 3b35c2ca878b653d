"""The figures of the phase diagram: maps of theory, optimum and restarts, and cuts at fixed importance."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREY, MEASURED_LINE, THEORY_LINE, VERMILION
from superjax.reference import theory
from superjax.studies.captions import frame, partly, training_in_words
from superjax.studies.diagram import SETTLED, Diagram, diagrams
from superjax.studies.phase_diagram.view import gap_to_minimum
from superjax.studies.results import Results

CUTS = (0.3, 1.0)  # relative importances
IMPORTANCE, DENSITY = "relative importance", "density 1 − S"
MAX_ROWS = 8  # cases of a figure
WORDS = {  # the candidates of the theory, as a reader may know them
    "ignore_extra": "extra feature left out",
    "drop_other": "another feature left out",
    "antipodal": "both share, in opposite directions",
    "same_direction": "both share, in the same direction",
    "extra_in_digon": "extra and another feature share a dimension",
    "others_in_digon": "the two others share a dimension",
}
SMALL_MARGIN = 0.1  # a phase is hatched if its deciding quantity is this near to the threshold


def figures(results: Results) -> dict[str, Figure]:
    return {"phase_diagram": phase_diagram(results), "cuts": cuts(results)}


def phase_diagram(results: Results) -> Figure:
    """A row per case: theory, optimum, typical outcome, restarts that reach the optimum, gap to the next phase."""
    shown = diagrams(results)[:MAX_ROWS]
    figure = Figure(figsize=(15, 3.4 * len(shown) + 2.2), layout="constrained")
    rows = figure.subplots(len(shown) + 1, 5, height_ratios=[*[1] * len(shown), 0.15], squeeze=False)
    meshes = []
    for diagram, axes in zip(shown, rows, strict=False):
        for ax in axes:
            set_axes(ax, diagram, ax is axes[0])
        axes[0].set_ylabel(f"{diagram.title}\n{DENSITY}", fontsize=11)
        meshes = _draw_row(diagram, axes)
    titles = (
        "Theory\n(closed forms)",
        "Optimum",
        outcome_title(shown[0].case.restarts),
        "Restarts that\nreach the optimum",
        "Gap to the best solution\nin other phases",
    )
    for ax, title in zip(rows[0], titles, strict=True):
        ax.set_title(title, fontsize=11.5)
    _draw_keys(figure, rows[-1], meshes, any_diverged(shown))
    frame(figure, results, f"{caption(shown)}{partly(len(shown), len(results.datasets), 'cases')}", 290, 15)
    return figure


def set_scales(ax: Axes, diagram: Diagram) -> None:
    """Importance to the right, and dense data at the top, as in the paper."""
    x, y = plots.cell_edges(diagram.importance, True), plots.cell_edges(diagram.density, True)
    ax.set(xscale="log", yscale="log", xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")


def set_axes(ax: Axes, diagram: Diagram, labelled: bool = True) -> None:
    """The scales, with labels."""
    set_scales(ax, diagram)
    ax.set_xlabel(IMPORTANCE, fontsize=10.5)
    ax.set_ylabel(DENSITY if labelled else "", fontsize=10.5)
    ax.tick_params(labelleft=labelled)


def _draw_row(diagram: Diagram, axes: np.ndarray) -> list:
    x, y = diagram.importance, diagram.density
    fine = np.geomspace(x.min(), x.max(), 401)
    theory_line = theory.superposition_boundary(fine, diagram.case.n_features, diagram.case.n_hidden)
    measured = diagram.boundary().position()

    plots.phase_map(axes[0], x, y, diagram.theory_phase())
    plots.phase_map(axes[1], x, y, diagram.extra("optimum_phase"))
    for ax in axes[:2]:
        ax.plot(fine, theory_line, **THEORY_LINE)
    plots.hatch(axes[1], x, y, diagram.extra("optimum_margin") < SMALL_MARGIN, "....")
    plots.typical_map(axes[2], x, y, diagram.extra("typical_norm"), diagram.extra("typical_interference"))
    agreement, success = diagram.data["agreement"].values, diagram.data["success"].values
    plots.hatch(axes[2], x, y, agreement < 1 - diagram.case.plot.threshold)
    fraction = plots.value_map(axes[3], x, y, success)
    for ax in axes[2:4]:
        plots.hatch(ax, x, y, (diagram.data["diverged_at"].values >= 0).any(-1), "xxxx", "black")
    gap = plots.gap_map(axes[4], x, y, gap_to_minimum(diagram))
    for ax in axes[1:]:
        ax.plot(x, measured, **MEASURED_LINE)
    return [fraction, gap]


def any_diverged(shown: list[Diagram]) -> bool:
    return any(bool((diagram.data["diverged_at"] >= 0).any()) for diagram in shown)


def _draw_keys(figure: Figure, axes: np.ndarray, meshes: list, diverged: bool) -> None:
    for ax in axes[:2]:
        ax.axis("off")
    axes[0].legend(
        handles=plots.phase_handles(diverged), loc="upper center", ncols=1, frameon=False, fontsize=10.5,
        title="extra feature",
    )  # fmt: skip
    lines = [
        Line2D([], [], **THEORY_LINE, label="theory"),
        Line2D([], [], **MEASURED_LINE, label="measured"),
    ]
    axes[1].legend(
        handles=lines, loc="upper center", frameon=False, fontsize=10.5, title="superposition begins (any features)"
    )
    plots.typical_key(axes[2])
    for ax, mesh, label in zip(
        axes[3:],
        meshes,
        ("fraction of restarts", "relative gap in loss\n(white: no other minimum)"),
        strict=True,
    ):
        bar = figure.colorbar(mesh, cax=ax, orientation="horizontal", extend="neither")
        bar.set_label(label, fontsize=10.5)


def caption(shown: list[Diagram]) -> str:
    """What was run, in words, from the specification; the cases apart where they were not trained alike."""
    case = shown[0].case
    grids = ", ".join(
        f"{d.title}: {len(d.importance)} x {len(d.density)} cells x {d.case.restarts} restarts" for d in shown
    )
    if all((d.case.train, d.case.model) == (case.train, case.model) for d in shown):
        training = f"Each model: {training_in_words(case)}."
    else:
        training = " ".join(f"{d.title}: {training_in_words(d.case)}." for d in shown)
    reached = ", ".join(f"{d.success_in_words()} ({d.title})" for d in shown)
    return (
        f"Relative importance is that of the extra feature, the last one; the others have 1. {grids}. {training} "
        f"A feature is represented if its norm is at least {case.phases.represented:g}, and then superposed if its "
        f"interference with represented features is at least {case.phases.superposed:g}; dotted: within "
        f"{SMALL_MARGIN:.0%} of such a threshold. Optimum: best restarts, transplanted between neighbouring cells and "
        f"polished. At importance 1 features are alike, and it is chance which of them is left out. Typical outcome "
        f"hatched where fewer than {1 - case.plot.threshold:.0%} of restarts have the optimum's phases; crosses: some "
        f"restarts diverged. Restarts that reach the optimum (come within "
        f"{analysis.REACHED:.0%} of its loss), all cells together: {reached}, {error_in_words(shown)}. "
        "Gap: to the best that was found, an upper bound; white where no solution in other phases is a minimum of the "
        "loss: all that were tried end in the optimum's phases, or have a vanishing gradient and yet leave when "
        "moved a little."
    )


def error_in_words(shown: list[Diagram]) -> str:
    """What the standard errors of `success_in_words` rest on."""
    if any(d.common_starts for d in shown):
        shared = "whose batches" if all(d.case.train.starts == "independent" for d in shown) else "which"
        return f"with the standard error over the restarts, {shared} all cells share"
    return "with the standard error of starts that are independent in all cells"


def outcome_title(restarts: int, between: str = "\n") -> str:
    dropped = analysis.dropped(restarts)
    which = f"without the worst {dropped} of {restarts}" if dropped else f"of {restarts} restarts"
    return f"Typical outcome (average{between}{which})"


def cuts(results: Results) -> Figure:
    """Norm of the extra feature and loss of both branches against density, at the importances of CUTS."""
    shown = diagrams(results)[:MAX_ROWS]
    figure = Figure(figsize=(6.0 * len(CUTS), 6.6 * len(shown) + 1.2), layout="constrained")
    for diagram, part in zip(shown, np.atleast_1d(figure.subfigures(len(shown), 1)), strict=True):
        part.suptitle(diagram.title)
        rows = part.subplots(2, len(CUTS), sharex=True, squeeze=False)
        for column, wanted in enumerate(CUTS):
            _draw_cut(diagram, wanted, rows[0, column], rows[1, column])
        handles = [handle for ax in rows[:, 0] for handle in ax.get_legend_handles_labels()[0]]
        part.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9.5, frameon=False)
    frame(
        figure, results,
        f"Columns of the maps at the importances nearest to {' and '.join(f'{r:g}' for r in CUTS)}. Grey bar: where "
        f"superposition begins in the optimum. Dotted: the norm from which a feature is represented. Lowest losses: of "
        f"the optimum, of the best minimum in other phases, and of restarts whose gradient has vanished (below "
        f"{SETTLED:g} of the loss). Theory: unit weights, no bias where features share a dimension, the mean where one "
        f"is left out. {outcome_title(shown[0].case.restarts, ' ')}. At importance 1 features are alike, and it is "
        f"chance which of them is left out.{partly(len(shown), len(results.datasets), 'cases')}", 150,
    )  # fmt: skip
    return figure


def _draw_cut(diagram: Diagram, wanted: float, top: Axes, bottom: Axes) -> None:
    k = diagram.column(wanted)
    r, s = diagram.importance[k], diagram.density
    norms = diagram.data["norm"].isel(importance=k, feature=-1).values
    top.plot(np.repeat(s, norms.shape[-1]), norms.ravel(), ".", color="0.6", markersize=2.5, label="single restarts")
    top.plot(s, diagram.extra("typical_norm")[k], color=BLUE, label="typical outcome")
    top.plot(s, diagram.extra("optimum_norm")[k], "-", color=VERMILION, linewidth=2, label="optimum")
    top.axhline(diagram.case.phases.represented, color="black", linewidth=0.7, linestyle=":")
    top.set(title=f"relative importance {r:.3g}", ylabel="norm of the extra feature", ylim=(-0.05, 1.5))
    variance = theory.variance(s)
    for losses, colour, label in zip(
        diagram.branch_losses(),
        (VERMILION, BLUE),
        ("with superposition", "of other minima, without superposition"),
        strict=True,
    ):
        bottom.plot(s, losses[k] / variance, "o", markersize=3, color=colour, label=f"lowest loss found {label}")
    candidates = theory.candidate_losses(r, s, diagram.case.n_features, diagram.case.n_hidden)
    for (name, loss), style in zip(candidates.items(), ("--", "-.", ":", (0, (8, 2, 1, 2, 1, 2))), strict=False):
        bottom.plot(s, loss / variance, color="black", linewidth=0.9, linestyle=style, label=f"theory: {WORDS[name]}")
    bottom.set(xscale="log", xlabel=DENSITY, ylabel="loss / Var(x$_i$)", ylim=(0, 1.4 * max(1, r)))
    bottom.xaxis.set_major_formatter("{x:g}")
    for ax in (top, bottom):
        ax.axvline(diagram.boundary().position()[k], color=GREY, linewidth=3, zorder=0)
        ax.set_xlim(s.max(), s.min())
