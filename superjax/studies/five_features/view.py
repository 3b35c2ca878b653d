"""Where the best solution changes."""

import xarray as xr

from superjax.studies import solutions
from superjax.studies.solutions import Switch, best_names, lowest_losses


def switches(data: xr.Dataset) -> list[Switch]:
    """Where the best solution changes, from dense to sparse, by the crossing of the lowest losses of both."""
    return solutions.switches(data["density"].values, best_names(data), lowest_losses(data))
