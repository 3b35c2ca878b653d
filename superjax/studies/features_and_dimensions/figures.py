"""The figure of features and dimensions: counts against m, features per dimension against density, the constant."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superjax.plots.canvas import fitted
from superjax.plots.maps import BLUE, GREY, VERMILION
from superjax.studies.axes import readable_logs
from superjax.studies.captions import frame, partly, spread, training_in_words
from superjax.studies.features_and_dimensions.claims import held_in_words
from superjax.studies.features_and_dimensions.view import FULL, SPARSE, Counts, every, scaling
from superjax.studies.results import Results

MAX_ROWS, MAX_LINES = 6, 12


def figures(results: Results) -> dict[str, Figure]:
    return {"features_and_dimensions": panels(results)}


def panels(results: Results) -> Figure:
    """A row per case."""
    cases = every(results)
    shown = cases[:MAX_ROWS]
    figure = Figure(figsize=(14.5, 4.6 * len(shown) + 1.2), layout="constrained")
    for counts, axes in zip(shown, figure.subplots(len(shown), 3, squeeze=False), strict=True):
        _against_dimensions(axes[0], counts)
        _against_density(axes[1], counts)
        _constant(axes[2], counts)
        if len(cases) > 1:
            axes[0].set_title(f"{fitted(counts.name, 2)}: {axes[0].get_title()}", fontsize=11)
    readable_logs(figure)
    counts = shown[0]
    frame(
        figure, results,
        f"n = {counts.case.n_features} alike features, {training_in_words(counts.case)}, {counts.case.restarts} "
        f"restarts; a feature is represented from norm {counts.case.phases.represented:g} on. Left: the restart of "
        "lowest loss; lines by least squares. Hollow: at least "
        f"{FULL:.0%} of all features are represented, so that n and not m limits the count; these are not fitted. "
        "Middle: features per dimension that a model holds, and slopes of the lines, which say how many one more "
        "dimension adds. Dots are the best restarts, bars go from the lowest to the highest of single restarts; curves "
        f"are fitted at densities s = 1 − S below 1/e = {SPARSE:.2f}. Right: both over 1 / (−s ln s), of every "
        f"restart. One of two settings tried.{partly(len(shown), len(cases), 'cases')}", 250,
    )  # fmt: skip
    return figure


def _against_dimensions(ax: Axes, counts: Counts) -> None:
    shown = spread(len(counts.density), MAX_LINES)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(shown)))
    order = sorted(shown, key=lambda k: -counts.density[k])
    fine, lines = np.array([counts.m.min(), counts.m.max()]), counts.lines()
    for colour, k in zip(colours, order, strict=True):
        full, one = counts.full()[:, k], lines[k]
        ax.plot(counts.m[~full], counts.best[~full, k], "o", color=colour, label=f"{counts.density[k]:.2g}")
        ax.plot(counts.m[full], counts.best[full, k], "o", color=colour, markerfacecolor="white")
        if np.isfinite(one.slope):
            ax.plot(fine, one.intercept + one.slope * fine, color=colour, linewidth=1)
    ax.axhline(counts.case.n_features, color=GREY, linewidth=1.5, zorder=0)
    top = 1.08 * max(np.nanmax(counts.best, initial=1), 1)
    ax.set(xlabel="hidden dimensions m", ylabel="features represented", title="Linear in the dimensions",
           xlim=(0, counts.m.max() * 1.05), ylim=(0, top))  # fmt: skip
    ax.legend(title="density 1 − S", fontsize=9, title_fontsize=9.5, loc="center left", bbox_to_anchor=(1, 0.5),
              frameon=False)  # fmt: skip


def _measures(counts: Counts):
    """Features per dimension by either measure: words, of the best and of single restarts, and how it is drawn."""
    return (
        (held_in_words(counts), counts.held(), counts.held_by_restart(), BLUE, "o", "-"),
        ("slope of the line", counts.slopes(), counts.slopes_by_restart(), VERMILION, "^", "--"),
    )


def _against_density(ax: Axes, counts: Counts) -> None:
    s = counts.density
    low, high = min(s.min(), 0.3), max(s.max(), 0.5)
    fine = np.geomspace(low, SPARSE, 201)
    for words, best, single, colour, marker, style in _measures(counts):
        known = np.isfinite(single).any(1)
        if known.any():
            ends = np.nanmin(single[known], axis=1), np.nanmax(single[known], axis=1)
            ax.vlines(s[known], *ends, color=colour)
        ax.plot(s, best, marker, color=colour, label=words)
        constant = counts.constant(best)
        if np.isfinite(constant):
            ax.plot(fine, constant * scaling(fine), style, color=colour, linewidth=1,
                    label=f"{constant:.2g} / (−s ln s)")  # fmt: skip
    ax.axhline(1, color=GREY, zorder=0)
    ax.set(xscale="log", yscale="log", xlim=(high * 1.1, low / 1.1), xlabel="density 1 − S",
           ylabel="features per dimension", title="Sparser data: more features per dimension")  # fmt: skip
    ax.legend(fontsize=9.5, loc="upper left", frameon=False, title="curves: compressed sensing", title_fontsize=9.5)


def _constant(ax: Axes, counts: Counts) -> None:
    highest = 0.0
    for _, best, single, colour, marker, style in _measures(counts):
        constants = counts.constants(single)
        s = np.repeat(counts.density[:, None], constants.shape[1], axis=1)
        ax.plot(s.ravel(), constants.ravel(), marker, color=colour, alpha=0.7)
        if np.isfinite(counts.constant(best)):
            ax.axhline(counts.constant(best), color=colour, linestyle=style, linewidth=1)
        highest = max(highest, np.nanmax(constants, initial=0))
    ax.set(xscale="log", xlim=(max(counts.density.max(), 0.5) * 1.1, min(counts.density.min(), 0.3) / 1.1),
           ylim=(0, 1.25 * highest if highest > 0 else 1), xlabel="density 1 − S",
           ylabel="features per dimension × (−s ln s)", title="The constant")  # fmt: skip
