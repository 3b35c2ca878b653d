"""The problem of a case: its parts from the sweep file, their numbers in every cell, and what is minimised."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from superjax.engine.plan import Part
from superjax.engine.train import Cell
from superjax.errors import SweepError
from superjax.problem import proof
from superjax.problem.data.base import Distribution
from superjax.problem.expectation import (
    ActiveMinibatch,
    ActiveQuasi,
    Exact,
    ExactQuadratic,
    FullBatch,
    Minibatch,
    Objective,
    Quasi,
)
from superjax.problem.expectation.exact import MAX_NODES, MAX_ROWS, default_nodes
from superjax.problem.members import bound, bound_model, code_of, member, of_numbers, statics
from superjax.problem.problem import Laws, Problem
from superjax.problem.proof import Closed
from superjax.problem.terms.squared import Squared
from superjax.spec import Case
from superjax.spec.grid import HYPER, Grid
from superjax.spec.parts import kinds_of

# Training straddles the kink of a ReLU with few product nodes, fewer the more features are active, which costs a
# fraction of the closed innermost integral, and takes that for the last steps: the phases of 99% (n = 2) and 96% (n = 3
# and 4) of models are those of many nodes. The optimum is searched with the same closed form and finished with more
# nodes.
_TRAINING_NODES = {1: 15, 2: (7, 4), 3: (6, 4, 3), 4: (6, 4, 3, 2), 5: (4, 2)}
_TRAINING_NODES_ABOVE = (6, 2)
_LAST = 5  # one in so many steps, the last ones
_FINER_NODES = {1: 1, 2: 13, 3: 9, 4: 7, 5: 5, 6: 4}
_FINER_PRODUCT_NODES = {1: 63, 2: 24, 3: 11, 4: 6, 5: 4, 6: 3}  # where there is no closed form
_EVALUATION_NODES, _EVALUATION_MAX_ROWS = 45, 2**15
_EVALUATION_SAMPLES, _EVALUATION_NUMBERS = 2**17, 2**24  # so many samples, fewer where features are many
_BOUNDARY_ROWS = 256  # few nodes move a boundary: at n = 2 by up to 0.3% with 13 of them, not by 0.05% with 45
_BOUNDARY_NEEDS = 'boundary.by = "optimum" (another is "best") needs'
_FRESH_NUMBERS = 2**19  # of the inputs that finite sets are tested on, which are made for every model
_EVALUATION_ROWS, _EVALUATION_ROWS_ABOVE = {1: 1200, 2: 1200, 3: 1200}, 2**13  # few rows do for few features


def problem_of(case: Case) -> Problem:
    """The parts of a case. Raises SweepError if one of the user's own cannot be imported."""
    n, outputs, terms = case.n_features, case.n_outputs, case.term_kinds()

    def part(name: str, kind: str, table: Any, path: str = "") -> Any:
        return bound(member(name, kind, path), n, statics(name, kind, table))

    return Problem(
        bound_model(member("model", case.model.kind), outputs == n, statics("model", case.model.kind, case.model)),
        part("data", case.data.kind, case.data),
        part("target", case.target.kind, case.target),
        tuple(part("terms", kind, case.terms.get(name), f"terms.{name}.kind") for name, kind in terms.items()),
        tuple(terms),
        n,
        case.n_hidden,
        outputs,
    )


def laws_of(problem: Problem, grid: Grid) -> Laws:
    """The numbers of all cells, leaves (cells, ...)."""
    numbers = {
        name: np.asarray(value, np.float32) for name, value in grid.numbers().items() if not isinstance(value, str)
    }

    def under(*path: str) -> dict[str, np.ndarray]:
        prefix = ".".join((*path, ""))
        own = {name.removeprefix(prefix): value for name, value in numbers.items() if name.startswith(prefix)}
        return {"importance": numbers["importance"], **own}

    terms = zip(problem.terms, problem.names, strict=True)
    return Laws(
        of_numbers(problem.data, under("data")),
        of_numbers(problem.target, under("target")),
        tuple(of_numbers(term, under("terms", name)) for term, name in terms),
        {name: values.astype(np.float32) for name, values in grid.model_numbers().items()},
    )


def cells_of(problem: Problem, grid: Grid) -> Cell:
    """All numbers of all cells, leaves (cells, ...), those of the optimiser that no axis sweeps scalars."""
    numbers, n_hidden = grid.numbers(), grid.fields.get("n_hidden")
    return Cell(
        laws_of(problem, grid),
        {name: np.asarray(numbers[name], np.float32) for name in HYPER},
        None if n_hidden is None else n_hidden.astype(np.float32),
    )


