"""Many models moved to the minima nearby, side by side: those that have arrived are left out."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int, PyTree

from superjax.engine import bfgs
from superjax.engine.engine import Program
from superjax.engine.train import Cell
from superjax.problem.expectation import Objective

_SETTLED = 1e-8  # relative gain of the next step, by its estimate, at which a model is at rest
_STUCK = 1e-5  # the same, from which one whose loss does not fall any more is at a kink
_STALLED = 1e-7  # relative gain in a block of steps from which models go on
_BESIDE, _LOWER, _TRIES = 0.02, 1e-6, 3  # how far beside a model one is looked for, how much lower, and how often
_CHUNK = 2**11  # models on a CPU device, at most: blocks of steps of few models are many


class Settled(NamedTuple):
    """Models, leaves (models, ...), and which of them are stuck: at a kink where the loss still has a slope, or without
    a finite loss. Others are at rest, or would need more steps."""

    models: PyTree
    stuck: Bool[np.ndarray, " models"]


def settle(
    program: Program, objectives: tuple[Objective, ...], which: int, models: PyTree, cells: Cell,
    cell: Int[np.ndarray, " models"], chunk: int, steps: int, beside: bool,
) -> Settled:  # fmt: skip
    """The minima that models, leaves (models, ...), fall to under one of some objectives in at most so many steps.

    If it is looked `beside` them, a place that is lower on one side alone, where a ReLU has a kink, is no end either.
    For models of at most `bfgs.MAX_NUMBERS` numbers and objectives with fixed rows.
    """
    chunk = min(chunk, _CHUNK) if jax.default_backend() == "cpu" else chunk
    walks, left, stuck = bfgs.begin(bfgs.flat(models)), np.arange(len(cell)), np.zeros(len(cell), bool)
    tries, taken = np.full(len(cell), _TRIES if beside else 0), 0
    while taken < steps and len(left):
        block = 5 if taken < 10 else 10
        before = jax.tree.map(lambda leaf, left=left: leaf[left], walks)
        after = program.descend(objectives, which, before, cells, cell[left], chunk, block)
        _put(walks, left, after)
        gain, taken = bfgs.gain(after), taken + block
        stalled = ~(after.loss < before.loss * (1 - _STALLED))  # true of NaN
        stuck[left] = stalled & ~(gain < _STUCK)
        done = stalled | (gain <= _SETTLED)
        looked = left[done & ~stuck[left] & (tries[left] > 0)]
        if len(looked):
            place, there, here = program.lowest_beside(
                objectives[which], _BESIDE, walks.x[looked], cells, cell[looked], chunk
            )
            lower = there < here * (1 - _LOWER)
            looked = looked[lower]
            _put(walks, looked, bfgs.begin(place[lower]))
            tries[looked] -= 1
        left = np.concatenate([left[~done], looked])
    return Settled(bfgs.unflat(program.model, walks.x), stuck)


def _put(walks: bfgs.Walk, where: Int[np.ndarray, " some"], some: bfgs.Walk) -> None:
    for whole, part in zip(walks, some, strict=True):
        whole[where] = part
