"""The figures of the phase diagram: maps of theory, optimum and restarts, and cuts at fixed importance."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREY, MEASURED_LINE, THEORY_LINE, VERMILION
from superjax.reference import theory
from superjax.studies.captions import frame, partly, training_in_words
from superjax.studies.diagram import Diagram, diagrams
from superjax.studies.results import Results

CUTS = (0.3, 1.0)  # relative importances
MAX_ROWS = 8  # cases of a figure
SMALL_MARGIN = 0.1  # a phase is hatched if its deciding quantity is this near to the threshold


def figures(results: Results) -> dict[str, Figure]:
    return {"phase_diagram": phase_diagram(results), "cuts": cuts(results)}


def phase_diagram(results: Results) -> Figure:
    """A row per case: theory, optimum, typical outcome, restarts that reach the optimum, gap to the next phase."""
    shown = diagrams(results)[:MAX_ROWS]
    figure = Figure(figsize=(19, 4.0 * len(shown) + 2.0), layout="constrained")
    rows = figure.subplots(len(shown) + 1, 5, height_ratios=[*[1] * len(shown), 0.13], squeeze=False)
    meshes = []
    for diagram, axes in zip(shown, rows, strict=False):
        for ax in axes:
            set_axes(ax, diagram)
        axes[0].set_ylabel(f"{diagram.title}\n\n{axes[0].get_ylabel()}")
        meshes = _draw_row(diagram, axes)
    titles = (
        "Theory\n(closed forms, extra feature)",
        "Optimum\n(phase of the extra feature)",
        outcome_title(shown[0].case.restarts),
        "Restarts that reach the optimum",
        "Gap to the best solution\nin other phases",
    )
    for ax, title in zip(rows[0], titles, strict=True):
        ax.set_title(title)
    _draw_keys(figure, rows[-1], meshes, any_diverged(shown))
    frame(figure, results, f"{caption(shown)}{partly(len(shown), len(results.datasets), 'cases')}", 290, 15)
    return figure


def set_axes(ax: Axes, diagram: Diagram) -> None:
    ax.set(xscale="log", yscale="log", xlabel="relative importance of the extra feature", ylabel="density 1 − S")
    x, y = plots.cell_edges(diagram.importance, True), plots.cell_edges(diagram.density, True)
    ax.set(xlim=(x.min(), x.max()), ylim=(y.max(), y.min()))  # sparser upwards, as in the paper


def _draw_row(diagram: Diagram, axes: np.ndarray) -> list:
    x, y = diagram.importance, diagram.density
    fine = np.geomspace(x.min(), x.max(), 401)
    theory_line = theory.superposition_boundary(fine, diagram.case.n_features, diagram.case.n_hidden)
    measured = diagram.boundary()

    plots.phase_map(axes[0], x, y, diagram.theory_phase())
    axes[0].plot(fine, theory_line, **THEORY_LINE)
    plots.phase_map(axes[1], x, y, diagram.extra("optimum_phase"))
    axes[1].plot(fine, theory_line, **THEORY_LINE, label="theory")
    axes[1].plot(x, measured, **MEASURED_LINE, label="measured")
    axes[1].legend(loc="lower left", fontsize=8, facecolor="0.6")
    plots.hatch(axes[1], x, y, diagram.extra("optimum_margin") < SMALL_MARGIN, "....")
    plots.typical_map(axes[2], x, y, diagram.extra("typical_norm"), diagram.extra("typical_interference"))
    agreement, success = diagram.data["agreement"].values, diagram.data["success"].values
    plots.hatch(axes[2], x, y, agreement < 1 - diagram.case.plot.threshold)
    fraction = plots.value_map(axes[3], x, y, success)
    for ax in axes[2:4]:
        plots.hatch(ax, x, y, (diagram.data["diverged_at"].values >= 0).any(-1), "xxxx", "black")
    gap = plots.gap_map(axes[4], x, y, diagram.data["gap"].values)
    for ax, colour in zip(axes[2:], ("black", "white", "white"), strict=True):
        ax.plot(x, measured, color=colour, linewidth=1, linestyle=(0, (3, 2)))
    return [fraction, gap]


def any_diverged(shown: list[Diagram]) -> bool:
    return any(bool((diagram.data["diverged_at"] >= 0).any()) for diagram in shown)


def _draw_keys(figure: Figure, axes: np.ndarray, meshes: list, diverged: bool) -> None:
    axes[0].axis("off")
    axes[0].legend(
        handles=plots.phase_handles(diverged), loc="center", ncols=2 if diverged else 3, frameon=False, columnspacing=1
    )
    axes[1].axis("off")
    axes[1].text(0.5, 0.5, f"dotted: margin of the phase below {SMALL_MARGIN:.0%}\n"
                 "lines: boundary of superposition (any features)", ha="center", va="center")  # fmt: skip
    plots.typical_key(axes[2])
    for ax, mesh, label in zip(
        axes[3:],
        meshes,
        ("fraction of restarts", "relative gap in loss (white: none found)"),
        strict=True,
    ):
        bar = figure.colorbar(mesh, cax=ax, orientation="horizontal", extend="neither")
        bar.set_label(label)


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
    return (
        f"{grids}. {training} "
        f"A feature is represented if its norm is at least {case.phases.represented:g}, and then superposed if its "
        f"interference with represented features is at least {case.phases.superposed:g}. Optimum: best restarts, "
        f"transplanted between neighbouring cells and polished. Typical outcome hatched where fewer than "
        f"{1 - case.plot.threshold:.0%} of restarts have the optimum's phases; crosses: some restarts diverged."
    )


def outcome_title(restarts: int) -> str:
    dropped = analysis.dropped(restarts)
    return f"Typical outcome\n(worst {dropped} of {restarts} dropped, others averaged)"


def cuts(results: Results) -> Figure:
    """Norm of the extra feature and loss of both branches against density, at the importances of CUTS."""
    shown = diagrams(results)[:MAX_ROWS]
    figure = Figure(figsize=(6.5 * len(CUTS), 6.0 * len(shown) + 1.2), layout="constrained")
    for diagram, part in zip(shown, np.atleast_1d(figure.subfigures(len(shown), 1)), strict=True):
        part.suptitle(diagram.title)
        rows = part.subplots(2, len(CUTS), sharex=True, squeeze=False)
        for column, wanted in enumerate(CUTS):
            _draw_cut(diagram, wanted, rows[0, column], rows[1, column])
    frame(
        figure, results,
        f"Columns of the maps at the importances nearest to {' and '.join(f'{r:g}' for r in CUTS)}; grey bar: boundary "
        f"of superposition; dotted: norm from which a feature is represented."
        f"{partly(len(shown), len(results.datasets), 'cases')}", 160,
    )  # fmt: skip
    return figure


def _draw_cut(diagram: Diagram, wanted: float, top: Axes, bottom: Axes) -> None:
    k = diagram.column(wanted)
    r, s = diagram.importance[k], diagram.density
    norms = diagram.data["norm"].isel(importance=k, feature=-1).values
    top.plot(np.repeat(s, norms.shape[-1]), norms.ravel(), ".", color="0.7", markersize=2.5, label="restarts")
    top.plot(s, diagram.extra("typical_norm")[k], color=BLUE, label="typical outcome")
    top.plot(s, diagram.extra("optimum_norm")[k], "-", color=VERMILION, linewidth=2, label="optimum")
    top.axhline(diagram.case.phases.represented, color="black", linewidth=0.7, linestyle=":")
    top.set(title=f"relative importance {r:.3g}", ylabel="norm of the extra feature", ylim=(-0.05, 1.5))
    variance = theory.variance(s)
    for losses, colour, label in zip(
        diagram.branch_losses(), (VERMILION, BLUE), ("with superposition", "without superposition"), strict=True
    ):
        bottom.plot(s, losses[k] / variance, "o", markersize=3, color=colour, label=f"lowest loss found {label}")
    candidates = theory.candidate_losses(r, s, diagram.case.n_features, diagram.case.n_hidden)
    for (name, loss), style in zip(candidates.items(), ("--", "-.", ":", (0, (1, 3))), strict=False):
        label = f"theory: {name.replace('_', ' ')}"
        bottom.plot(s, loss / variance, color="black", linewidth=0.8, linestyle=style, label=label)
    bottom.set(xscale="log", xlabel="density 1 − S", ylabel="loss / Var(x$_i$)", ylim=(0, 1.4 * max(1, r)))
    for ax in (top, bottom):
        ax.axvline(diagram.boundary()[k], color=GREY, linewidth=3, zorder=0)
        ax.set_xlim(s.max(), s.min())
        ax.legend(fontsize=7.5)
