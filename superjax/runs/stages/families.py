"""Families of solutions, each followed along an axis from weights of its own, or from the best of the restarts.

A local minimum moves as the axis does, and so far as it remains one it can be followed: the weights of one cell are
the start of the next. So the losses of two kinds of solution can be compared where training would only find one. Two
families that begin with the best at either end of an axis show hysteresis: where they differ, each is a minimum that
the other side does not lead to.
"""

import itertools

import jax
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, PyTree

from superjax import analysis
from superjax.engine.newton import MAX_NUMBERS
from superjax.errors import SweepError
from superjax.problem.problem import Problem
from superjax.runs.chunks import Tried
from superjax.runs.problems import optimum_objectives
from superjax.runs.stages.base import Found, Running, Stage, Trainee, Variables
from superjax.runs.stages.following import Followed, follow, longest_path, most_at_once, slopes
from superjax.runs.stages.refine import Refinement
from superjax.runs.starting import with_arrays
from superjax.spec import Case, Train

# Small steps without momentum: a feature that is left out has a bias of half its density, and once that is negative
# its output is dead for good.
FOLLOW = Train(steps=1000, learning_rate=0.001, b1=0.0, b2=0.9)
BEST = "best"  # as the start of a family: the restart of lowest loss in the cell where it begins
_OTHERS = 16  # cells whose best restarts are tried besides, where a family begins
_KICKS = 3  # of the random numbers of kicks; 0 has initial weights, 1 minibatches, 2 attacks


def starts(case: Case) -> Float[np.ndarray, "families n_hidden n_features"]:
    """The weights from which the families of a case start, 0 where that is the best that is found. Raises SweepError if
    there are no such solutions."""
    found = []
    for name, family in case.families.items():
        given = family.W if family.W != BEST else [[0.0] * case.n_features] * case.n_hidden
        try:
            rows = analysis.ideal(given, case.n_hidden, case.n_features) if isinstance(given, str) else given
        except ValueError as error:
            raise SweepError(f"families.{name}.W: {error}") from None
        found.append(np.array(rows, np.float32))
    return np.stack(found)


