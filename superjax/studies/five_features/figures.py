"""The figure of five features in the plane."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from superjax import analysis, plots
from superjax.plots.maps import GREY
from superjax.reference import theory
from superjax.studies.captions import frame, nearest, partly, training_in_words
from superjax.studies.five_features.view import switches
from superjax.studies.results import Results, known
from superjax.studies.solutions import Switch, best, best_names, lowest_losses

SHOWN = (1.0, 0.65, 0.5, 0.2, 0.15, 0.1, 0.05)  # densities
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


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

    figure = Figure(figsize=(2.2 * max(len(cells), 5), 8.2), layout="constrained")
    top, bottom = np.ravel(figure.subfigures(2, 1, height_ratios=[1, 1.7]))
    panels = top.subplots(1, len(cells), squeeze=False)[0]
    for ax, cell in zip(panels, cells, strict=True):
        plots.vectors(ax, analysis.canonical(W[cell]), scale.to_rgba(case.importance_vector()))
        ax.set_title(f"density {density[cell]:.3g}\nS = {1 - density[cell]:.3g}\n{names[cell]}", fontsize=10)
        ax.label_outer()
    top.colorbar(scale, ax=list(panels), label="importance", shrink=0.6)

    ax = bottom.subplots()
    unit = np.sum(case.importance_vector()) * theory.variance(density)
    winners = list(dict.fromkeys(names[np.argsort(-density)]))
    losses = lowest_losses(data)
    for other in (loss for solution, loss in losses.items() if solution not in winners):
        ax.plot(density, other / unit, ".-", color=GREY, linewidth=0.8, markersize=3, label="other local minima")
    for solution, colour in zip(winners, np.resize(COLOURS, len(winners)), strict=True):
        ax.plot(density, losses[solution] / unit, "o-", color=colour, markersize=4, linewidth=1.5, label=solution)
    for k, switch in enumerate(switches):
        ax.axvline(switch.density, color="black", linewidth=0.8, linestyle=":")
        ax.text(switch.density, 0.02 + 0.05 * (k % 4), f" {switch.density:.3g}", transform=ax.get_xaxis_transform())
    ax.set(xscale="log", xlim=(density.max() * 1.03, density.min() / 1.03), ylim=(0, 0.7), xlabel="density 1 − S",
           ylabel="loss / loss of predicting the means")  # fmt: skip
    ax.set_xticks([1, 0.5, 0.2, 0.1, 0.05], ["1", "0.5", "0.2", "0.1", "0.05"], minor=False)
    ax.minorticks_off()
    ax.set_title("Lowest loss of every solution found; dotted: the best one changes", fontsize=11)
    labelled = {line.get_label(): line for line in sorted(ax.lines, key=lambda line: line.get_color() == GREY)}
    ax.legend(handles=[line for label, line in labelled.items() if not label.startswith("_")], loc="upper right")
    frame(
        figure, results,
        f"n = {case.n_features}, m = {case.n_hidden}: {len(density)} densities x {case.restarts} restarts, of which "
        f"the one of lowest loss is drawn, turned to a canonical position. Each model: {training_in_words(case)}. "
        f"A solution is named after the polytopes that its features of norm ≥ {case.phases.represented:g} form, if no "
        f"overlap is further than {analysis.TOLERANCE:g} from the ideal one's, and else called other."
        f"{partly(len(cells), len(density), 'densities above')}",
        220,
    )  # fmt: skip
    return figure
