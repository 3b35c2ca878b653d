"""Figures for a sweep without a study: no axis draws the weights, one axis lines, two a map per feature and of the
number of superposed features, more a row of maps for values of the rest. What is left out is said in the title."""

import itertools
import math
from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from superjax import analysis
from superjax.plots.canvas import fitted, heading, literal
from superjax.plots.maps import (
    BLUE,
    MEASURED_LINE,
    PHASE_COLOURS,
    VERMILION,
    hatch,
    phase_handles,
    phase_map,
    value_map,
)
from superjax.spec import Case
from superjax.studies import dictionaries
from superjax.studies.axes import axis_of, readable_logs, sorted_map, split
from superjax.studies.boundaries import BoundaryLine, lines_of_map
from superjax.studies.captions import spread
from superjax.studies.results import Results, directions

MAX_FEATURES = 6  # maps and lines of single features
MAX_WEIGHTS = 400  # features whose weights are drawn
MAX_VALUES = 6  # of a further axis
MAX_MAPS = 48  # of a figure
MAX_FAMILIES = 8
BAND = {**MEASURED_LINE, "linewidth": 0.9, "linestyle": (0, (1, 1))}
_MERGED = "on the direction of another feature (merged)"


def figures(results: Results) -> dict[str, Figure]:
    """One figure per case, and one of its dictionaries if it has them."""
    title, found = f"{results.sweep.title}\n" if results.sweep.title else "", {}
    for name, data in results.datasets.items():
        found[name] = overview(results.sweep.cases[name], data, f"{title}{name}")
        if "autoencoder_fvu" in data:
            found[f"{name}_autoencoder"] = dictionaries.figure(results.sweep.cases[name], data, f"{title}{name}")
    return found


def overview(case: Case, data: xr.Dataset, name: str) -> Figure:
    """The figure that fits the number of axes: of the best restart, maps of the optimum where there is one."""
    if "phase" not in data:
        figure = _losses(case, data)
    else:
        figure = {0: _weights, 1: _lines}.get(len(case.axes), _maps)(case, data)
    readable_logs(figure)
    parts = [
        f"{name}: n = {case.n_features}, m = {case.n_hidden}, {case.model.kind}, {case.train.objective}, "
        f"{case.train.steps} steps, best of {case.restarts} restarts",
        _what_is_shown(case, data),
        _how_many_diverged(data),
    ]
    heading(figure, "\n".join(filter(None, parts)), 12)
    return figure


def _handles(diverged: bool, merged: bool) -> list[Patch]:
    """Of the phases, and of features that are merged."""
    colour = PHASE_COLOURS["superposed"]
    hatched = Patch(facecolor=colour, edgecolor="white", hatch="///", linewidth=0, label=_MERGED)
    return [*phase_handles(diverged), *[hatched] * merged]


def best_phase(data: xr.Dataset) -> xr.DataArray:
    """Phases of the optimum if it was searched for, else of the best restart."""
    return data["optimum_phase"] if "optimum_phase" in data else data["phase"].isel(restart=data["best"])


def _diverged(data: xr.Dataset) -> xr.DataArray:
    """Where some restart diverged."""
    return (data["diverged_at"] >= 0).any("restart")


def _unknown(data: xr.Dataset) -> xr.DataArray:
    """Where there is no phase, since all restarts diverged."""
    return (best_phase(data) == analysis.PHASES.index("diverged")).any("feature")


def _merged(case: Case, data: xr.Dataset) -> xr.DataArray:
    """Which features of what is drawn lie on the direction of another (`analysis.merged`), (..., feature)."""
    found = data["optimum_W"] if "optimum_W" in data else directions(case, data)
    assert found is not None  # where there are phases
    W = found if "optimum_W" in data else found.isel(restart=data["best"])
    W = W.transpose(..., "hidden", "feature")
    return W.isel(hidden=0, drop=True).copy(data=analysis.merged(W.values, case.phases.represented))


def _how_many_diverged(data: xr.Dataset) -> str:
    count = int((data["diverged_at"] >= 0).sum())
    return f"{count:,} of {data['diverged_at'].size:,} models diverged" if count else ""


def _what_is_shown(case: Case, data: xr.Dataset) -> str:
    """What of the dataset is drawn, where that is not all."""
    parts = []
    most = MAX_FEATURES if case.axes else MAX_WEIGHTS
    if "phase" in data and case.n_features > most:
        parts.append(f"features 0 to {most - 1} of {case.n_features}")
    families = data.sizes.get("family", 0) if len(case.axes) == 1 else 0
    if families > MAX_FAMILIES:
        parts.append(f"{MAX_FAMILIES} of {families} families")
    elif "family" in data.sizes and not families:
        parts.append("no families")
    if "phase" in data and len(case.axes) > 2:
        rows = _rows(case, data)
        parts += [f"{len(rows[dim])} of {size} values of {dim}" for dim, size in _further(case, data).items()
                  if len(rows[dim]) < size]  # fmt: skip
    return f"drawn: {'; '.join(parts)}" if parts else ""


