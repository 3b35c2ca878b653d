"""Many models moved to the minima nearby, side by side: those that have arrived are left out."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from superjax.engine import bfgs
from superjax.engine.engine import Program
from superjax.engine.train import Cell, masked
from superjax.problem.expectation import Objective

_SETTLED = 1e-8  # relative gain of the next step, by its estimate, at which a model is at rest
_STUCK = 1e-5  # the same, from which one whose loss does not fall any more is at a kink
_STALLED = 1e-7  # relative gain in a block of steps from which models go on
_BESIDE, _LOWER, _TRIES = 0.02, 1e-6, 3  # how far beside a model one is looked for, how much lower, and how often
_LATE = 20  # steps before the last, from which it is not waited until places fill a chunk
_CHUNK, _SIDE_BY_SIDE = 2**11, 2**7  # models of a call on a CPU device at most, and of a group there
_ENTRIES = 2**26  # of the largest array on a device, at most


class Settled(NamedTuple):
    """Models, leaves (models, ...), and which of them are stuck: at a kink where the loss still has a slope, or without
    a finite loss. Others are at rest, or ran out of steps."""

    models: PyTree
    stuck: Bool[np.ndarray, " models"]


def settle(
    program: Program, objectives: tuple[Objective, ...], which: int, models: PyTree, cells: Cell,
    cell: Int[np.ndarray, " models"], chunk: int, steps: int, beside: bool,
) -> Settled:  # fmt: skip
    """The minima that models, leaves (models, ...), fall to under one of some objectives in at most so many steps.

    A chunk of at most so many models is on a device at a time. If it is looked `beside` them, a saddle is no end, nor
    one on one side alone, where a ReLU has a kink, if steps are left; that waits until a chunk is full, so a model that
    runs out of steps may depend on others. For models of at most `bfgs.MAX_NUMBERS` numbers and objectives with fixed
    rows.
    """
    if cells.n_hidden is not None:  # a model may come from a cell with more hidden dimensions
        models = jax.vmap(lambda model, dims: masked(model, Cell(None, {}, dims)))(models, cells.n_hidden[cell])
    start = bfgs.flat(models)
    chunk, side_by_side = _chunk(program, objectives, start.shape[1], chunk)
    walks, left, stuck = bfgs.begin(start), np.arange(len(cell)), np.zeros(len(cell), bool)
    waiting, tries, taken = left[:0], np.full(len(cell), _TRIES if beside else 0), 0
    while taken < steps and len(left):
        block = 5 if taken < 10 else 10
        before = jax.tree.map(lambda leaf, left=left: leaf[left], walks)
        after = program.descend(objectives, which, before, cells, cell[left], chunk, side_by_side, block)
        _put(walks, left, after)
        gain, taken = bfgs.gain(after), taken + block
        stalled = ~(after.loss < _below(before.loss, _STALLED))  # true of NaN
        stuck[left] = stalled & ~(gain < _STUCK)
        done = stalled | (gain <= _SETTLED)
        waiting = np.concatenate([waiting, left[done & ~stuck[left] & (tries[left] > 0)]])
        left = left[~done]
        full = len(waiting) >= chunk * program.mesh.size
        if len(waiting) and taken < steps and (full or not len(left) or taken >= steps - _LATE):
            place, there, here = program.lowest_beside(
                objectives[which], _BESIDE, walks.x[waiting], cells, cell[waiting], chunk, side_by_side
            )
            lower = there < _below(here, _LOWER)
            again, waiting = waiting[lower], left[:0]
            _put(walks, again, bfgs.begin(place[lower]))
            tries[again] -= 1
            left = np.concatenate([left, again])
    return Settled(bfgs.unflat(program.model, walks.x), stuck)


def _chunk(program: Program, objectives: tuple[Objective, ...], numbers: int, most: int) -> tuple[int, int]:
    """Models of a chunk on a device, and of a group of it. The largest arrays that are counted: gradients at the places
    beside a model and, in the plain form, rows."""
    entries = 2 * numbers**2
    for objective in objectives:
        if program.form(objective) == "plain":
            entries = max(entries, numbers * objective.n_rows)
    chunk = max(16, min(most, _ENTRIES // entries) // 16 * 16)
    if jax.default_backend() != "cpu":
        return chunk, chunk
    chunk = min(chunk, _CHUNK)
    return (chunk // _SIDE_BY_SIDE * _SIDE_BY_SIDE, _SIDE_BY_SIDE) if chunk > _SIDE_BY_SIDE else (chunk, chunk)


def _below(loss: Float[np.ndarray, " models"], part: float) -> Float[np.ndarray, " models"]:
    """A loss lower by so much of its size, which may be infinite."""
    return loss - part * np.where(np.isfinite(loss), np.abs(loss), 0)


def _put(walks: bfgs.Walk, where: Int[np.ndarray, " some"], some: bfgs.Walk) -> None:
    for whole, part in zip(walks, some, strict=True):
        whole[where] = part
