"""The figure of five features in the plane."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superjax import analysis, plots
from superjax.plots.maps import OKABE_ITO
from superjax.reference import theory
from superjax.spec import Case
from superjax.studies.captions import frame, nearest, partly, training_in_words
from superjax.studies.five_features.view import losses_of_the_most_important, switches
from superjax.studies.results import Results, known
from superjax.studies.solutions import Switch, best, best_names, lowest_losses

SHOWN = (1.0, 0.65, 0.5, 0.2, 0.15, 0.1, 0.05)  # densities
DARK_GREY = "0.55"
COLOURS = OKABE_ITO[:6]


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    return {name: five_features(results, name, switches(data)) for name, data in results.datasets.items()}


def five_features(results: Results, name: str, switches: Sequence[Switch]) -> Figure:
    """Above, the columns of W of the best model at some densities; below, the lowest loss of every solution."""
    case, data = results.sweep.cases[name], results.datasets[name]
    density, names = data["density"].values, best_names(data)
    cells = nearest(density, SHOWN)
    W = best(data, "W").transpose("density", "hidden", "feature").values
    scale = plots.importance_scale(np.array(case.importance_vector()))

    figure = Figure(figsize=(1.75 * max(len(cells), 5), 7.6), layout="constrained")
    top, bottom = np.ravel(figure.subfigures(2, 1, height_ratios=[1, 1.8]))
    panels = top.subplots(1, len(cells), squeeze=False)[0]
    for ax, cell in zip(panels, cells, strict=True):
        plots.vectors(ax, analysis.canonical(W[cell]), scale.to_rgba(case.importance_vector()))
        ax.set_title(f"density {density[cell]:.3g}\nS = {1 - density[cell]:.3g}\n{names[cell]}", fontsize=10)
        ax.label_outer()
    top.colorbar(scale, ax=list(panels), label="importance", shrink=0.6)
    _draw_losses(bottom.subplots(), case, data, switches)
    frame(
        figure, results,
        f"n = {case.n_features}, m = {case.n_hidden}, importance {_importance(case)}: {len(density)} densities x "
        f"{case.restarts} restarts, of which the one of lowest loss is drawn, turned to a canonical position. Each "
        f"model: {training_in_words(case)}. A solution is named after the polytopes that its features of norm ≥ "
        f"{case.phases.represented:g} form, if no overlap is further than {analysis.TOLERANCE:g} from the ideal one's, "
        "and else called other. Colours below: solutions of the most important features that are the best somewhere; "
        f"a curve ends where no restart found one.{partly(len(cells), len(density), 'densities above')}",
        180,
    )  # fmt: skip
    return figure


def _draw_losses(ax: Axes, case: Case, data: xr.Dataset, switches: Sequence[Switch]) -> None:
    importance, density, names = np.array(case.importance_vector()), data["density"].values, best_names(data)
    unit = np.sum(importance) * theory.variance(density)
    winners = list(dict.fromkeys(names[np.argsort(-density)]))
    for k, loss in enumerate(loss for solution, loss in lowest_losses(data).items() if solution not in winners):
        ax.plot(density, loss / unit, ".-", color=DARK_GREY, linewidth=1, markersize=5,
                label="_" if k else "solutions that are nowhere the best")  # fmt: skip
    losses = losses_of_the_most_important(data, importance)
    for solution, colour in zip(winners, np.resize(COLOURS, len(winners)), strict=True):
        if solution in losses:
            style = "o" if solution == "other" else "o-"  # no one solution: not joined
            ax.plot(density, losses[solution] / unit, style, color=colour, markersize=4, linewidth=1.5, label=solution)
    for k, switch in enumerate(switches):
        ax.axvline(switch.density, color="black", linewidth=0.8, linestyle=":")
        ax.text(switch.density, 0.02 + 0.05 * (k % 4), f" {switch.density:.3g}", transform=ax.get_xaxis_transform())
    ax.set(xscale="log", xlim=(density.max() * 1.03, density.min() / 1.03), ylim=(0, 0.7))
    ax.set_xlabel("density 1 − S", fontsize=11)
    ax.set_ylabel("loss / loss of predicting the means", fontsize=11)
    ax.set_xticks([1, 0.5, 0.2, 0.1, 0.05], ["1", "0.5", "0.2", "0.1", "0.05"], minor=False)
    ax.minorticks_off()
    ax.set_title("Lowest loss of every solution found; dotted: the best one changes", fontsize=11, pad=28)
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: labels[k].startswith("solutions"))
    ax.legend([handles[k] for k in order], [labels[k] for k in order], loc="lower center", bbox_to_anchor=(0.5, 1),
              ncols=len(labels), frameon=False, fontsize=10)  # fmt: skip


def _importance(case: Case) -> str:
    return ", ".join(f"{value:.3g}" for value in case.importance_vector())