class Families(Stage):
    """The stage `families`: the case's families under the exact objective. What takes gradient steps is kept, as all
    training is; Newton steps are few, and are taken again."""

    name, stem = "families", "family"
    doing = "following the families"
    labels = {
        "family": "solutions followed along an axis, each from weights of its own",
        "family_W": "weights of the family's solution",
        "family_b": "bias of the family's solution",
        "family_loss": "loss of the family's solution",
        "family_objective": "all terms that are minimised, of the family's solution",
        "family_grad_norm": "norm of the gradient at the family's solution, near 0 where it is a minimum",
        "family_slope": "derivative of what is minimised along the family's axis, at fixed weights",
        "family_norm": "norm of the feature's direction in the family's solution",
        "family_solution": "polytopes that the represented features of the family's solution form",
        "family_solution_deviation": "largest deviation of a component of the family's solution from its polytope",
    }

    @staticmethod
    def asked(case: Case) -> bool:
        return bool(case.families)

    @staticmethod
    def check(case: Case, problem: Problem) -> None:
        optimum_objectives(problem, case)
        starts(case)
        for name, family in case.families.items():
            if "n_hidden" in case.axes[family.along].names:
                raise SweepError(f"families.{name}.along: no solution can be followed to other numbers of dimensions")
            size = sum(array.size for array in jax.tree.leaves(problem.shapes()))
            if family.method == "newton" and size > MAX_NUMBERS:
                raise SweepError(
                    f"families.{name}.method: newton takes models of {MAX_NUMBERS} numbers, this has {size}"
                )

    def __init__(self, running: Running):
        self._running, self._refinement, self._starts = running, Refinement(running), starts(running.case)
        families = running.case.families.values()
        self._newton, by_steps = (
            most_at_once(running.grid, [family for family in families if (family.method == "newton") == newton])
            for newton in (True, False)
        )
        refinement = self._refinement
        if by_steps:
            running.chunk("follow", refinement.program, refinement.fine, by_steps, refinement.under(FOLLOW))

    def tried(self, untrained: Trainee) -> Tried | None:
        """As many rounds as the longest path has cells; None of families by Newton's method, which ends where it is at
        rest."""
        families = list(self._running.case.families.values())
        if self._newton or any(family.W == BEST for family in families):
            return None
        rounds, at_once = longest_path(self._running.grid, families), most_at_once(self._running.grid, families)
        cell = np.zeros(at_once, np.int32)
        models = jax.tree.map(lambda x: np.repeat(x[:1], at_once, axis=0), untrained.models)
        found = self._refinement.tried("follow", FOLLOW, self._refinement.fine, models, cell)
        return found._replace(training=rounds * (found.training + found.evaluation), evaluation=0.0)

    def run(self, trained: Trainee) -> Found:
        grid, variables = self._running.grid, {}
        followed, dims = self.follow(trained), (*self._running.grid.dims, "family")
        loss, under = followed.loss, self._refinement.under(FOLLOW)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), followed.models)
        cell = np.repeat(np.arange(grid.n_cells, dtype=np.int32), loss.shape[1])
        if self._refinement.several_terms:
            variables["family_objective"] = (dims, grid.unflatten(loss))
            loss = self._refinement.loss(flat, under, cell, error=True).reshape(loss.shape)
        variables["family_loss"] = (dims, grid.unflatten(loss))
        gradient = self._refinement.gradient(flat, under, cell).reshape(loss.shape)
        variables["family_grad_norm"] = (dims, grid.unflatten(gradient))
        families, minimised = list(grid.case.families.values()), followed.loss
        along = slopes(grid, families, minimised, lambda cells: self._refinement.loss(flat, under, cells))
        variables["family_slope"] = (dims, grid.unflatten(along))
        for name, own in type(followed.models).dims.items():
            variables[f"family_{name}"] = ((*dims, *own), grid.unflatten(getattr(followed.models, name)))
        return Found(variables, {"family": list(self._running.case.families)})

    def follow(self, trained: Trainee) -> Followed:
        """All families, from the weights that are given or the best of the restarts.

        Biases, where the model has them and weights are given, start at 0, those of features that are left out at their
        mean: a ReLU at 0 would be dead."""
        W, running, refinement = self._starts, self._running, self._refinement
        mean, _ = refinement.program.moments(running.cells.laws)
        is_best = np.array([family.W == BEST for family in running.case.families.values()])
        to_rest = _ToRest(running, refinement, self._newton)

        def first(family: Int[np.ndarray, " models"], cell: Int[np.ndarray, " models"]) -> PyTree:
            numbers, one = np.arange(len(family), dtype=np.int32), np.ones(len(family), np.float32)
            models = refinement.program.initialise(running.case.seed, numbers[:, None], one, 0 * one, len(family))
            given = {"W": W[family]}
            if type(models).dims.get("b") == ("feature",):
                given["b"] = np.where(analysis.norm(W[family]) == 0, mean[cell], np.float32(0))
            models = jax.tree.map(np.array, with_arrays(models, given))
            for number in np.flatnonzero(is_best):
                _put(models, family == number, to_rest.best(trained, int(number), cell[family == number]))
            return models

        return follow(running.grid, first, to_rest.kicked)

    @staticmethod
    def derive(dataset: xr.Dataset, case: Case) -> Variables:
        if "family_W" not in dataset:
            return {}
        return {"family_norm": ((*case.axes, "family", "feature"), analysis.norm(dataset["family_W"].values))}


