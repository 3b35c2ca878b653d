"""The figure of the dictionaries of a case: what they find, and what that costs."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from superjax.plots.canvas import fitted, heading
from superjax.plots.maps import BLUE, value_map
from superjax.spec import Case
from superjax.studies.axes import axis_of, sorted_map

SHOWN = {  # variable -> title, and the largest value there can be
    "autoencoder_recovered": ("features recovered (cosine > 0.9)", 1.0),
    "autoencoder_matched_cosine": ("cosine, matched one to one", 1.0),
    "autoencoder_fvu": ("variance unexplained", 1.0),
    "autoencoder_l0": ("active latents", None),
}


def figure(case: Case, data: xr.Dataset, name: str) -> Figure:
    """Four measures over the last two axes, along one axis, or of every model; of further axes the first value."""
    first, last = ([None, None, *case.axes])[-2:]
    further = {dim: data.sizes[dim] for dim in case.axes if dim not in (first, last)}
    data = data.isel(dict.fromkeys(further, 0))
    found = Figure(figsize=(17, 4.6) if first else (12, 4), layout="constrained")
    for ax, (variable, (title, most)) in zip(found.subplots(1, 4), SHOWN.items(), strict=True):
        values, top = data[variable], most or float(data.sizes["latent"])
        if first and last:
            _map(ax, case, values, first, last, top)
        elif last:
            _line(ax, case, values, last)
        else:
            ax.bar(np.arange(values.size), values.values, color=BLUE)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set(xlabel="restart", ylim=(0, top))
        ax.set_title(title)
    options = case.autoencoder
    assert options is not None
    kind = f"the {options.k} largest latents" if options.kind == "topk" else "an L1 penalty"
    parts = [
        f"{name}: dictionaries of {options.width} latents with {kind} on the activations of every model, "
        f"{options.steps} steps; {'mean of' if last else 'all'} {case.restarts} restarts"
    ]
    if further:
        parts.append(
            f"drawn: {', '.join(f'the first of {n} values of {fitted(dim, 2)}' for dim, n in further.items())}"
        )
    heading(found, "\n".join(parts), 12)
    return found


def _map(ax: Axes, case: Case, values: xr.DataArray, first: str, last: str, top: float) -> None:
    (x, x_label, x_log), (y, y_label, y_log) = (_axis(case, values, dim) for dim in (first, last))
    ax.set(xscale="log" if x_log else "linear", yscale="log" if y_log else "linear", xlabel=x_label, ylabel=y_label)
    mesh = sorted_map(value_map, ax, x, y, values.mean("restart").transpose(first, last).values, vmin=0.0, vmax=top)
    ax.figure.colorbar(mesh, ax=ax)


def _line(ax: Axes, case: Case, values: xr.DataArray, dim: str) -> None:
    x, label, log = _axis(case, values, dim)
    order = np.argsort(x)
    low, mean, high = (getattr(values, of)("restart").values[order] for of in ("min", "mean", "max"))
    ax.plot(x[order], mean, color=BLUE, marker=".", label="mean")
    ax.fill_between(x[order], low, high, color=BLUE, alpha=0.2, label="all restarts")
    ax.set(xlabel=label, xscale="log" if log else "linear")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8)


def _axis(case: Case, values: xr.DataArray, dim: str) -> tuple[np.ndarray, str, bool]:
    return axis_of(case, values.to_dataset(name="values"), dim)
