"""The figures of the phase diagram with correlation: a map per correlation, and where its boundary goes."""

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from superjax import plots
from superjax.plots.canvas import fitted
from superjax.plots.maps import MEASURED_LINE, THEORY_LINE
from superjax.reference import theory
from superjax.studies.captions import frame, partly, spread, training_in_words
from superjax.studies.claim import signed
from superjax.studies.correlated_phase_diagram.view import MERGED, antipodal_boundary, optimum_kinds, slices
from superjax.studies.diagram import Diagram
from superjax.studies.phase_diagram.figures import set_scales
from superjax.studies.results import Results

IMPORTANCES = (0.1, 0.3, 1.0)  # at which the boundary is drawn against the correlation
COLOURS = ("#0072b2", "#009e73", "#d55e00")
COLUMNS = 5
MAX_PANELS = 20
MAX_ROWS = 6  # cases of a figure
MAX_CURVES = 16
_NEAR = 0.15  # correlations that are nearer have no room for two numbers
_BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "frameon": False, "columnspacing": 1.0}


def figures(results: Results) -> dict[str, Figure]:
    return {"correlated_phase_diagram": panels(results), "boundaries": boundaries(results)}


def panels(results: Results) -> Figure:
    """A map per correlation: phase of the extra feature in the optimum, merged cells hatched."""
    every = list(slices(results))
    shown = [every[k] for k in spread(len(every), MAX_PANELS)]
    columns, n_rows = min(len(shown), COLUMNS), math.ceil(len(shown) / COLUMNS)
    figure = Figure(figsize=(2.7 * max(columns, 4) + 1, 2.9 * n_rows + 1.8), layout="constrained")
    grid = figure.add_gridspec(n_rows + 1, columns, height_ratios=[*[1] * n_rows, 0.12])
    axes = [figure.add_subplot(grid[divmod(k, columns)]) for k in range(len(shown))]
    for k, (ax, (name, rho, diagram)) in enumerate(zip(axes, shown, strict=True)):
        x, y = diagram.importance, diagram.density
        set_scales(ax, diagram)
        plots.phase_map(ax, x, y, diagram.extra("optimum_phase"))
        plots.hatch(ax, x, y, optimum_kinds(diagram) == MERGED, "///", "white")
        if rho == 0:
            fine = np.geomspace(x.min(), x.max(), 201)
            ax.plot(fine, theory.superposition_boundary(fine, 2, 1), **THEORY_LINE)
        ax.plot(x, antipodal_boundary(diagram).position(), **MEASURED_LINE)
        several = f"{fitted(name, 1.6, 11)}: " if len(results.datasets) > 1 else ""
        ax.set_title(f"{several}ρ = {rho:g}{_in_words(rho)}", fontsize=11)
        lowest, leftmost = k + columns >= len(shown), k % columns == 0
        ax.set(
            xlabel="relative importance" if lowest else "",
            ylabel="density 1 − S" if leftmost else "",
        )
        ax.tick_params(labelbottom=lowest, labelleft=leftmost)
    handles = [
        *plots.phase_handles(any(bool((data["diverged_at"] >= 0).any()) for data in results.datasets.values())),
        Patch(facecolor=plots.PHASE_COLOURS["superposed"], edgecolor="white", hatch="///",
              label="superposed and merged (same direction)"),
        Line2D([], [], **MEASURED_LINE, label="antipodal below (measured)"),
        *[Line2D([], [], **THEORY_LINE, label="theory of independent features (panel ρ = 0)")] * any(
            rho == 0 for _, rho, _ in shown
        ),
    ]  # fmt: skip
    key = figure.add_subplot(grid[-1, :])
    key.axis("off")
    key.legend(handles=handles, loc="center", ncols=3, fontsize=10, frameon=False)
    case = shown[0][2].case
    frame(
        figure, results,
        "Phase of the extra feature in the optimum of the exact loss, n = 2, m = 1. Both features are one set: at "
        "ρ = 1 always active together, at ρ = −1 as rarely as their density allows, never below density 1/2. "
        "Superposed without hatching: antipodal, in opposite directions. Relative importance is that of the extra "
        "feature; the other has 1. "
        f"{len(shown)} x {len(shown[0][2].importance)} x {len(shown[0][2].density)} cells x {case.restarts} restarts, "
        f"transplanted between neighbouring cells and polished. Each model: {training_in_words(case)}."
        f"{partly(len(shown), len(every), 'correlations')}",
        255,
    )  # fmt: skip
    return figure


def _in_words(rho: float) -> str:
    return {-1.0: " (anticorrelated)", 0.0: " (independent)", 1.0: " (one coin for both)"}.get(rho, "")