class _ToRest:
    """Brings weights of families to rest in given cells: by gradient steps, or by Newton's method where a family says
    so, of which so many models are side by side."""

    def __init__(self, running: Running, refinement: Refinement, side_by_side: int):
        self._running, self._refinement, self._side_by_side = running, refinement, side_by_side
        families = list(running.case.families.values())
        self._newton = np.array([family.method == "newton" for family in families])
        self._strength = np.array([family.kick or 0.0 for family in families], np.float32)
        self._rounds, self._kicks = itertools.count(1), itertools.count()

    def __call__(
        self, models: PyTree, family: Int[np.ndarray, " models"], cell: Int[np.ndarray, " models"]
    ) -> tuple[PyTree, Float[np.ndarray, " models"]]:
        refinement, task = self._refinement, f"follow-{next(self._rounds)}"
        found, loss, newton = jax.tree.map(np.array, models), np.zeros(len(cell), np.float32), self._newton[family]
        if newton.any():
            own, under = jax.tree.map(lambda x: x[newton], models), refinement.under(FOLLOW)
            rested, loss[newton] = refinement.program.relax(own, under, cell[newton], self._side_by_side)
            _put(found, newton, rested)
        if not newton.all():
            own = jax.tree.map(lambda x: x[~newton], models)
            rested, loss[~newton] = refinement.run(task, "follow", FOLLOW, refinement.fine, own, cell[~newton])
            _put(found, ~newton, rested)
        return found, loss

    def kicked(
        self, models: PyTree, family: Int[np.ndarray, " models"], cell: Int[np.ndarray, " models"]
    ) -> tuple[PyTree, Float[np.ndarray, " models"]]:
        """The same, where a family is kicked from weights on either side, of which the better one is kept: at a kink of
        the loss a solution may cease to be a minimum on one side alone."""
        if not self._strength[family].any():
            return self(models, family, cell)
        rng = np.random.default_rng([self._running.case.seed, _KICKS, next(self._kicks)])

        def both(x: np.ndarray) -> np.ndarray:
            """Weights, not biases: one that a kick makes negative may be that of an output that is then dead."""
            if x.ndim < 3:
                return np.concatenate([x, x])
            by = self._strength[family].reshape(-1, *[1] * (x.ndim - 1)) * rng.standard_normal(x.shape[1:])
            return np.concatenate([x + by, x - by]).astype(x.dtype)

        found, loss = self(jax.tree.map(both, models), np.tile(family, 2), np.tile(cell, 2))
        one, other = loss.reshape(2, -1)
        better = np.arange(len(cell)) + len(cell) * ~(one <= other)  # the other one of NaN
        return jax.tree.map(lambda x: x[better], found), loss[better]

    def best(self, trained: Trainee, number: int, cell: Int[np.ndarray, " cells"]) -> PyTree:
        """For every cell where a family begins the best of its restarts and of those of some other such cells, which
        may have found what it missed: each brought to rest there."""
        loss = np.where(np.isfinite(trained.loss), trained.loss, np.inf).reshape(self._running.grid.n_cells, -1)
        restarts = np.arange(loss.size).reshape(loss.shape)
        some = cell[np.unique(np.linspace(0, len(cell) - 1, _OTHERS).round().astype(int))]
        others = np.tile(restarts[some, loss[some].argmin(-1)], (len(cell), 1))
        tried = np.concatenate([restarts[cell], others], axis=1)
        models = jax.tree.map(lambda x: x[tried.ravel()], trained.models)
        where = np.repeat(cell, tried.shape[1]).astype(np.int32)
        found, loss = self(models, np.full(len(where), number), where)
        loss = np.where(np.isfinite(loss), loss, np.inf).reshape(tried.shape)
        lowest = np.arange(len(cell)) * tried.shape[1] + loss.argmin(-1)
        return jax.tree.map(lambda x: x[lowest], found)


def _put(models: PyTree, where: Bool[np.ndarray, " models"], values: PyTree) -> None:
    """Replace some of the models."""
    for kept, new in zip(jax.tree.leaves(models), jax.tree.leaves(values), strict=True):
        kept[where] = new