def code_of_case(case: Case) -> str:
    """A digest of the code of the user's members of a case, "" if there are none. Raises SweepError as `member`."""
    return code_of(kinds_of(case.model_dump(include={"model", "data", "target", "terms"})))


def closed_form(problem: Problem) -> Closed:
    """Whether the means of all terms along a segment of inputs have a closed form, and if not, why: the model is a ReLU
    of an affine map, or one, the target linear, and every term has such a mean."""
    model = proof.closed(problem.model, problem.n_features, problem.n_hidden)
    if not model.holds:
        return model
    if not problem.target.linear:
        return Closed(False, model.rectified, f"the target {problem.target.__name__} is not linear along a segment")
    for name, term in zip(problem.names, problem.terms, strict=True):
        if not term.has_segment:
            return Closed(False, model.rectified, f"the term {name} has no closed mean along a segment")
        if term.of_hidden and (why := proof.not_affine_hidden(problem.model, problem.n_features, problem.n_hidden)):
            return Closed(False, model.rectified, f"the term {name} has none: {why}")
    return model


def quadratic(problem: Problem) -> bool:
    """Whether the loss is quadratic in the input, and features are uncorrelated: means and variances do then."""
    found = closed_form(problem)
    squared = all(issubclass(term, Squared) for term in problem.terms)
    return found.holds and not found.rectified and squared and problem.target.identity and problem.data.uncorrelated


def _exact(problem: Problem, nodes: object, closed: bool, max_rows: int = MAX_ROWS) -> Exact:
    if not problem.data.enumerable:
        raise SweepError(
            f'train.objective = "exact" needs a distribution that can be enumerated, {problem.data.__name__} '
            'cannot be; use train.objective = "quasi" or "minibatch"'
        )
    return Exact(problem.n_features, nodes, closed, problem.data, max_rows)


def _all_points(problem: Problem, case: Case) -> FullBatch:
    """All points of a finite set, the same for all models of a seed."""
    return FullBatch(problem.data.n_uniforms(case.n_features), problem.data.points, (case.seed,))


def _active(data: type[Distribution], n_features: int) -> int:
    """How many features are active at once at most: what decides how many nodes are affordable."""
    return min(n_features, data.most_active or n_features)


