"""The axes of a sweep as axes of a figure."""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, NullFormatter, NullLocator

from superjax.plots.canvas import fitted
from superjax.spec import Case

FEW = 6  # points of an axis, up to which each has a tick
_DRAWN = 1e-100, 1e100  # sizes beyond which matplotlib cannot make an axis


class Apart(Locator):
    """Ticks at given places, the first ones first: those whose numbers would run into others' are left out."""

    def __init__(self, along: XAxis | YAxis, ticks: Iterable[float]):
        self.along, self.ticks = along, [*ticks]

    def __call__(self) -> list[float]:
        low, high = self.along.get_view_interval()
        place = self.along.get_transform().transform
        least, kept = abs(place(high) - place(low)) / max(self.along.get_tick_space(), 1), []
        for tick in self.ticks:
            if min(low, high) <= tick <= max(low, high) and all(abs(place(tick) - place(k)) >= least for k in kept):
                kept.append(tick)
        return sorted(kept)


def sorted_map(draw, ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, **keywords):
    """A map whose values may be in any order, drawn in order, with ticks at the points of an axis that has few."""
    i, j = np.argsort(x), np.argsort(y)
    for axis, points in ((ax.xaxis, x), (ax.yaxis, y)):
        if len(points) <= FEW:
            axis.set_major_locator(Apart(axis, points))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            axis.set_minor_locator(NullLocator())
    return draw(ax, x[i], y[j], values[i][:, j], **keywords)


def split(case: Case) -> tuple[list[str], str, str]:
    """The axes of a map by name: those beyond the two, which have rows or sliders, and those along x and y.

    The last two unless `plot.x` and `plot.y` say otherwise."""
    names = list(case.axes)
    y = case.plot.y or [name for name in names if name != case.plot.x][-1]
    x = case.plot.x or [name for name in names if name != y][-1]
    return [name for name in names if name not in (x, y)], x, y


def axis_of(case: Case, data: xr.Dataset, dim: str) -> tuple[np.ndarray, str, bool]:
    """Values along a dimension, its label, and whether it is logarithmic.

    A dimension is drawn by the number of its points if it has several coordinates, or values that repeat, are too near
    to each other to be told apart, or too large or small for matplotlib.
    """
    axis = case.axes[dim]
    values = data[dim].values if dim in data.coords else np.arange(float(data.sizes[dim]))
    size = np.abs(values[values != 0])
    extreme = size.size > 0 and bool(size.min() < _DRAWN[0] or size.max() > _DRAWN[1])
    if len(axis.names) > 1 or len(np.unique(values)) < len(values) or extreme or _too_near(values):
        return np.arange(float(data.sizes[dim])), f"point of {fitted(dim, 2)}", False
    return values, fitted(label_of(case, dim), 2.4, lines=2), axis.scale == "log"


def label_of(case: Case, dim: str) -> str:
    """What an axis of one field is called in figures: its label, else its field, of which its name may be enough."""
    axis, (field,) = case.axes[dim], case.axes[dim].names
    return axis.label or (dim if dim == field.rpartition(".")[2] else field)


def readable_logs(figure: Figure) -> None:
    """Ticks of logarithmic axes at 1, 2 and 5 where an axis has up to two decades, else at powers of ten, in plain
    numbers where these are short; powers of ten alone where there is no room. Other ticks of `sorted_map` stay."""
    for ax in figure.axes:
        for axis, scale, ends in (
            (ax.xaxis, ax.get_xscale(), ax.get_xlim()),
            (ax.yaxis, ax.get_yscale(), ax.get_ylim()),
        ):
            if scale != "log" or not min(ends) > 0 or isinstance(axis.get_major_locator(), Apart):
                continue
            decades = float(np.log10(max(ends) / min(ends)))
            ticks = LogLocator(subs=(1.0, 2.0, 5.0) if decades <= 2.1 else (1.0,), numticks=7).tick_values(*ends)
            axis.set_major_locator(Apart(axis, sorted(ticks, key=lambda tick: f"{tick:.0e}"[0] != "1")))
            if decades <= 4:
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


def _too_near(values: np.ndarray) -> bool:
    return bool(0 < np.ptp(values) < 1e-9 * np.abs(values).max())