def boundaries(results: Results) -> Figure:
    """A row per case: the antipodal boundary against importance and against correlation, and the overlap at equal
    importance."""
    names = list(results.datasets)[:MAX_ROWS]
    figure = Figure(figsize=(14.5, 4.9 * len(names) + 1.4), layout="constrained")
    for name, axes in zip(names, figure.subplots(len(names), 3, squeeze=False), strict=True):
        by_rho = {rho: diagram for case, rho, diagram in slices(results) if case == name}
        _draw_against_importance(axes[0], by_rho)
        _draw_against_correlation(axes[1], by_rho)
        mesh = _draw_overlap(axes[2], by_rho)
        figure.colorbar(mesh, ax=axes[2], label="inner product of both features' weights (optimum)")
    frame(
        figure, results,
        "Left and middle, dots: density below which the optimum of n = 2, m = 1 is antipodal; there is none where "
        "the dots end. Lines: closed form for weights [1, −1] against one feature alone or the merged pair [1, 1]/√2. "
        "Right: the optimum where both features are equally important, and the closed form's boundary. "
        f"Each model: {training_in_words(results.sweep.cases[names[0]])}; transplanted between neighbouring cells and "
        f"polished.{partly(len(names), len(results.datasets), 'cases')}"
        f"{partly(MAX_CURVES, max(data.sizes['correlation'] for data in results.datasets.values()), 'curves left')}",
        250,
    )  # fmt: skip
    return figure


def _draw_against_importance(ax: Axes, by_rho: dict[float, Diagram]) -> None:
    shown = [sorted(by_rho)[k] for k in spread(len(by_rho), MAX_CURVES)]
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(shown)))
    for colour, rho in zip(colours, shown, strict=True):
        diagram = by_rho[rho]
        x, position = diagram.importance, antipodal_boundary(diagram).position()
        fine = np.geomspace(x.min(), x.max(), 401)
        closed = theory.pair_boundary(fine, rho)
        never = "" if np.isfinite(position).any() else ": never"
        ax.plot(fine, np.where(closed > 0, closed, np.nan), color=colour, linewidth=1)
        ax.plot(x, position, ".", color=colour, markersize=5, label=f"ρ = {rho:g}{never}")
        set_scales(ax, diagram)
    ax.set(xlabel="relative importance", ylabel="density 1 − S", title="Pairs are antipodal below")
    ax.legend(fontsize=9, ncols=3, **_BELOW)


def _draw_against_correlation(ax: Axes, by_rho: dict[float, Diagram]) -> None:
    rhos = np.array(sorted(by_rho))
    for wanted, colour, marker in zip(IMPORTANCES, COLOURS, "os^", strict=True):
        column = by_rho[rhos[0]].column(wanted)
        r = by_rho[rhos[0]].importance[column]
        fine = np.linspace(-1, 1, 801)
        closed = theory.pair_boundary(r, fine)
        ax.plot(fine, np.where(closed > 0, closed, np.nan), color=colour, linewidth=1)
        position = [antipodal_boundary(by_rho[rho]).position()[column] for rho in rhos]
        ax.plot(rhos, position, marker, color=colour, label=f"relative importance {r:.2g}")
    _, y = by_rho[rhos[0]].importance, plots.cell_edges(by_rho[rhos[0]].density, True)
    ax.set(yscale="log", ylim=(y.min(), y.max()), xlim=(-1.05, 1.05), xlabel="correlation ρ", ylabel="density 1 − S",
           title="The boundary against correlation")  # fmt: skip
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend(fontsize=9, ncols=1, **_BELOW)


def _draw_overlap(ax: Axes, by_rho: dict[float, Diagram]):
    rhos = np.array(sorted(by_rho))
    diagram = by_rho[rhos[0]]
    column, y = diagram.column(1.0), diagram.density
    W = np.stack([by_rho[rho].data["optimum_W"].isel(importance=column, hidden=0).values for rho in rhos])
    ax.set(yscale="log")
    mesh = plots.value_map(ax, rhos, y, W.prod(-1), -1.0, 1.0, "PuOr")
    fine = np.linspace(-1, 1, 801)
    closed = theory.pair_boundary(diagram.importance[column], fine)
    ax.plot(fine, np.where(closed > 0, closed, np.nan), **THEORY_LINE, label="antipodal below (closed form)")
    edges = plots.cell_edges(y, True)
    ax.set(ylim=(edges.min(), edges.max()), xlabel="correlation ρ", ylabel="density 1 − S",
           title=f"Antipodal (−) or merged (+), relative importance {diagram.importance[column]:.2g}")  # fmt: skip
    labelled = [rhos[0]]
    for rho in rhos[1:]:
        if rho - labelled[-1] > _NEAR:
            labelled.append(rho)
    ax.set_xticks(labelled, [signed(f"{rho:g}") for rho in labelled], rotation=90)
    ax.set_xticks(rhos, minor=True)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend(fontsize=9, **_BELOW)
    return mesh
