"""Models and phases for other programs: safetensors, as PyTorch state dicts have them, and CSV.

Each takes a dataset, or what was selected of one, as `data.sel(density=0.1, method="nearest")`.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from superjax.analysis import PHASES
from superjax.disk.files import write_bytes
from superjax.errors import SweepError
from superjax.problem.members import member

if TYPE_CHECKING:
    import xarray as xr

_FEATURES = ("norm", "interference", "dimensionality", "margin")


def safetensors(data: "xr.Dataset", path: str | os.PathLike[str], *, optimum: bool = False) -> Path:
    """The arrays of all models in `data`, as `W` and `b`, in a safetensors file.

    Args:
        data: a dataset, or what was selected of it; axes and `restart` that are left come first in every array.
        optimum: the best solution of every cell in place of the restarts, of a sweep with `optimum = true`.

    The file's metadata have the settings (`case`, JSON), the dimensions of every array (`dims`, JSON), and the values
    of the axes (`coords`, JSON).

    Raises:
        SweepError: the dataset has no models, or its model's class is gone.
        OSError: the file cannot be written.
    """
    try:
        case = json.loads(data.attrs["case"])
    except KeyError:
        raise SweepError("the dataset does not say what it was trained as: it has no attribute `case`") from None
    names = member("model", case["model"]["kind"]).dims
    prefix = "optimum_" if optimum else ""
    if missing := [name for name in names if prefix + name not in data]:
        more = "; the sweep needs optimum = true" if optimum else ""
        raise SweepError(f"the dataset has no {prefix}{missing[0]}{more}")
    arrays, dims = {}, {}
    for name in names:
        array = data[prefix + name]
        # outputs that are the features again are named after them
        own = tuple("feature" if dim == "output" and dim not in array.dims else dim for dim in names[name])
        array = array.transpose(*[dim for dim in array.dims if dim not in own], *own, missing_dims="ignore")
        arrays[name], dims[name] = np.ascontiguousarray(array.values, np.float32), list(array.dims)
    described = {"case": data.attrs["case"], "dims": json.dumps(dims), "coords": json.dumps(_coords(data))}
    file = Path(path).expanduser()
    write_bytes(file, save(arrays, metadata=described))
    return file


def csv(data: "xr.Dataset", path: str | os.PathLike[str]) -> Path:
    """The phase of every feature of every model in `data`, a row each, as a CSV file.

    Columns are the axes, `restart` and `feature`, then `phase` in words, `norm`, `interference`, `dimensionality`,
    `margin`, and the `loss` of the model; in this order whatever was selected.

    Raises:
        SweepError: the dataset has no phases.
        OSError: the file cannot be written.
    """
    if "phase" not in data:
        raise SweepError("the dataset has no phases: its model has no W; phases.array names another array")
    kept = [name for name in ("phase", *_FEATURES, "loss") if name in data]
    chosen = data[kept]
    chosen = chosen if chosen["phase"].ndim else chosen.expand_dims("feature")
    models = ["restart", "feature"]
    numbered = [name for name in data["phase"].dims if name not in data.coords]  # of axes over several fields
    axes = [name for name in [*numbered, *chosen.coords] if name not in models]
    columns = dict.fromkeys([*axes, *models, *kept])
    table = chosen.to_dataframe().reset_index()
    table["phase"] = np.array(PHASES)[table["phase"].to_numpy()]
    text = table[[name for name in columns if name in table]].to_csv(index=False, lineterminator="\n")
    file = Path(path).expanduser()
    write_bytes(file, text.encode())
    return file


def _coords(data: "xr.Dataset") -> dict[str, Any]:
    return {str(name): np.asarray(values).tolist() for name, values in data.coords.items()}