def _further(case: Case, data: xr.Dataset) -> dict[str, int]:
    """The axes beyond the two of a map, and their sizes."""
    return {dim: data.sizes[dim] for dim in split(case)[0]}


def _rows(case: Case, data: xr.Dataset) -> dict[str, list[int]]:
    """The points of the further axes that are drawn, evenly spread, so that the figure has at most MAX_MAPS."""
    sizes = _further(case, data)
    shown = {dim: min(size, MAX_VALUES) for dim, size in sizes.items()}
    columns = min(case.n_features, MAX_FEATURES) + 1
    while (product := math.prod(shown.values())) * columns > MAX_MAPS and product > 1:
        shown[max(shown, key=lambda dim: shown[dim])] -= 1
    return {dim: spread(sizes[dim], most) for dim, most in shown.items()}


def _best(data: xr.Dataset, name: str) -> xr.DataArray:
    return data[name].isel(restart=data["best"])


def _weights(case: Case, data: xr.Dataset) -> Figure:
    """WᵀW and, if there is one number per feature, b of the best restart, and norms coloured by phase."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    shown = data.isel(feature=slice(MAX_WEIGHTS))
    found = directions(case, shown)
    assert found is not None  # where there are phases
    W = found.isel(restart=data["best"]).values
    with_b = "b" in data and data["b"].dims == ("restart", "feature")
    picture = np.column_stack([W.T @ W, _best(shown, "b").values]) if with_b else W.T @ W
    image = left.imshow(picture, cmap="RdBu_r", vmin=-1, vmax=1)
    if with_b:
        left.axvline(shown.sizes["feature"] - 0.5, color="black", linewidth=1)
    which = "" if case.phases.array == "W" else f" (W: {literal(case.phases.array)})"
    left.set(title=f"WᵀW{' | b' * with_b} of the best restart{which}", xlabel=f"feature{' (last column: b)' * with_b}",
             ylabel="feature")  # fmt: skip
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=left)
    colours = [list(PHASE_COLOURS.values())[p] for p in _best(shown, "phase").values]
    bars = right.bar(np.arange(len(colours)), _best(shown, "norm").values, color=colours)
    together = analysis.merged(W, case.phases.represented)
    for bar, one in zip(bars, together, strict=True):
        if one:
            bar.set(hatch="///", edgecolor="white", linewidth=0)
    figure.legend(handles=_handles(bool(_unknown(data).any()), bool(together.any())), loc="outside lower right",
                  ncols=4, frameon=False)  # fmt: skip
    right.set(title="norm of each feature", xlabel="feature", ylabel="‖W$_i$‖")
    return figure


def _lines(case: Case, data: xr.Dataset) -> Figure:
    """Norm and interference of every feature, and the loss, along the axis, with the spread over restarts."""
    x, label, log = axis_of(case, data, next(iter(case.axes)))
    figure = Figure(figsize=(6, 9), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    together = _merged(case, data.drop_vars("optimum_W", errors="ignore"))  # lines are those of restarts
    present = data["norm"] >= case.phases.represented  # the direction of a feature without a norm means nothing
    shown = {"norm": data["norm"], "interference, if represented": data["interference"].where(present)}
    for ax, (name, measure) in zip(axes, shown.items(), strict=False):
        for feature in range(min(case.n_features, MAX_FEATURES)):
            values = measure.isel(feature=feature)
            (line,) = ax.plot(x, values.isel(restart=data["best"]), label=f"feature {feature}")
            ax.fill_between(x, values.min("restart"), values.max("restart"), color=line.get_color(), alpha=0.2)
            if (at := together.isel(feature=feature).values).any():
                drawn = values.isel(restart=data["best"]).values[at]
                ax.plot(x[at], drawn, "o", color=line.get_color(), markerfacecolor="white", markersize=5)
        ax.set_ylabel(name)
        if np.max(measure.values, where=np.isfinite(measure.values), initial=0.0) > 10:
            ax.set_yscale("symlog", linthresh=1)
    if together.any():
        axes[0].plot([], [], "o", color="0.3", markerfacecolor="white", markersize=5, label=_MERGED)
    axes[0].legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, frameon=False)
    _draw_loss(axes[2], x, data)
    axes[2].set(xlabel=label, xscale="log" if log else "linear")
    return figure


def _losses(case: Case, data: xr.Dataset) -> Figure:
    """For models without weights whose phases are known: the loss alone."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    axes = [axis_of(case, data, dim) for dim in case.axes]
    for (_, label, log), set_axis in zip(axes, (_set_x, _set_y), strict=False):
        set_axis(ax, label, log)
    if len(axes) == 1:
        _draw_loss(ax, axes[0][0], data)
    elif len(axes) == 2:
        loss = data["loss"].where(np.isfinite(data["loss"])).min("restart").values
        highest = float(np.max(loss, where=np.isfinite(loss), initial=0.0)) or 1.0
        mesh = sorted_map(value_map, ax, axes[0][0], axes[1][0], loss, vmin=0.0, vmax=highest)
        figure.colorbar(mesh, ax=ax, label="loss of the best restart")
    else:
        ax.hist(data["loss"].values[np.isfinite(data["loss"].values)], bins=50, color=BLUE)
        ax.set(xlabel="loss", ylabel="models")
    return figure


