"""The figures of attacks: vulnerability beside features per dimension; which kind of attack does how much."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from superjax.plots.maps import BLUE, GREEN, VERMILION
from superjax.studies.adversarial.view import KINDS, Attacked, attacked
from superjax.studies.axes import readable_logs
from superjax.studies.captions import frame, training_in_words
from superjax.studies.results import Results, known

_ONE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
_COLOURS = dict(zip(KINDS, (BLUE, VERMILION, GREEN, "0.55"), strict=True))
_TOGETHER, _APART = "one attack for all inputs", "each input its worst direction"


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    if not (shown := attacked(results)):
        return {}
    name = results.sweep.name
    return {name: vulnerability(results, shown), f"{name}_attacks": kinds(results, shown)}


def vulnerability(results: Results, shown: list[Attacked]) -> Figure:
    """A column for every case: vulnerability and features per dimension against sparsity, and one against the other."""
    figure = Figure(figsize=(6.2 * len(shown) + 0.8, 13), layout="constrained")
    rows = figure.subplots(3, len(shown), height_ratios=[1.3, 0.8, 1.2], squeeze=False)
    for column, (case, (top, middle, bottom)) in enumerate(zip(shown, rows.T, strict=True)):
        _vulnerable(top, case)
        _per_dimension(middle, case)
        points = _against(bottom, case)
        top.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=9, frameon=False, title=case.name,
                   title_fontsize=12)  # fmt: skip
        if column == 0:
            for ax, label in ((top, "vulnerability, relative to the\nmodel without superposition"),
                              (middle, "features per dimension\n‖W‖² / m"),
                              (bottom, "vulnerability")):  # fmt: skip
                ax.set_ylabel(label)
        if column == len(shown) - 1:
            figure.colorbar(points, ax=bottom, label="density 1 − S")
    for ax in rows[0]:
        _same_limits(rows[0], ax)
    readable_logs(figure)
    frame(
        figure, results,
        f"L2 attacks of {_size(shown[0])} times the mean norm of an input (inputs of 0 included). Blue: the same "
        "attack on all inputs, the most harmful that was found; it and its kind are scored on other inputs than they "
        "were chosen on. Dots are models, lines medians of restarts. Orange: every input gets the analytic direction "
        "that is worst for it (other attacks may exceed it). Grey: the derived ratio of the most vulnerable feature, "
        "which counts one output as if it were always on. Black: second order in the attack, with how often outputs "
        "are on. The model without superposition loses ε² max I to either attack. Rank correlations are over all "
        "models, with 95% intervals if densities are drawn anew (if restarts are, they are narrower). "
        f"{_fits(shown)}",
        185 if len(shown) > 1 else 95,
    )  # fmt: skip
    return figure


def kinds(results: Results, shown: list[Attacked]) -> Figure:
    """A column for every case: what each kind of attack does relative to the analytic one, and losses."""
    figure = Figure(figsize=(6.2 * len(shown) + 0.4, 9), layout="constrained")
    rows = figure.subplots(2, len(shown), squeeze=False)
    for column, (case, (top, bottom)) in enumerate(zip(shown, rows.T, strict=True)):
        x = 1 / case.density
        for number, (kind, label) in enumerate(KINDS.items()):
            _band(top, x, case.relative_harm[..., number], _COLOURS[kind], label)
        top.axhline(1, **_ONE)
        top.set(ylim=(0, None), title=case.name)
        clean, baseline = case.of("attack_clean_loss"), case.of_cells("attack_baseline")[:, None]
        under, each = (clean + values * baseline for values in (case.vulnerability, case.each))
        for values, colour, label in ((clean, "black", "without attack"), (under, BLUE, _TOGETHER),
                                      (each, VERMILION, _APART)):  # fmt: skip
            _band(bottom, x, values, colour, label)
        bottom.set(yscale="log")
        for ax in (top, bottom):
            ax.set(xscale="log", xlabel="1 / (1 − S)")
            ax.legend(fontsize=9, frameon=False, loc="lower left")
        if column == 0:
            top.set_ylabel("rise of the loss, relative to\nthe worst analytic direction")
            bottom.set_ylabel("loss")
    readable_logs(figure)
    options = shown[0].case.attack
    assert options is not None
    frame(
        figure, results,
        "Above: what the best attack of each kind adds to the loss, relative to that of the paper's analytic "
        "directions; above the dotted line it does more. Projected gradient ascent: "
        f"{options.steps} steps from {options.starts} random starts, on the model and on its linear part (without "
        f"the ReLU); random: the worst of {options.random:,} directions. All are found on {options.found_on:,} inputs, "
        f"chosen on {options.chosen_on:,} others and scored on {options.scored_on:,} others. Lines are medians of "
        f"restarts, bands go from the lowest to the highest; standard errors of a rise are up to {_error(shown):.0%} "
        f"in the sparsest data. {_fits(shown)}",
        185 if len(shown) > 1 else 95,
    )  # fmt: skip
    return figure


def _vulnerable(ax: Axes, case: Attacked) -> None:
    x = 1 / case.density
    for values, colour, label in ((case.vulnerability, BLUE, _TOGETHER), (case.each, VERMILION, _APART)):
        _dots(ax, x, values, colour)
        ax.plot(x, np.nanmedian(values, axis=1), color=colour, linewidth=2, label=label)
    ax.plot(x, np.nanmedian(case.per_feature, axis=1), color="0.55", linewidth=2,
            label="one feature: largest I$_i$‖W$_i$‖⁴ / D$_i$")  # fmt: skip
    ax.plot(x, np.nanmedian(case.second_order, axis=1), color="black", linewidth=1.2, linestyle="--",
            label="second order: λ$_{max}$(G diag(I$_i$p$_i$) G)")  # fmt: skip
    ax.axhline(1, **_ONE)
    ax.set(xscale="log", yscale="log", xlabel="1 / (1 − S)")


def _per_dimension(ax: Axes, case: Attacked) -> None:
    x = 1 / case.density
    _dots(ax, x, case.per_dimension, BLUE)
    ax.plot(x, np.nanmedian(case.per_dimension, axis=1), color=BLUE, linewidth=2)
    ax.axhline(1, **_ONE)
    ax.set(xscale="log", xlabel="1 / (1 − S)", ylim=(0, None))


def _against(ax: Axes, case: Attacked):
    """Both vulnerabilities of all models against their features per dimension, coloured by density."""
    colours = np.broadcast_to(case.density[:, None], case.known.shape)
    scale, handles = LogNorm(min(case.density.min(), 0.999), 1), []
    for values, marker, label in ((case.each, "^", _APART), (case.vulnerability, "o", _TOGETHER)):
        rank, _, by_density = case.correlation(values)
        points = ax.scatter(
            case.per_dimension, values, c=colours, norm=scale, cmap="viridis", marker=marker, s=20, linewidth=0
        )
        label = f"{label}: rank correlation {rank:.2f} ({by_density[0]:.2f} to {by_density[1]:.2f})"
        handles.append(Line2D([], [], color="black", marker=marker, markersize=4, linestyle="", label=label))
    ax.set(yscale="log", xlabel="features per dimension ‖W‖² / m")
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, frameon=False, borderaxespad=0.1)
    return points


def _dots(ax: Axes, x: np.ndarray, values: np.ndarray, colour: str) -> None:
    ax.plot(np.repeat(x, values.shape[1]), values.ravel(), ".", color=colour, markersize=4, alpha=0.5)


def _band(ax: Axes, x: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    ax.fill_between(x, np.nanmin(values, axis=1), np.nanmax(values, axis=1), color=colour, alpha=0.2, linewidth=0)
    ax.plot(x, np.nanmedian(values, axis=1), ".-", color=colour, linewidth=1.6, label=label)


def _same_limits(axes: np.ndarray, ax: Axes) -> None:
    ends = np.array([other.get_ylim() for other in axes])
    ax.set_ylim(ends[:, 0].min(), ends[:, 1].max())


def _size(case: Attacked) -> str:
    options = case.case.attack
    return f"{options.size:g}" if options else ""


def _error(shown: list[Attacked]) -> float:
    """The largest standard error of a rise of the loss, relative to the most harmful attack's."""
    return float(max(np.nanmax(one.of("attack_vulnerability_error") / one.vulnerability) for one in shown))


def _fits(shown: list[Attacked]) -> str:
    return " ".join(f"{one.name}: {one.case.restarts} restarts, {training_in_words(one.case)}." for one in shown)
