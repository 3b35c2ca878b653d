"""Given weights trained further, under the exact loss and an optimiser that no axis sweeps."""

from functools import cached_property

import jax
import numpy as np
from jaxtyping import Float, Int, PyTree

from superjax.engine.engine import Program, Shape, program
from superjax.engine.plan import Part, Plan, schedule_factors
from superjax.engine.train import Cell, Method
from superjax.problem.expectation import Objective
from superjax.runs.chunks import Training, Tried
from superjax.runs.problems import evaluation_objectives, optimum_objectives
from superjax.runs.stages.base import Running
from superjax.spec import Train
from superjax.spec.grid import HYPER


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
        coarse: int = 0,
    ) -> tuple[PyTree, Float[np.ndarray, " models"]]:
        """Given weights trained in given cells, those of the case or others, and what is minimised of them; `chunks`
        names the size of the chunks. The first `coarse` steps minimise the objective of the search: they take less
        time.
        """
        elsewhere = jax.tree.leaves((cells.laws, cells.n_hidden)) if cells else []
        training = self._training(chunks, train, objective, models, cell, cells, coarse)
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
        coarse: int = 0,
    ) -> Tried:
        """What `run` would take, from a moment of it."""
        return self._training(chunks, train, objective, models, cell, None, coarse).tried()

    def _training(
        self,
        chunks: str,
        train: Train,
        objective: Objective,
        models: PyTree,
        cell: Int[np.ndarray, " models"],
        cells: Cell | None,
        coarse: int,
    ) -> Training:
        cells = self.under(train, cells)
        first = [Part(self.search, coarse)] if coarse and self.search != objective else []
        plan = Plan([*first, Part(objective, train.steps)], schedule_factors(train), self._running.case.seed)
        return Training(
            self.program, plan, cells, cell, np.zeros(len(cell), np.int32), self._running.chunks[chunks],
            lambda index: jax.tree.map(lambda x: x[index], models),
            lambda trained, cell: self.loss(trained.models, cells, cell),
            jax.ShapeDtypeStruct((), np.float32),
        )  # fmt: skip

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
