"""Trains any number of models, a chunk on every device at a time, and keeps what is done.

Memory stays bounded whatever the grid, and a run can be stopped at any moment and taken up by any number of devices
or processes: a chunk's models, hence their numbers, never depend on who trains it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

from superjax.engine.engine import Program, Progress
from superjax.engine.pace import Pace
from superjax.engine.plan import Plan
from superjax.engine.train import Cell
from superjax.engine.vectorised import Compiled
from superjax.runs.checkpoint import Keep, Layout, Saved
from superjax.system import interrupt

Group = dict[int, Saved | None]  # chunks by number, each as last saved
Tell = Callable[[float], object]  # told of models, and fractions of one, that are finished


def _nobody(models: float) -> None:
    """Is told, and does nothing."""


class Trained(NamedTuple):
    """Trained weights (models, ...), first step that was not finite or -1, snapshots (models, snapshots, ...)."""

    models: PyTree
    diverged_at: Int[np.ndarray, " models"]
    snapshots: PyTree | None


class Scored(NamedTuple):
    """Trained models and what they were found to be worth: whatever `Training.score` returns, leaves (models, ...)."""

    trained: Trained
    score: PyTree


class Tried(NamedTuple):
    """What a training would take: how many chunks it has, and seconds by phase."""

    chunks: int
    training: float
    evaluation: float
    compiling: float


@dataclass(frozen=True, eq=False)
class Training:
    """Models to be trained: each with its cell and stream of minibatches, `chunk` of a stream at a time on a device.

    Attributes:
        first: model numbers of any shape -> initial weights, leaves (*numbers, ...).
        score: trained models and their cells -> what to keep of them, floats; `score_like` is that of one model.
    """

    program: Program
    plan: Plan
    cells: Cell
    cell: Int[np.ndarray, " models"]
    stream: Int[np.ndarray, " models"]
    chunk: int
    first: Callable[[Int[np.ndarray, "..."]], PyTree]
    score: Callable[[Trained, Int[np.ndarray, " models"]], PyTree]
    score_like: PyTree

    @cached_property
    def chunks(self) -> Int[np.ndarray, "chunks streams models"]:
        """Model numbers of every chunk, -1 where a stream has no more."""
        members = [np.flatnonzero(self.stream == s).astype(np.int32) for s in range(self.program.shape.streams)]
        count = -(-max(map(len, members)) // self.chunk)
        order = np.full((len(members), count * self.chunk), -1, np.int32)
        for row, numbers in zip(order, members, strict=True):
            row[: len(numbers)] = numbers
        return order.reshape(len(members), count, self.chunk).swapaxes(0, 1)

    def fits(self, number: int, layout: Layout) -> bool:
        """Whether what is saved, as it says, can be a chunk of this training."""
        model, state = jax.tree.leaves(self.program.model), self.program.state
        if layout.done:
            models, steps = self._models(number), len(self.plan.snapshots)
            trained = [(leaf.dtype, (models, *leaf.shape)) for leaf in model] + [(np.dtype(np.int32), (models,))]
            trained += [(leaf.dtype, (models, steps, *leaf.shape)) for leaf in model if steps]
            scored = [(models, *leaf.shape) for leaf in jax.tree.leaves(self.score_like)]
            score = layout.arrays[len(trained) :]
            return (
                layout.step == len(self.plan.factors)
                and layout.arrays[: len(trained)] == trained
                and [shape for _, shape in score] == scored
                and all(dtype.kind == "f" for dtype, _ in score)
            )
        here = self.chunks.shape[1:]
        own = [(leaf.dtype, (*here, *leaf.shape)) for leaf in model]
        optimizer = [
            (leaf.dtype, (*here, *leaf.shape) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf.shape)
            for leaf in jax.tree.leaves(state.optimizer)
        ]
        kept = len(self.plan.snapshots)
        snapshots = [(leaf.dtype, (*here, kept, *leaf.shape)) for leaf in model if kept]
        expected = [*own, *optimizer, (np.dtype(np.int32), here), *snapshots]
        return layout.step <= len(self.plan.factors) and layout.arrays == expected

    def run(
        self,
        keep: Keep,
        progress: Tell = _nobody,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """Train the chunks that fall to this process, but for those that are done.

        `progress` is told of the models (and fractions of one) just finished. Signals wait until what runs is saved.
        """
        with interrupt.deferred():
            for group in self._groups(keep, progress, process, processes):
                self._train(group, keep, progress)

    def tried(self, seconds: float = 0.7) -> Tried:
        """Train the first chunks for some seconds in every part of the plan, and score them; nothing is kept."""
        group: Group = {number: None for number in range(min(self.program.mesh.size, len(self.chunks)))}
        index = np.full((self.chunks.shape[1], self.program.mesh.size * self.chunk), -1, np.int32)
        for place, number in self._places(group):
            index[:, place] = self.chunks[number]
        before, begin, training = Compiled.seconds, 0, 0.0
        for part in self.plan.parts:
            if part.end > begin:
                training += (part.end - begin) * self._seconds_a_step(group, index, begin, part.end, seconds)
                begin = part.end
        _, state = self._taken_up(group, index)
        used = index.ravel() >= 0
        model, lost = jax.tree.map(
            lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[used], (state.state.model, state.state.diverged_at)
        )
        snapshots = self.plan.snapshots and jax.tree.map(
            lambda x: np.repeat(x[:, None], len(self.plan.snapshots), axis=1), model
        )
        trained, cell = Trained(model, lost, snapshots or None), self.cell[index.ravel()[used]]
        took = 0.0
        for _ in range(2):  # the first compiles; a long one is not done again
            start, compiled = time.perf_counter(), Compiled.seconds
            self.score(trained, cell)
            took = time.perf_counter() - start - (Compiled.seconds - compiled)
            if took > 3 * seconds:
                break
        evaluation = took * len(self.cell) / len(cell)
        groups = -(-len(self.chunks) // self.program.mesh.size)
        compiling = Compiled.seconds - before
        return Tried(len(self.chunks), groups * training, evaluation, compiling)

    def _seconds_a_step(self, group: Group, index: Int[np.ndarray, "..."], begin: int, end: int, most: float) -> float:
        """Of a group of chunks from step `begin` on, for about so many seconds and at most to step `end`."""

        def calls() -> Iterator[tuple[int, Progress]]:
            _, state = self._taken_up(group, index)
            return self.program.advance(state, begin, self.cells, self.cell[index], self.plan, self._pace)

        steps = calls()
        first = step = next(steps)[0]  # compiles
        if first >= end:
            steps, first = calls(), begin
        start = time.perf_counter()
        for step, _ in steps:
            if step >= end or time.perf_counter() - start > most:
                break
        return (time.perf_counter() - start) / max(step - first, 1)

    def complete(self, keep: Keep) -> bool:
        """Whether no process has anything left to do; `gather` trains what turns out to be unusable."""
        return all(keep.settled(number) for number in range(len(self.chunks)))

    def share_done(self, keep: Keep) -> float:
        """Which part of all steps of all models is done, from 0 to 1."""
        steps, done = len(self.plan.factors), 0.0
        for number in range(len(self.chunks)):
            if keep.done(number):
                done += self._models(number)
            elif saved := keep.load(number):
                done += self._models(number) * saved.step / steps
        return done / max(len(self.cell), 1)

    def gather(self, keep: Keep) -> Scored:
        """All models in their order, of `run` in all processes; trains a chunk again whose file is damaged."""
        scored = Scored(
            Trained(self.program.model, 0, self.program.model if self.plan.snapshots else None), self.score_like
        )
        structure, whole = jax.tree.structure(scored), None
        for number, index in enumerate(self.chunks):
            saved = keep.load(number)
            if saved is None or not saved.done:
                self._train({number: saved}, keep, _nobody)
                saved = keep.load(number)
                assert saved is not None
            if whole is None:
                whole = [np.empty((len(self.cell), *part.shape[1:]), part.dtype) for part in saved.arrays]
            for array, part in zip(whole, saved.arrays, strict=True):
                array[index[index >= 0]] = part
        return jax.tree.unflatten(structure, whole)

    @cached_property
    def _pace(self) -> Pace:
        return Pace()

    def _groups(self, keep: Keep, progress: Tell, process: int, processes: int) -> Iterator[Group]:
        """Chunks to be trained side by side, one for every device, all of them at the same step."""
        todo, devices = [], self.program.mesh.size
        for number in range(process, len(self.chunks), processes):
            if keep.done(number):
                progress(float(self._models(number)))
            else:
                saved = keep.load(number)
                todo.append((saved.step if saved else 0, number))
        for _, equal in groupby(sorted(todo, key=lambda entry: (-entry[0], entry[1])), lambda entry: entry[0]):
            numbers = [number for _, number in equal]
            for i in range(0, len(numbers), devices):
                yield {number: keep.load(number) for number in numbers[i : i + devices]}

    def _train(self, group: Group, keep: Keep, progress: Tell) -> None:
        """Train and score chunks on one device each, and save them."""
        index = np.full((self.chunks.shape[1], self.program.mesh.size * self.chunk), -1, np.int32)
        for place, number in self._places(group):
            index[:, place] = self.chunks[number]
        cell, models, steps = self.cell[index], sum(map(self._models, group)), len(self.plan.factors)

        step, state = self._taken_up(group, index)
        progress(models * step / steps)
        for after, following in self.program.advance(state, step, self.cells, cell, self.plan, self._pace):
            progress(models * (after - step) / steps)
            step, state = after, following
            if keep.due():
                start, whole = time.monotonic(), [np.asarray(x) for x in jax.tree.leaves(state)]
                for place, number in self._places(group):
                    keep.save(number, Saved(False, step, [x[:, place] if x.ndim else x for x in whole]))
                keep.took(time.monotonic() - start)
            interrupt.check()
        self._finish(group, state, keep)

    def _finish(self, group: Group, state: Progress, keep: Keep) -> None:
        """Score trained chunks and save what is to be kept of them."""
        everything = jax.tree.map(np.asarray, Trained(state.state.model, state.state.diverged_at, state.snapshots))
        parts = [
            jax.tree.map(lambda x, p=place, used=self.chunks[number] >= 0: x[:, p][used], everything)
            for place, number in self._places(group)
        ]
        trained = jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
        numbers = np.concatenate([self.chunks[number][self.chunks[number] >= 0] for number in group])
        scored, start = Scored(trained, self.score(trained, self.cell[numbers])), 0
        for number in group:
            end = start + self._models(number)
            arrays = [np.asarray(x[start:end]) for x in jax.tree.leaves(scored)]
            keep.save(number, Saved(True, len(self.plan.factors), arrays))
            start = end

    def _taken_up(self, group: Group, index: Int[np.ndarray, "streams models"]) -> tuple[int, Progress]:
        """The step at which the chunks of a group are, and their state side by side."""
        start = self.program.start(self.first(index), self.cells, self.cell[index], self.plan)
        saved = [entry for entry in group.values() if entry is not None]
        if len(saved) < len(group):
            return 0, start
        leaves = [np.array(leaf) for leaf in jax.tree.leaves(start)]
        for (place, _), entry in zip(self._places(group), saved, strict=True):
            for leaf, part in zip(leaves, entry.arrays, strict=True):
                leaf[(slice(None), place) if leaf.ndim else ...] = part
        return saved[0].step, jax.tree.unflatten(jax.tree.structure(start), leaves)

    def _places(self, group: Group) -> Iterator[tuple[slice, int]]:
        """Where the models of every chunk are among those trained side by side, and its number."""
        for device, number in enumerate(group):
            yield slice(device * self.chunk, (device + 1) * self.chunk), number

    def _models(self, number: int) -> int:
        return int(np.sum(self.chunks[number] >= 0))
