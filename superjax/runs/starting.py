"""The weights that models start from: drawn, or given."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, PyTree, Shaped

from superjax.errors import SweepError, clip, near
from superjax.problem.models.base import notebook_init_std
from superjax.spec import Case, Sweep
from superjax.spec.grid import Grid


def initial(case: Case, grid: Grid) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """The standard deviation of initial weights and what is added to the initial bias."""
    numbers = grid.numbers()
    std = numbers["model.init_std"]
    if isinstance(std, str):
        std = notebook_init_std(case.n_features, case.n_hidden, case.model.init_instances)
    std, bias = (np.asarray(value, np.float32) for value in (std, numbers["model.init_bias"]))
    return np.broadcast_to(std, (grid.n_cells,)), np.broadcast_to(bias, (grid.n_cells,))


def draws(
    case: Case, grid: Grid, cell: Int[np.ndarray, " models"], restart: Int[np.ndarray, " models"]
) -> Shaped[np.ndarray, "models numbers"]:
    """What the initial weights of models are drawn from beside the seed: the restart, and where starts are independent
    the swept values of the cell. Never its position: other points do not change it."""
    if case.train.starts == "common":
        return restart.astype(np.uint32)[:, None]
    swept = [np.asarray(values + 0.0, np.float32).view(np.uint32) for _, values in sorted(grid.fields.items())]
    return np.stack([restart.astype(np.uint32), *(values[cell] for values in swept)], axis=1)


def by_case(init: Any, sweep: Sweep) -> Mapping[str, Any]:
    """Given starting weights, by case. Raises SweepError unless they are a table of tables for cases of the sweep."""
    if not (init is None or isinstance(init, Mapping) and all(isinstance(own, Mapping) for own in init.values())):
        raise SweepError('init: must be {case: {array: values}}, as {"n2_m1": {"W": array}}')
    for name in init or {}:
        if name not in sweep.cases:
            allowed = clip(", ".join(sweep.cases), 300)
            raise SweepError(f"init: unknown case {clip(repr(name))}{near(name, sweep.cases)}\n  allowed: {allowed}")
    return init or {}


def given_weights(init: Mapping[str, Any] | None, model: PyTree, grid: Grid, case: Case) -> dict[str, np.ndarray]:
    """Given starting weights, (models, ...), by the name of the array. Raises SweepError if they do not fit."""
    given = {}
    for name, values in (init or {}).items():
        if name not in type(model).dims:
            raise SweepError(f"init: {clip(str(name))} is no array of the model, it has {', '.join(type(model).dims)}")
        own = getattr(model, name)
        expected = (*grid.shape, case.restarts, *own.shape)
        try:
            array = np.asarray(values)
        except (TypeError, ValueError):  # rows of several lengths, or what cannot become an array
            raise SweepError(f"init: {name} must be an array of shape {expected}") from None
        if array.shape != expected:
            raise SweepError(f"init: {name} has shape {array.shape}, must be {expected}")
        if not any(jax.numpy.issubdtype(array.dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
            raise SweepError(f"init: {name} has numbers of type {array.dtype}, must be real")
        with np.errstate(over="ignore"):
            array = array.astype(own.dtype)
        if not np.isfinite(array).all():
            raise SweepError(f"init: {name} must be finite as {own.dtype}")
        given[name] = array.reshape(-1, *own.shape)
    return given


def with_arrays(models: PyTree, arrays: Mapping[str, np.ndarray]) -> PyTree:
    """The models with arrays replaced, by name."""
    leaves = jax.tree.leaves(models)
    for name, values in arrays.items():
        own = getattr(models, name)
        leaves = [values if leaf is own else leaf for leaf in leaves]
    return jax.tree.unflatten(jax.tree.structure(models), leaves)