def _set_x(ax: Axes, label: str, log: bool) -> None:
    ax.set(xlabel=label, xscale="log" if log else "linear")


def _set_y(ax: Axes, label: str, log: bool) -> None:
    ax.set(ylabel=label, yscale="log" if log else "linear")


def _draw_loss(ax: Axes, x: np.ndarray, data: xr.Dataset) -> None:
    ax.plot(x, data["loss"].min("restart"), color=VERMILION, label="best restart")
    ax.fill_between(x, data["loss"].min("restart"), data["loss"].max("restart"), color=VERMILION, alpha=0.2,
                    label="all restarts")  # fmt: skip
    for family in data["family"].values[:MAX_FAMILIES] if "family_loss" in data else ():
        label = f"family {fitted(str(family), 2, 8)}"
        ax.plot(x, data["family_loss"].sel(family=family), "--", linewidth=1.2, label=label)
    every = (data["diverged_at"] >= 0).all("restart").values
    for lost, marker, words in ((_diverged(data).values & ~every, "kx", "some"), (every, "kX", "all")):
        if lost.any():
            ax.plot(x[lost], np.full(lost.sum(), 0.04), marker, transform=ax.get_xaxis_transform(),
                    label=f"{words} restarts diverged")  # fmt: skip
    ax.set_ylabel("loss")
    loss = data["loss"].values[np.isfinite(data["loss"].values)]
    if loss.size and 0 < loss.min() < loss.max() / 1000:
        ax.set_yscale("log")
    ax.legend(fontsize=8)


def _draw_boundaries(axes: Iterable[Axes], lines: list[BoundaryLine], first: str, second: str) -> list[Line2D]:
    """The boundaries that were searched in every map, and the ends of the band of the restarts; their keys."""
    handles = []
    for band, style in ((False, MEASURED_LINE), (True, BAND)):
        some = [line for line in lines if line.is_band == band]
        for line in some:
            for ax in axes:
                ax.plot(line.at[first], line.at[second], **style)
        if some:
            words = "end of the band of the restarts" if band else "boundary that was searched"
            handles.append(Line2D([], [], **style, label=words))
    return handles


def _maps(case: Case, data: xr.Dataset) -> Figure:
    """A map of every feature's phase and of the number superposed, a row for every value of the further axes."""
    rest, first, second = split(case)
    x, x_label, x_log = axis_of(case, data, first)
    y, y_label, y_log = axis_of(case, data, second)
    shown = min(case.n_features, MAX_FEATURES)
    points = list(itertools.product(*_rows(case, data).values()))
    figure = Figure(figsize=(3.2 * (shown + 1) + 0.8, 3.0 * len(points) + 1.4), layout="constrained")
    rows = figure.subplots(len(points), shown + 1, squeeze=False, sharex=True, sharey=True)
    together = _merged(case, data).transpose(..., "feature")
    for point, axes in zip(points, rows, strict=True):
        place = dict(zip(rest, point, strict=True))
        phase = best_phase(data).isel(place).transpose(first, second, "feature").values
        unknown = _unknown(data).isel(place).transpose(first, second).values  # black, where no cross is seen
        lost = _diverged(data).isel(place).transpose(first, second).values & ~unknown
        for feature, ax in enumerate(axes[:-1]):
            ax.set(xscale="log" if x_log else "linear", yscale="log" if y_log else "linear")
            sorted_map(phase_map, ax, x, y, phase[..., feature])
            one = together.isel(place).isel(feature=feature).transpose(first, second).values
            hatch(ax, np.sort(x), np.sort(y), one[np.argsort(x)][:, np.argsort(y)], "///", "white")
            ax.set_title(f"feature {feature}")
        count = np.where(unknown, np.nan, (phase == analysis.PHASES.index("superposed")).sum(-1))
        axes[-1].set(xscale=axes[0].get_xscale(), yscale=axes[0].get_yscale(), title="number superposed")
        mesh = sorted_map(value_map, axes[-1], x, y, count, vmin=0.0, vmax=float(case.n_features))
        figure.colorbar(mesh, ax=axes[-1], ticks=MaxNLocator(integer=True), label="features")
        where = ", ".join(f"{fitted(dim, 2)} = {axis_of(case, data, dim)[0][k]:.3g}" for dim, k in place.items())
        axes[0].set_ylabel(f"{where}\n{y_label}" if where else y_label)
        for ax in axes:
            hatch(ax, np.sort(x), np.sort(y), lost[np.argsort(x)][:, np.argsort(y)], "xxxx")
    for ax in rows[-1]:
        ax.set_xlabel(x_label)
    handles = _handles(bool(_unknown(data).any()), bool(together[..., :shown].any()))
    handles += _draw_boundaries(rows[0], lines_of_map(case, data), first, second)
    if (_diverged(data) & ~_unknown(data)).any():
        handles.append(Patch(facecolor="none", edgecolor="black", hatch="xxxx", label="some restarts diverged"))
    figure.legend(handles=handles, loc="outside lower left", ncols=5, frameon=False)
    return figure
