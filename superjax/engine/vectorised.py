"""A function of one model over many, on every device, compiled once for every combination of shapes."""

import time
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import PyTree


class Compiled:
    """A jitted function with a name, compiled once for every combination of shapes; `seconds` is what all compiling of
    this process has cost."""

    seconds: ClassVar[float] = 0.0

    def __init__(self, name: str, jitted: Any):
        self.name, self._jitted, self._programs = name, jitted, {}

    def compiled(self, *arguments) -> Any:
        """The program for such arguments."""
        shapes = tuple(np.shape(x) for x in jax.tree.leaves(arguments))
        if shapes not in self._programs:
            start = time.perf_counter()
            self._programs[shapes] = self._jitted.lower(*arguments).compile()
            Compiled.seconds += time.perf_counter() - start
        return self._programs[shapes]

    def __call__(self, *arguments):
        return self.compiled(*arguments)(*arguments)


def vectorised(
    name: str,
    function: Callable,
    in_axes: tuple,
    out_axes: Any,
    mesh: jax.sharding.Mesh,
    streams: int,
    options: dict[str, bool | int],
    of_many: bool = False,
) -> "Compiled":
    """The function of one model, or `of_many`, over (streams, models), models sharded over the devices, compiled once.

    Axes are 0 (its own for every model), "stream" (common to a stream) or None (common to all)."""
    common = tuple(None if axes == "stream" else axes for axes in in_axes)
    over_streams = tuple(0 if axes == "stream" else axes for axes in in_axes)
    over = jax.vmap if streams > 1 else _only_one
    many = function if of_many else jax.vmap(function, common, out_axes)
    mapped = over(many, over_streams, out_axes)
    specs, out_specs = _partition(common), _partition(out_axes)
    sharded = jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False)
    return Compiled(name, jax.jit(sharded, compiler_options=options))


def _only_one(function: Callable, in_axes: tuple, out_axes: Any) -> Callable:
    """`jax.vmap` over axes of length 1, without tracing the function once more."""

    def call(*arguments):
        take = lambda axis, x: x if axis is None else jax.tree.map(lambda leaf: leaf[0], x)  # noqa: E731
        add = lambda axis, x: x if axis is None else jax.tree.map(lambda leaf: leaf[None], x)  # noqa: E731
        arguments = [along(take, axes, argument) for axes, argument in zip(in_axes, arguments, strict=True)]
        return along(add, out_axes, function(*arguments))

    return call


def along(function: Callable, axes: Any, tree: PyTree) -> PyTree:
    """`function(axis, subtree)` for every axis of a prefix of the tree."""
    return jax.tree.map(function, axes, tree, is_leaf=lambda axis: axis is None)


def placed(axes: Any, place: int) -> Any:
    """The same axes with that of models in another place."""
    return jax.tree.map(lambda _: place, axes)


def moved(axes: Any, tree: PyTree, source: int, destination: int) -> PyTree:
    """The tree with the axis of models, where `axes` say that it has one, moved from one place to another."""
    move = lambda leaf: jnp.moveaxis(leaf, source, destination)  # noqa: E731
    return along(lambda axis, x: x if axis is None else jax.tree.map(move, x), axes, tree)


def _partition(axes: Any) -> Any:
    """Sharding of (streams, models, ...) leaves: models over devices where there are any."""
    return jax.tree.map(
        lambda axis: PartitionSpec() if axis is None else PartitionSpec(None, "models"),
        axes,
        is_leaf=lambda axis: axis is None,
    )
