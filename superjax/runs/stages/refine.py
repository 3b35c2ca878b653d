"""Given weights trained further, under the exact loss and an optimiser that no axis sweeps."""

from functools import cached_property

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from superjax.engine.bfgs import MAX_NUMBERS
from superjax.engine.engine import Program, Shape, program
from superjax.engine.plan import Part, Plan, schedule_factors
from superjax.engine.settling import settle
from superjax.engine.train import Cell, Method
from superjax.problem.expectation import Exact, Objective
from superjax.runs.checkpoint import Layout, Saved
from superjax.runs.chunks import Training, Tried
from superjax.runs.problems import evaluation_objectives, optimum_objectives
from superjax.runs.stages.base import Running
from superjax.spec import Train
from superjax.spec.grid import HYPER

QUICK, THOROUGH = 60, 200  # steps of BFGS, at most
_PART, _ENTRIES = 2**16, 2**24  # models that are settled and kept together, and entries of what is estimated of them


class Refinement:
    """Trains weights of a case further in cells that they need not come from. The numbers of the problem are those of
    the cells, those of the optimiser are given. Raises SweepError if the exact loss cannot be taken."""

    def __init__(self, running: Running):
        self._running, case, problem = running, running.case, running.problem
        self.search, self.fine = optimum_objectives(problem, case)
        shape = Shape(problem, masked=running.cells.n_hidden is not None)
        self.program: Program = program(
            shape, Method(), *evaluation_objectives(problem, case), running.devices, running.own
        )

    def under(self, train: Train, cells: Cell | None = None) -> Cell:
        """The cells of the case, or others, with the optimiser's numbers of a training."""
        return (self._running.cells if cells is None else cells)._replace(hyper=hyper_of(train))

    def run(
        self,
        task: str,
        chunks: str,
        train: Train,
        objective: Objective,
        models: PyTree,
        cell: Int[np.ndarray, " models"],
        cells: Cell | None = None,
    ) -> tuple[PyTree, Float[np.ndarray, " models"]]:
        """Given weights trained in given cells, those of the case or others, and what is minimised of them; `chunks`
        names the size of the chunks."""
        elsewhere = jax.tree.leaves((cells.laws, cells.n_hidden)) if cells else []
        training = self._training(chunks, train, objective, models, cell, cells)
        keep = self._running.kept_in(task, training, cell, *jax.tree.leaves(models), *elsewhere)
        training.run(keep)
        (refined, _, _), loss = training.gather(keep)
        return refined, loss

    def tried(
        self,
        chunks: str,
        train: Train,
        objective: Objective,
        models: PyTree,
        cell: Int[np.ndarray, " models"],
    ) -> Tried:
        """What `run` would take, from a moment of it."""
        return self._training(chunks, train, objective, models, cell, None).tried()

    def _training(
        self,
        chunks: str,
        train: Train,
        objective: Objective,
        models: PyTree,
        cell: Int[np.ndarray, " models"],
        cells: Cell | None,
    ) -> Training:
        cells = self.under(train, cells)
        plan = Plan([Part(objective, train.steps)], schedule_factors(train), self._running.case.seed)
        return Training(
            self.program, plan, cells, cell, np.zeros(len(cell), np.int32), self._running.chunks[chunks],
            lambda index: jax.tree.map(lambda x: x[index], models),
            lambda trained, cell: self.loss(trained.models, cells, cell),
            jax.ShapeDtypeStruct((), np.float32),
        )  # fmt: skip

    @cached_property
    def settles(self) -> bool:
        """Whether models are few numbers, so that `settle` is for them."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.program.model)) <= MAX_NUMBERS

    def settle(
        self, task: str, models: PyTree, cell: Int[np.ndarray, " models"], thoroughly: bool
    ) -> tuple[PyTree, Float[np.ndarray, " models"], Bool[np.ndarray, " models"]]:
        """Given weights moved to the minima nearby in cells of the case, what is minimised of them, and which are
        stuck. `thoroughly` is with more steps and under the objective of the evaluation, if that is exact: minima of
        the one for finishing are off by 1e-5 to 1e-3 in loss, as its nodes are few."""
        finest = self.program.fine if isinstance(self.program.fine, Exact) else self.fine
        objectives = (self.fine,) if finest == self.fine else (self.fine, finest)
        which, steps = (len(objectives) - 1, THOROUGH) if thoroughly else (0, QUICK)
        chunk = -(-self._running.grid.n_cells // self.program.mesh.size)  # one of every cell: chunks are filled up
        if jax.default_backend() != "cpu":  # where all of a chunk are worked on at once
            chunk = min(chunk, self._running.chunks["evaluate"])
        like = jax.tree.leaves(models)
        size = max(1, min(_PART, _ENTRIES // sum(leaf[0].size for leaf in like) ** 2))
        parts = [slice(first, first + size) for first in range(0, len(cell), size)]

        def fits(number: int, layout: Layout) -> bool:
            count = len(cell[parts[number]])
            expected = [(leaf.dtype, (count, *leaf.shape[1:])) for leaf in like]
            return layout.done and layout.arrays == [*expected, (np.dtype(bool), (count,))]

        about = [chunk, which, steps, [repr(objective) for objective in objectives]]
        keep, found = self._running.kept(task, about, fits, cell, *like), []
        for number, part in enumerate(parts):
            saved = keep.load(number)
            if saved is None or not saved.done:
                own = jax.tree.map(lambda x, part=part: x[part], models)
                settled = settle(
                    self.program, objectives, which, own, self.under(Train()), cell[part], chunk, steps, not thoroughly
                )
                saved = Saved(True, steps, [*map(np.asarray, jax.tree.leaves(settled.models)), settled.stuck])
                keep.save(number, saved)
            found.append(saved.arrays)
        *leaves, stuck = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        moved = jax.tree.unflatten(jax.tree.structure(models), leaves)
        return moved, self.loss(moved, self.under(Train()), cell), stuck

    def loss(self, models: PyTree, cells: Cell, cell: Int[np.ndarray, " models"], error: bool = False):
        """What is minimised of models in cells, or of it the `error` alone, (models,)."""
        return self.program.loss(models, cells, cell, self._running.chunks["evaluate"], error)

    def gradient(self, models: PyTree, cells: Cell, cell: Int[np.ndarray, " models"]) -> Float[np.ndarray, " models"]:
        """Norm of the gradient of what is minimised, of models in cells."""
        return np.asarray(self.program.evaluate(models, cells, cell, self._running.chunks["evaluate"]).grad_norm)

    @cached_property
    def several_terms(self) -> bool:
        """Whether more than the error is minimised."""
        return len(self._running.problem.terms) > 1


def hyper_of(train: Train) -> dict[str, np.float32]:
    """The optimiser's numbers of a training."""
    return {name: np.float32(np.inf if getattr(train, name) is None else getattr(train, name)) for name in HYPER}
