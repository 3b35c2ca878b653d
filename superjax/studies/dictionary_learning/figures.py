"""The figures of dictionaries: maps of what they find, curves against the penalty, and how latents lie to pairs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from superjax import plots
from superjax.plots.maps import BLACK, BLUE, GREEN, GREY, VERMILION
from superjax.studies.axes import readable_logs
from superjax.studies.captions import frame, nearest, partly, spread, training_in_words
from superjax.studies.dictionary_learning.view import (
    FOUND,
    MERGED,
    SAME,
    Dictionaries,
    Outcome,
    active_features,
    beside,
    chance_cosine,
    chance_found,
    comparable,
    dictionaries,
    hedged,
    of_true_width,
    outcomes,
)
from superjax.studies.results import Results

MAX_PANELS = 16
COLUMNS = 5
MAX_WIDTHS = 5
SHOWN = (0.5, 0.1, 0.02)  # densities of the curves
COLOURS = (VERMILION, GREEN, BLUE)
WIDTH_COLOURS = ("#e69f00", BLACK, "#56b4e9", "#cc79a7", GREEN)
EQUAL = {"color": "0.6", "linewidth": 1, "zorder": 0}  # the line of latents as near to a feature as to its partner
OUTCOMES = {
    Outcome.FOUND: (BLUE, f"mean max cosine {FOUND:g} or more"),
    Outcome.STUCK: ("#f0e442", "less, the true dictionary is better"),
    Outcome.OTHER: (VERMILION, "less, others are better than the true one"),
    Outcome.MERGED: (GREY, "the model itself merges partners"),
}
MEASURES = {  # measure -> label, and the ends of its axis
    "feature_cosine": ("features:\nmean max cosine", 0.5, 1.02),
    "latent_cosine": ("latents:\nmean max cosine", 0.5, 1.02),
    "matched_cosine": ("cosine, matched\none to one", 0.5, 1.02),
    "recovered": ("features with a\ncosine > 0.9", -0.05, 1.05),
    "dead": ("latents that\nare dead", -0.05, 1.05),
    "l0": ("active latents /\nactive features", 0, 1),
    "fvu": ("variance\nunexplained", -0.05, 1.05),
}


def figures(results: Results) -> dict[str, Figure]:
    found = {"dictionary_learning": maps(results)}
    if dictionaries(results, "trained"):
        found |= {"penalty": curves(results), "hedging": hedging(results)}
    return found


def in_words(one: Dictionaries) -> str:
    """What a dictionary is, in few words."""
    options, n = one.case.autoencoder, one.case.n_features
    assert options is not None
    count = f"{one.width} latents"
    return {
        "trained": f"{count}{', one a feature' if one.width == n else ''}, L1 penalty",
        "top K": f"{count}, TopK with K = {options.k}",
        "true start": f"{count}, L1 penalty, true start",
        "true": f"{count}, L1 penalty, true directions",
        "random": f"{count}, L1 penalty, random directions",
    }[one.role]


def maps(results: Results) -> Figure:
    """Maps over correlation and density: the model, what becomes of dictionaries, and what each kind recovers."""
    every = [
        *dictionaries(results, "trained"), *dictionaries(results, "top K"), *dictionaries(results, "true start"),
        *dictionaries(results, "random"),
    ] or dictionaries(results, "true")  # fmt: skip
    shown = [every[k] for k in spread(len(every), MAX_PANELS)]
    trained, start = of_true_width(results, "trained"), of_true_width(results, "true start")
    judged = (trained, start) if trained and start and comparable(trained, start) else None
    n_panels = len(shown) + 1 + (judged is not None)
    n_rows = -(-n_panels // COLUMNS)
    figure = Figure(figsize=(15, 3.3 * n_rows + 2.3), layout="constrained")
    grid = figure.add_gridspec(n_rows + 1, COLUMNS, height_ratios=[*[1] * n_rows, 0.06])
    axes = [figure.add_subplot(grid[divmod(k, COLUMNS)]) for k in range(n_panels)]
    cosine = _map(axes[0], shown[0], shown[0].partner_cosine(), -1.0, "PuOr_r")
    _write(axes[0], shown[0], shown[0].represented(), np.abs(shown[0].partner_cosine()) > 0.6)
    axes[0].set_title("the model: cosine of partners,\nfeatures represented", fontsize=10)
    if judged:
        _map_outcomes(axes[1], *judged)
        key = figure.add_subplot(grid[-1, 1:4])
        key.axis("off")
        handles = [Patch(color=colour, label=label) for colour, label in OUTCOMES.values()]
        key.legend(handles=handles, loc="center", ncols=2, fontsize=10, frameon=False)
    recovered = None
    for ax, one in zip(axes[1 + (judged is not None) :], shown, strict=True):
        recovered = _map(ax, one, one.best_measure("recovered"), 0.0, "viridis")
        plots.hatch(ax, one.correlation, one.density, one.partner_cosine().T >= MERGED, "///", "white")
        ax.set_title(in_words(one).replace(", ", ",\n", 1), fontsize=10)
    for k, ax in enumerate(axes):
        leftmost, lowest = k % COLUMNS == 0, k + COLUMNS >= n_panels
        ax.set(ylabel="density 1 − S" if leftmost else "", xlabel="correlation ρ of partners" if lowest else "")
        ax.tick_params(labelleft=leftmost, labelbottom=lowest)
    readable_logs(figure)
    figure.colorbar(cosine, cax=figure.add_subplot(grid[-1, 0]), orientation="horizontal", label="cosine of partners")
    figure.colorbar(recovered, cax=figure.add_subplot(grid[-1, 4]), orientation="horizontal",
                    label="features recovered (fraction)")  # fmt: skip
    case = shown[0].case
    frame(
        figure, results,
        f"Dictionaries on the hidden activations of models of n = {case.n_features} features in pairs, "
        f"m = {case.n_hidden}; at ρ = 1 partners are always active together. Recovered: fraction of the represented "
        "features whose cosine with some latent is above 0.9 (mean of restarts), at the penalty with the best mean "
        f"max cosine of features. Hatched: in the model itself partners have a cosine of {MERGED:g} or more. Second "
        f"panel: means of restarts; numbers are represented features that are not recovered. Below a mean max cosine "
        f"of {FOUND:g} the true dictionary is better where training that starts from it stays there, and what is "
        f"minimised ends below, or no more than {SAME:.0%} above, what random starts reach. Random directions: encoder "
        "and biases alone are trained. "
        f"{_training(shown[0])}{partly(len(shown), len(every), 'dictionaries')}",
        210,
    )  # fmt: skip
    return figure


def _map(ax: Axes, one: Dictionaries, values: np.ndarray, lowest: float, colours: str) -> QuadMesh:
    """A map of values (density, correlation) up to 1."""
    ax.set_yscale("log")
    return plots.value_map(ax, one.correlation, one.density, values.T, lowest, 1.0, colours)


def _map_outcomes(ax: Axes, trained: Dictionaries, start: Dictionaries) -> None:
    ax.set_yscale("log")
    colours = ListedColormap([colour for colour, _ in OUTCOMES.values()])
    edges = plots.cell_edges(trained.correlation, False), plots.cell_edges(trained.density, True)
    norm = BoundaryNorm(np.arange(-0.5, len(OUTCOMES)), len(OUTCOMES))
    ax.pcolormesh(*edges, outcomes(trained, start), cmap=colours, norm=norm, rasterized=True)
    _write(ax, trained, trained.missed().mean(-1), outcomes(trained, start) == Outcome.FOUND)
    ax.set_title(f"{trained.width} latents, one a feature, L1:\noutcome, features missed", fontsize=10)


def _write(ax: Axes, one: Dictionaries, numbers: np.ndarray, on_dark: np.ndarray) -> None:
    """A number in every cell (density, correlation), if there are not too many cells."""
    if numbers.size > 80:
        return
    for (i, j), number in np.ndenumerate(numbers):
        ax.text(one.correlation[j], one.density[i], f"{number:.3g}", ha="center", va="center", fontsize=8,
                color="white" if on_dark[i, j] else "black")  # fmt: skip


def _training(one: Dictionaries) -> str:
    options = one.case.autoencoder
    assert options is not None
    return (
        f"Each dictionary: {options.steps} steps of Adam on fresh batches of {options.batch}, learning rate "
        f"{options.learning_rate:g} falling along a cosine; one of three settings tried. Each model: "
        f"{training_in_words(one.case)}."
    )


def curves(results: Results) -> Figure:
    """A row per measure, a column per width, against the penalty, at the correlation nearest to 0; beside the true
    directions and random ones."""
    every = dictionaries(results, "trained")
    shown = [every[k] for k in spread(len(every), MAX_WIDTHS)]
    figure = Figure(figsize=(max(3.6 * len(shown) + 0.8, 8), 14.5), layout="constrained")
    grid = figure.add_gridspec(len(MEASURES) + 1, len(shown), height_ratios=[0.2, *[1] * len(MEASURES)])
    others = [("--", one) for one in dictionaries(results, "true")]
    others += [(":", one) for one in dictionaries(results, "random")]
    densities: dict[str, str] = {}
    styles, active = {"-"}, []
    for column, one in enumerate(shown):
        axes = [figure.add_subplot(grid[row + 1, column]) for row in range(len(MEASURES))]
        axes[0].set_title(in_words(one), fontsize=11)
        for style, other in [("-", one), *others]:
            if other is one or (other.width == one.width and comparable(other, one)):
                densities |= _draw_curves(axes, other, style)
                styles.add(style)
        log = bool((one.penalty > 0).all())
        edges = plots.cell_edges(one.penalty, log)
        chance = {"feature_cosine": chance_cosine, "recovered": chance_found}
        for ax, (name, (label, low, high)) in zip(axes, MEASURES.items(), strict=True):
            if name in chance:
                ax.axhline(chance[name](one.width, one.case.n_hidden), color="0.5", linewidth=2.5, alpha=0.5, zorder=0)
            ax.set(xscale="log" if log else "linear", xlim=(edges[0], edges[-1]), ylim=(low, high),
                   ylabel=label if column == 0 else "")  # fmt: skip
            ax.tick_params(labelleft=column == 0, labelbottom=ax is axes[-1])
        axes[-1].set_xlabel("penalty on the latents")
        active.append(axes[list(MEASURES).index("l0")])
    highest = max((ax.dataLim.y1 for ax in active if np.isfinite(ax.dataLim.y1)), default=1.0)
    for ax in active:
        ax.set_ylim(0, 1.05 * highest)
    labels = {"-": "trained", "--": "true directions", ":": "random directions"}
    handles = [Line2D([], [], color=colour, linewidth=3, label=label) for label, colour in densities.items()]
    handles += [
        Line2D([], [], color="0.3", linestyle=style, label=labels[style]) for style in labels if style in styles
    ]
    handles += [Line2D([], [], color="0.5", linewidth=2.5, alpha=0.5, label="random directions, closed form")]
    key = figure.add_subplot(grid[0, :])
    key.axis("off")
    key.legend(handles=handles, loc="center", ncols=4, fontsize=10, frameon=False)
    readable_logs(figure)
    lowest = float(np.min(np.abs(shown[0].correlation)))
    frame(
        figure, results,
        f"Correlation {lowest:g} of partners. Means of restarts. The mean max cosine of features is that of each "
        "feature with its nearest latent, that of latents the reverse. Active latents and features: mean numbers where "
        "some feature is active. Of the true and of random directions encoder and biases alone are trained, with the "
        f"same penalty. {_training(shown[0])}{partly(len(shown), len(every), 'widths')}",
        60 * max(len(shown), 2), 12,
    )  # fmt: skip
    return figure


def _draw_curves(axes: Sequence[Axes], one: Dictionaries, style: str) -> dict[str, str]:
    """A curve per measure and density at the correlation nearest to 0; the colours by density."""
    at, colours = int(np.argmin(np.abs(one.correlation))), {}
    for colour, cell in zip(COLOURS, nearest(one.density, SHOWN), strict=False):
        density = one.density[cell]
        colours[f"density {density:g}"] = colour
        active = active_features(one.case.n_features, density, one.correlation[at])
        for ax, name in zip(axes, MEASURES, strict=True):
            values = one.measure(name)[cell, at] / (active if name == "l0" else 1)
            ax.plot(one.penalty, values, style, color=colour, marker="o" if style == "-" else "", markersize=4)
    return colours


def hedging(results: Results) -> Figure:
    """Above, cosines of latents with their feature and with its partner, at some correlations; below, how many are
    nearest to a sum of partners, against correlation."""
    every = dictionaries(results, "trained")
    shown = [every[k] for k in spread(len(every), MAX_WIDTHS)]
    first = shown[0]
    at = spread(len(first.correlation), 3)
    figure = Figure(figsize=(12.5, 9), layout="constrained")
    key, above, below = np.ravel(figure.subfigures(3, 1, height_ratios=[0.08, 1.15, 1]))
    top = above.subplots(1, len(at), squeeze=False, sharex=True, sharey=True)[0]
    share, chance = below.subplots(1, 2, sharey=True)
    density = first.density[nearest(first.density, [0.05])[0]]
    for one, colour in zip(shown, WIDTH_COLOURS, strict=False):
        mixing, row = one.mixing(beside(results, one)), nearest(one.density, [density])[0]
        for ax, correlation in zip(top, first.correlation[at], strict=True):
            column = int(np.argmin(np.abs(one.correlation - correlation)))
            ax.plot(mixing.nearest[row, column].ravel(), mixing.partner[row, column].ravel(), "o", color=colour,
                    markersize=5, alpha=0.6)  # fmt: skip
        for ax, shares in zip((share, chance), hedged(results, one), strict=True):
            if len(shares):
                ax.plot(one.correlation, shares.mean(0), "o-", color=colour)
                ax.fill_between(one.correlation, shares.min(0), shares.max(0), color=colour, alpha=0.15, linewidth=0)
    for ax, correlation in zip(top, first.correlation[at], strict=True):
        ax.plot([0, np.sqrt(0.5)], [0, np.sqrt(0.5)], **EQUAL)
        ax.set(xlabel="cosine with the nearest feature", title=f"ρ = {correlation:g}", xlim=(0.3, 1.03),
               ylim=(-1.03, 1.03))  # fmt: skip
        ax.plot(1, 0, "*", color=VERMILION, markersize=12, zorder=3)
        ax.plot(np.sqrt(0.5), np.sqrt(0.5), "P", color=VERMILION, markersize=9, zorder=3)
    top[0].set_ylabel("cosine with its partner")
    share.set(xlabel="correlation ρ of partners", ylim=(-0.03, 1.03), title="sums of partners",
              ylabel="latents nearest to a sum of two\nfeatures, not to a feature (fraction)")  # fmt: skip
    chance.set(xlabel="correlation ρ of partners", title="sums of features that are no partners, as many")
    handles = [Line2D([], [], color=colour, marker="o", label=f"{one.width} latents") for one, colour in
               zip(shown, WIDTH_COLOURS, strict=False)]  # fmt: skip
    handles += [
        Line2D(
            [], [], color=VERMILION, marker="*", markersize=12, linestyle="", label="a feature, partners orthogonal"
        ),
        Line2D([], [], color=VERMILION, marker="P", markersize=9, linestyle="", label="the sum of both"),
        Line2D([], [], **EQUAL, label="as near to both"),
    ]
    key.legend(handles=handles, loc="center", ncols=len(handles), fontsize=10, frameon=False)
    frame(
        figure, results,
        f"Do latents mix partners? n = {first.case.n_features}. Above: all latents and restarts at density "
        f"{density:g}. Below: means of densities up to 0.1 and of restarts; bands: from the lowest to the "
        f"highest; pairs whose cosine in the model is {MERGED:g} or more are left out. All at the penalty that is "
        f"best for one latent a feature. {_training(first)}{partly(len(shown), len(every), 'widths')}",
        170,
    )  # fmt: skip
    return figure