def training_parts(problem: Problem, case: Case) -> list[Part]:
    """The objective that a sweep file names, and another for the last steps if that pays.

    The exact loss is a few product nodes a feature at first. They straddle the kink of a ReLU, which moves minima by
    a fraction of a percent of the loss; the last steps take the closed innermost integral, or more product nodes where
    the model has none.
    """
    n, train, data = case.n_features, case.train, problem.data
    uniforms = data.n_uniforms(n)
    if data.points:
        return [Part(_all_points(problem, case), train.steps)]
    if train.objective == "exact" and quadratic(problem):
        return [Part(ExactQuadratic(n), train.steps)]
    if train.objective == "exact":
        nodes = train.nodes or _TRAINING_NODES.get(_active(data, n), _TRAINING_NODES_ABOVE)
        search = _exact(problem, nodes, False)
        last = _exact(problem, train.nodes, closed_form(problem).holds)
        return [Part(search, train.steps - train.steps // _LAST), Part(last, train.steps)]
    if train.objective == "quasi":
        return [Part(Quasi(uniforms, train.batch, case.seed), train.steps)]
    kind = ActiveMinibatch if train.skip_empty and data.skips_empty else Minibatch
    return [Part(kind(uniforms, train.batch), train.steps)]


def optimum_objectives(problem: Problem, case: Case) -> tuple[Objective, Objective]:
    """The exact objective, whatever the case is trained with: one to search with, a finer one to finish with."""
    n, closed, data = case.n_features, closed_form(problem).holds, problem.data
    if data.points:
        return _all_points(problem, case), _all_points(problem, case)
    if quadratic(problem):
        return ExactQuadratic(n), ExactQuadratic(n)
    try:
        search = _exact(problem, None, closed)
    except SweepError:
        wish = "optimum = true needs" if case.optimum else "families need" if case.families else _BOUNDARY_NEEDS
        raise SweepError(
            f"{wish} the exact loss, which n_features = {n} makes too large to enumerate; leave it out "
            "or take fewer features"
            if data.enumerable
            else f"{wish} the exact loss, and {data.__name__} cannot be enumerated"
        ) from None
    finer = (_FINER_NODES if closed else _FINER_PRODUCT_NODES).get(_active(data, n), 2)
    affordable = data.n_rows(n, finer, closed) <= MAX_ROWS
    return search, _exact(problem, finer, closed) if affordable else search


def boundary_objective(problem: Problem, case: Case) -> Objective:
    """The exact objective under which the solutions beside a boundary are followed: with more nodes than the optimum is
    searched with, since the losses of two sides are compared."""
    _, finer = optimum_objectives(problem, case)
    if not isinstance(finer, Exact):
        return finer
    n, closed = case.n_features, finer.closed
    nodes = [k for k in range(1, _EVALUATION_NODES + 1) if problem.data.n_rows(n, k, closed) <= _BOUNDARY_ROWS]
    return _exact(problem, nodes[-1], closed) if nodes else finer


def evaluation_objectives(problem: Problem, case: Case) -> tuple[Objective, Objective]:
    """A fine objective for the stored loss, and a second one: their difference says how large its error is.

    The exact loss at more nodes than any training uses where enumeration is affordable, else a large fixed sample
    (its seeds are out of reach of a sweep's own, so that no model is scored on what it was trained on). Of a finite set
    of inputs the loss is that of the set, and the second that of the law it was drawn from.
    """
    n, closed, data = case.n_features, closed_form(problem).holds, problem.data
    uniforms = data.n_uniforms(n)
    kind = ActiveQuasi if data.skips_empty else Quasi
    size = min(_EVALUATION_SAMPLES, 2 ** max(int(math.log2(_EVALUATION_NUMBERS / n)), 4))
    if data.points:
        fresh = min(_EVALUATION_SAMPLES, max(data.points, _FRESH_NUMBERS // n))
        return _all_points(problem, case), FullBatch(uniforms, fresh, (case.seed, 1))
    if quadratic(problem):
        return ExactQuadratic(n), ExactQuadratic(n)
    if case.train.evaluation_samples and case.train.objective != "exact":
        size = case.train.evaluation_samples
    elif data.enumerable:
        choices = range(1, _EVALUATION_NODES + 1)
        rows = _EVALUATION_ROWS.get(n, _EVALUATION_ROWS_ABOVE)
        affordable = [k for k in choices if data.n_rows(n, k, closed) <= rows]
        default = default_nodes(_active(data, n), closed)
        nodes = min(max([*affordable, (case.train.nodes or default) + 1]), MAX_NODES)
        if data.n_rows(n, nodes, closed) <= _EVALUATION_MAX_ROWS:
            fine = _exact(problem, nodes, closed, _EVALUATION_MAX_ROWS)
            if closed:
                second = max(2 * nodes // 3, 1)
            else:  # product nodes converge so slowly that fewer of them would be wrong by many times as much
                choices = range(nodes + 1, min(3 * nodes, MAX_NODES) + 1)
                second = max((k for k in choices if data.n_rows(n, k, closed) <= _EVALUATION_MAX_ROWS), default=nodes)
                if 2 * second < 3 * nodes:
                    return fine, kind(uniforms, _EVALUATION_MAX_ROWS, 2**32 + 2)
            return fine, _exact(problem, second, closed, _EVALUATION_MAX_ROWS)
    return kind(uniforms, size, 2**32 + 1), kind(uniforms, max(size // 2, 1), 2**32 + 2)


def exchangeable(
    problem: Problem, laws: Laws
) -> tuple[Float[np.ndarray, "cells n_features"], Float[np.ndarray, "cells n_features"], int]:
    """Which features of a cell may be exchanged: importances and other numbers that must be equal, and the size of sets
    that may only be so as wholes. No two are equal where the target or a term is not symmetric."""
    n, sizes = problem.n_features, []
    symmetric = problem.target.symmetric and all(term.symmetric for term in problem.terms)

    def numbers_of(laws: Laws) -> tuple[Float[Array, " n_features"], Float[Array, " n_features"]]:
        alike, size = laws.data.exchangeable(n)
        sizes.append(size)
        return laws.terms[0].weights() if symmetric else jnp.arange(n, dtype=jnp.float32), alike

    importance, alike = jax.vmap(numbers_of)(laws)
    return np.asarray(importance), np.asarray(alike), sizes[0]
