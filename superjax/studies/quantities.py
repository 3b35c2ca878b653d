"""Figures of the quantities that `plot.show` names: lines along one axis, maps of two, a row of maps for values of the
rest. What the study of the sweep draws is drawn besides."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from superjax.analysis import PHASES
from superjax.plots.canvas import fitted, heading
from superjax.plots.maps import OKABE_ITO, VERMILION, kind_map, phase_handles, phase_map, value_map
from superjax.spec import Case, Sweep, SweepError
from superjax.studies.axes import axis_of, readable_logs, sorted_map, split
from superjax.studies.captions import spread
from superjax.studies.results import Results
from superjax.studies.solutions import names

MAX_PANELS = 8  # of a quantity: features, kinds of phases
MAX_MAPS = 48  # of a figure
_NAMED = ("phase_kind", "family", "attack")  # dimensions whose coordinates are words
KIND_COLOURS = OKABE_ITO[:7]
_OTHERS, _DIVERGED = "#d0d0d0", "#000000"
_DECADES = 3.0  # from which on a positive quantity is drawn on a logarithmic scale
ALWAYS = ("loss", "grad_norm", "feature_loss", "diverged_at")
OF_WEIGHTS = (
    "norm", "interference", "dimensionality", "phase", "margin", "solution", "solution_deviation", "typical_norm",
    "typical_interference", "typical_phase", "phase_fraction", "has_superposition", "superposition_fraction",
)  # fmt: skip
OF_OPTIMUM = (
    "success", "agreement", "gap", "optimum_loss", "optimum_other_loss", "optimum_norm", "optimum_interference",
    "optimum_phase", "optimum_margin",
)  # fmt: skip
OF_FAMILIES = (
    "family_loss", "family_grad_norm", "family_slope", "family_norm", "family_solution", "family_solution_deviation",
)  # fmt: skip
NAMED = ("solution", "family_solution")  # numbers of names, not quantities
OF_DICTIONARIES = tuple(
    f"autoencoder_{name}"
    for name in ("loss", "fvu", "l0", "dead", "feature_cosine", "latent_cosine", "matched_cosine", "recovered")
)
OF_ATTACKS = ("attack_vulnerability", "attack_each_vulnerability", "attack_excess", "attack_loss")
_FRACTIONS = {
    "success", "agreement", "phase_fraction", "superposition_fraction", "has_superposition", "dimensionality",
    "explained", *(f"autoencoder_{name}" for name in ("dead", "recovered", "matched_cosine")),
}  # fmt: skip


def check(case: Case) -> None:
    """Raise SweepError if what is to be shown is not what a dataset of the case has."""
    if not case.plot.show:
        return
    if not case.axes:
        raise SweepError("plot.show draws quantities along axes, and the sweep has none")
    known = [*ALWAYS, *OF_WEIGHTS]
    terms = case.term_kinds()
    known += ["explained"] if "squared" in terms.values() else []
    known += ["objective", *(f"term_{name}" for name in terms)] if len(terms) > 1 else []
    known += ["test_loss"] if case.data.kind == "finite" else []
    known += OF_OPTIMUM if case.optimum else []
    known += OF_DICTIONARIES if case.autoencoder else []
    known += OF_FAMILIES if case.families else []
    known += ["family_objective"] if case.families and len(terms) > 1 else []
    known += OF_ATTACKS if case.attack else []
    for name in case.plot.show:
        if name in OF_OPTIMUM and not case.optimum:
            raise SweepError(f"plot.show = {name}: needs optimum = true")
        if name in OF_FAMILIES and not case.families:
            raise SweepError(f"plot.show = {name}: needs [families.NAME]")
        if name in OF_DICTIONARIES and not case.autoencoder:
            raise SweepError(f"plot.show = {name}: needs [autoencoder]")
        if name in OF_ATTACKS and not case.attack:
            raise SweepError(f"plot.show = {name}: needs [attack]")
        if name not in known:
            raise SweepError(f"plot.show = {name}: is no quantity; there are {', '.join(known)}")


def check_names(sweep: Sweep) -> None:
    """Raise SweepError if the figure of what is to be shown of a case would be that of another case."""
    for name, case in sweep.cases.items():
        if case.plot.show and f"{name}_show" in sweep.cases:
            raise SweepError(
                f"{name}: plot.show draws {name}_show.png, which is the figure of the case {name}_show; rename one case"
            )


class _Panel(NamedTuple):
    """A part of a quantity with a number for every model of every cell, or for every cell."""

    title: str
    values: xr.DataArray


def missing(results: Results) -> dict[str, list[str]]:
    """By case, what is to be shown and is not in the dataset."""
    found = {name: [quantity for quantity in results.sweep.cases[name].plot.show if quantity not in data]
             for name, data in results.datasets.items()}  # fmt: skip
    return {name: quantities for name, quantities in found.items() if quantities}


def figures(results: Results) -> dict[str, Figure]:
    """A figure `CASE_show` for every case that asks for quantities and has them."""
    found = {}
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        shown = [quantity for quantity in case.plot.show if quantity in data]
        if shown and case.axes:
            draw = _lines if len(case.axes) == 1 else _maps
            figure = draw(case, data, shown)
            left_out = [quantity for quantity in case.plot.show if quantity not in data]
            words = f"{name}: n = {case.n_features}, m = {case.n_hidden}, {case.restarts} restarts"
            title = f"{results.sweep.title}\n" if results.sweep.title else ""
            parts = [f"{title}{words}", f"not in the dataset: {', '.join(left_out)}" if left_out else ""]
            heading(figure, "\n".join(filter(None, parts)), 12)
            readable_logs(figure)
            found[f"{name}_show"] = figure
    return found


def _panels(case: Case, data: xr.Dataset, quantity: str) -> list[_Panel]:
    """A quantity by its own dimensions, each with at most as many panels as there is room for."""
    array = data[quantity]
    own = [str(dim) for dim in array.dims if dim not in (*case.axes, "restart")]
    points = list(itertools.product(*(range(array.sizes[dim]) for dim in own)))
    label = quantity.replace("_", " ")
    panels = []
    for point in points[:MAX_PANELS]:
        place = dict(zip(own, point, strict=True))
        words = [
            str(data[dim].values[k]).replace("_", " ") if dim in _NAMED else f"{dim} {k}" for dim, k in place.items()
        ]
        panels.append(_Panel(", ".join([label, *words]), array.isel(place)))
    if len(points) > MAX_PANELS:
        panels[-1] = panels[-1]._replace(title=f"{panels[-1].title} (of {len(points)})")
    return panels


def _of_cells(quantity: str, panel: _Panel, data: xr.Dataset) -> tuple[str, xr.DataArray]:
    """A number for every cell and what it is: that of the best restart, or the fraction of restarts."""
    if "restart" not in panel.values.dims:
        return panel.title, panel.values
    if quantity == "has_superposition":
        return f"{panel.title}, fraction of restarts", panel.values.astype(float).mean("restart")
    return f"{panel.title}, best restart", panel.values.isel(restart=data["best"])


class _Kinds(NamedTuple):
    """Names, commonest first, their colours, and for each quantity that is a name the place of its numbers there."""

    names: list[str]
    colours: list[str]
    place: dict[str, np.ndarray]


def _kinds(data: xr.Dataset, values: Mapping[str, Sequence[np.ndarray]]) -> _Kinds:
    """The names among values by quantity, as many as there are colours; the rest are one. A name has one colour."""
    words = {quantity: [str(word) for word in names(data, quantity)] for quantity in values}
    counts = Counter(words[quantity][int(k)] for quantity, some in values.items() for k in np.concatenate(
        [np.ravel(one) for one in some]))  # fmt: skip
    kept = [word for word, _ in counts.most_common(len(KIND_COLOURS))]
    rest = len(counts) - len(kept)
    colours = [_DIVERGED if word == "diverged" else KIND_COLOURS[k] for k, word in enumerate(kept)]
    place = {
        quantity: np.array([kept.index(word) if word in kept else len(kept) for word in every])
        for quantity, every in words.items()
    }
    return _Kinds([*kept, *[f"{rest} other kinds"] * (rest > 0)], [*colours, *[_OTHERS] * (rest > 0)], place)


def _lines(case: Case, data: xr.Dataset, shown: list[str]) -> Figure:
    """A panel per quantity: lines of the best restart, bands from the lowest to the highest of all."""
    x, label, log = axis_of(case, data, next(iter(case.axes)))
    figure = Figure(figsize=(6.5, 2.4 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    order = np.argsort(x)
    for ax, quantity in zip(axes, shown, strict=True):
        panels = _panels(case, data, quantity)
        cells = [_of_cells(quantity, panel, data)[1] for panel in panels]
        kinds = _kinds(data, {quantity: [one.values for one in cells]}) if quantity in NAMED else None
        for panel, values in zip(panels, cells, strict=True):
            words = panel.title.removeprefix(quantity.replace("_", " ")).lstrip(", ") or "best restart"
            drawn = values.values if kinds is None else kinds.place[quantity][values.values]
            style = {} if kinds is None else {"marker": "o", "drawstyle": "steps-mid", "linewidth": 1}
            style |= {"color": VERMILION} if len(panels) == 1 else {}
            (line,) = ax.plot(x[order], drawn[order], label=fitted(words, 2), **style)
            if "restart" in panel.values.dims and quantity not in ("has_superposition", *NAMED):
                low, high = panel.values.min("restart").values[order], panel.values.max("restart").values[order]
                ax.fill_between(x[order], low, high, color=line.get_color(), alpha=0.2)
        ax.set_ylabel(fitted(quantity.replace("_", " "), 2.2, lines=2))
        if kinds is not None:
            ax.set_yticks(range(len(kinds.names)), kinds.names)
        elif quantity.endswith("phase"):
            there = np.unique(data[quantity].values)
            ax.set_yticks(there, [PHASES[k].replace("_", " ") for k in there])
        if _is_wide(quantity, [panel.values.values for panel in panels]):
            ax.set_yscale("log")
        if len(panels) > 1:
            ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes[-1].set(xlabel=label, xscale="log" if log else "linear")
    axes[0].set_title("lines: best restart; bands: all restarts", fontsize=9)
    return figure


def _is_wide(quantity: str, values: list[np.ndarray]) -> bool:
    """Whether a quantity is drawn on a logarithmic scale."""
    if quantity in _FRACTIONS or quantity in NAMED or quantity.endswith("phase"):
        return False
    every = np.concatenate([np.ravel(value) for value in values]).astype(float)
    every = every[np.isfinite(every)]
    return bool(every.size and every.min() > 0 and np.log10(every.max() / every.min()) > _DECADES)


def _maps(case: Case, data: xr.Dataset, shown: list[str]) -> Figure:
    """A column per part of a quantity, a row per value of the further axes."""
    rest, first, second = split(case)
    x, x_label, x_log = axis_of(case, data, first)
    y, y_label, y_log = axis_of(case, data, second)
    columns = [(quantity, *_of_cells(quantity, panel, data)) for quantity in shown
               for panel in _panels(case, data, quantity)]  # fmt: skip
    sizes = {dim: data.sizes[dim] for dim in rest}
    most = max(1, MAX_MAPS // len(columns))
    kept = dict(sizes)
    while math.prod(kept.values()) > most:
        largest = max(kept, key=lambda dim: kept[dim])
        kept[largest] -= 1
    points = list(itertools.product(*(spread(sizes[dim], kept[dim]) for dim in rest)))
    figure = Figure(figsize=(3.4 * len(columns) + 0.8, 3.0 * len(points) + 1.4), layout="constrained")
    rows = figure.subplots(len(points), len(columns), squeeze=False, sharex=True, sharey=True)
    with_phases, handles = False, []
    named: dict[str, list[np.ndarray]] = {}
    for quantity, _, values in columns:
        if quantity in NAMED:
            named.setdefault(quantity, []).append(values.values)
    kinds = _kinds(data, named)
    for column, (quantity, title, values) in enumerate(columns):
        array = values.transpose(*rest, first, second).values.astype(float)
        array = np.log10(array) if (wide := _is_wide(quantity, [array])) else array
        finite = array[np.isfinite(array)]
        low, high = (0.0, 1.0) if quantity in _FRACTIONS else (
            float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
        )  # fmt: skip
        if not low < high:
            low, high = (low - 0.5, low + 0.5) if np.isfinite(low) else (0.0, 1.0)
        phases = quantity.endswith("phase")
        with_phases |= phases
        for point, ax in zip(points, rows[:, column], strict=True):
            ax.set(xscale="log" if x_log else "linear", yscale="log" if y_log else "linear")
            if quantity in NAMED:
                place = kinds.place[quantity][array[point].astype(int)]
                sorted_map(partial(kind_map, colours=kinds.colours), ax, x, y, place)
            elif phases:
                sorted_map(phase_map, ax, x, y, array[point].astype(np.int8))
            else:
                mesh = sorted_map(value_map, ax, x, y, array[point], vmin=low, vmax=high)
                figure.colorbar(mesh, ax=ax, label="log10" if wide else "")
            ax.set_title(fitted(title, 3.2, lines=2), fontsize=10)
    for point, axes in zip(points, rows, strict=True):
        where = ", ".join(f"{fitted(dim, 2)} = {axis_of(case, data, dim)[0][k]:.3g}"
                          for dim, k in zip(rest, point, strict=True))  # fmt: skip
        axes[0].set_ylabel(f"{where}\n{y_label}" if where else y_label)
    for ax in rows[-1]:
        ax.set_xlabel(x_label)
    if with_phases:
        lost = any((values.values == 3).any() for quantity, _, values in columns if quantity.endswith("phase"))
        handles += phase_handles(lost)
    which = "solution: " if with_phases else ""  # colours of phases are among those of names
    handles += [
        Patch(color=colour, label=which + name) for name, colour in zip(kinds.names, kinds.colours, strict=True)
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=min(4, 1 + len(columns)), frameon=False)
    if len(points) < math.prod(sizes.values()):
        figure.text(1, 0, f"{len(points)} of {math.prod(sizes.values())} values of {', '.join(rest)}", ha="right",
                    va="bottom", fontsize=8)  # fmt: skip
    return figure
