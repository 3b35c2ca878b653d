"""What every member of a problem promises, asked of all that are registered: a new one is tested by being there."""

import inspect
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superjax.engine import kernel
from superjax.engine.train import Cell, values_and_gradient
from superjax.problem.expectation import Exact, FullBatch, Quasi
from superjax.problem.members import BUILT_IN
from superjax.problem.problem import Laws, Problem
from superjax.runs.faults import check_problem
from superjax.runs.problems import closed_form, evaluation_objectives, laws_of, problem_of
from superjax.spec import Case
from superjax.spec.grid import Grid
from tests.problem.test_loss import double

SAMPLES = 2**14
# What makes a member more telling than its defaults.
DENSITIES = [0.9, 0.3, 0.5]
DATA: dict[str, list[dict[str, Any]]] = {
    "sets": [{"set_size": 3, "density": 0.4, "correlation": rho} for rho in (-0.7, 0.6)],
    "finite": [{"points": 500, "density": DENSITIES, "unit_norm": unit} for unit in (False, True)],
}
TERMS: dict[str, dict[str, Any]] = {"l1": {"strength": 0.3}, "power": {"power": 3.0}}


def terms_with(kind: str) -> dict[str, Any]:
    """The tables of a loss that has this term: an error alone, or the squared error and it."""
    return {kind: {"kind": kind, **TERMS.get(kind, {})}}


def laws_with(kind: str, n: int) -> list[dict[str, Any]]:
    """The tables of a distribution."""
    dense = {"density": DENSITIES[:n]} if "density" in BUILT_IN["data"][kind].Options.model_fields else {}
    found = []
    for table in DATA.get(kind, [dense]):
        cut = {key: value[:n] if isinstance(value, list) else value for key, value in table.items()}
        found.append({"kind": kind, **cut, **({"set_size": n} if "set_size" in cut else {})})
    return found


class Made(NamedTuple):
    case: Case
    problem: Problem
    laws: Laws


def made(model: str, data: dict[str, Any], target: str, terms: dict[str, Any], n: int = 2, m: int = 2) -> Made:
    """A problem and its numbers."""
    outputs = BUILT_IN["target"][target].n_outputs(n)
    case = Case.model_validate({
        "n_features": n, "n_hidden": m, "model": {"kind": model}, "data": data, "target": {"kind": target},
        "terms": terms, "importance": np.linspace(1, 0.4, outputs).tolist(),
    })  # fmt: skip
    problem = problem_of(case)
    return Made(case, problem, jax.tree.map(lambda x: jnp.asarray(x[0]), laws_of(problem, Grid(case))))


def fits(model: str, target: str, term: str, n: int = 2) -> bool:
    """Whether a model has as many outputs as a target, and what a term needs."""
    cls = BUILT_IN["model"][model]
    as_many = BUILT_IN["target"][target].n_outputs(n) == n or "n_outputs" in inspect.signature(cls.__init__).parameters
    return as_many and (not BUILT_IN["terms"][term].of_hidden or hasattr(cls, "hidden"))


EVERY_LAW = [(kind, k) for kind in BUILT_IN["data"] for k in range(len(laws_with(kind, 3)))]
EVERY_PROBLEM = [
    one
    for one in itertools.product(BUILT_IN["model"], BUILT_IN["target"], BUILT_IN["terms"])
    if fits(*one)
]  # fmt: skip


def law(kind: str, k: int, n: int = 3) -> Any:
    return made("relu_output", laws_with(kind, n)[k], "identity", {}, n).laws.data


def drawn(data: Any, more: int = 0) -> np.ndarray:
    """Quasi-random uniforms (numbers, samples) that make inputs of a distribution."""
    return Quasi(data.n_uniforms(data.n_features) + more, SAMPLES, 11).points


def statistics(x: np.ndarray, weight: np.ndarray, active: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted means over inputs (samples, n): of x, of products of two, of how often two are active together."""
    on = active.astype(float)
    return {
        "mean": weight @ x,
        "products": np.einsum("r,ri,rj->ij", weight, x, x),
        "co-activation": np.einsum("r,ri,rj->ij", weight, on, on),
    }


def sampled(x: np.ndarray) -> dict[str, np.ndarray]:
    return statistics(x, np.full(len(x), 1 / len(x)), x != 0)


def assert_same_law(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], samples: int) -> None:
    """To five standard errors of numbers in [-1, 1] that vary as much as their mean square allows."""
    square = {"mean": np.diag(expected["products"])}
    for name, values in expected.items():
        size = np.abs(square.get(name, values))  # E[f²] ≤ E[|f|] of products and of zeros and ones
        error = np.sqrt(np.maximum(size, 1 / samples) / samples)
        assert (np.abs(found[name] - values) < 5 * error + 1e-5).all(), name


@pytest.mark.parametrize(("kind", "k"), EVERY_LAW)
def test_samples_have_the_moments_that_a_distribution_claims(kind: str, k: int) -> None:
    """Its enumeration, its closed moments, and that what is sampled is one input of as many numbers as are said."""
    data = law(kind, k)
    x = np.asarray(jax.vmap(data.sample, -1)(drawn(data)), float)
    assert x.shape == (SAMPLES, 3) and np.isfinite(x).all() and (np.abs(x) <= 1).all()
    found = sampled(x)
    if (moments := data.moments()) is not None:
        mean, variance = (np.asarray(moment, float) for moment in moments)
        np.testing.assert_allclose(found["mean"], mean, atol=5 * np.sqrt(variance.max() / SAMPLES))
        # E[(x - μ)⁴] ≤ Var(x), as |x - μ| ≤ 1
        np.testing.assert_allclose(x.var(0), variance, atol=5 * np.sqrt(variance.max() / SAMPLES))
    if data.enumerable:
        start, end, active, weight = data.segments(3, 6, False)
        np.testing.assert_array_equal(start, end)
        probability = np.asarray(data.probability(active), float)
        expected = statistics(start, probability * weight, active)
        assert_same_law(found, expected, SAMPLES)
        if moments is not None:
            np.testing.assert_allclose(expected["mean"], mean, atol=1e-6)
            np.testing.assert_allclose(np.diag(expected["products"]) - mean**2, variance, atol=1e-6)
    alike, size = data.exchangeable(3)
    assert np.shape(alike) == (3,) and 3 % size == 0
    assert 0 < float(data.activity()) <= 1


@pytest.mark.parametrize(("kind", "k"), [(kind, k) for kind, k in EVERY_LAW if BUILT_IN["data"][kind].enumerable])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("nodes", [1, 4, (5, 2)])
def test_an_enumeration_is_a_law(kind: str, k: int, closed: bool, nodes: Any) -> None:
    """As many rows as announced; weights of an active set sum to 1, probabilities of all sets too; what is not active
    is 0; with a closed innermost integral polynomials have the same means."""
    data = law(kind, k)
    start, end, active, weight = data.segments(3, nodes, closed)
    assert len(weight) == data.n_rows(3, nodes, closed)
    _, owner = np.unique(active, axis=0, return_inverse=True)
    np.testing.assert_allclose(np.bincount(owner.ravel(), weight), 1, rtol=1e-12)
    assert not start[~active].any() and not end[~active].any()
    probability = np.asarray(data.probability(active), float)
    assert (probability >= 0).all() and probability @ weight == pytest.approx(1, rel=1e-5)
    assert closed or (start == end).all()
    if nodes == 4:
        other, _, on, weights = data.segments(3, 4, False)
        expected = statistics(other, np.asarray(data.probability(on), float) * weights, on)["products"]
        products = (
            np.einsum("r,ri,rj->ij", w := probability * weight / 6, start, end)
            + np.einsum("r,ri,rj->ij", w, end, start)
            + 2 * np.einsum("r,ri,rj->ij", w, start, start)
            + 2 * np.einsum("r,ri,rj->ij", w, end, end)
        )  # the mean of x_i x_j along a segment
        np.testing.assert_allclose(products, expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "k"), [(kind, k) for kind, k in EVERY_LAW if BUILT_IN["data"][kind].skips_empty])
def test_inputs_of_which_some_feature_is_active(kind: str, k: int) -> None:
    """None is empty, and in their share they have the moments of all inputs, to which empty ones add nothing."""
    data = law(kind, k)
    x = np.asarray(jax.vmap(data.sample_active, -1)(drawn(data, more=1)), float)
    every = np.asarray(jax.vmap(data.sample, -1)(drawn(data)), float)
    assert (x != 0).any(1).mean() > 1 - 1e-3  # an active feature may be 0
    share = float(data.some_active())
    some = (every != 0).any(1).mean()
    assert abs(some - share) < 5 * np.sqrt(share * (1 - share) / SAMPLES) + 1e-3
    found = {name: share * values for name, values in sampled(x).items()}
    assert_same_law(found, sampled(every), SAMPLES // 2)


@pytest.mark.parametrize("unit_norm", [False, True])
def test_a_finite_set_is_one_set(unit_norm: bool) -> None:
    """So many inputs, the same whenever they are made, another set with another seed; of norm 1 (or 0) if so asked."""
    table = {"kind": "finite", "points": 40, "density": 0.3, "unit_norm": unit_norm}
    case, problem, laws = made("relu_output", table, "identity", {}, 3)
    fine, second = evaluation_objectives(problem, case)
    assert isinstance(fine, FullBatch) and fine.n_rows == 40 and fine.fixed and fine.name == "exact"
    x, again, fresh = (np.asarray(o.rows(laws, o.draw(jax.random.key(k)))) for k, o in enumerate((fine, fine, second)))
    assert x.shape == (3, 40)
    np.testing.assert_array_equal(x, again)
    other, _ = evaluation_objectives(problem, case.model_copy(update={"seed": 1}))
    assert (np.asarray(other.rows(laws, other.draw(jax.random.key(0)))) != x).any()
    assert fresh.shape[1] > 1000 and not (fresh[:, :40] == x).all()
    norm = np.linalg.norm(x, axis=0)
    if unit_norm:
        np.testing.assert_allclose(norm[norm > 0], 1, rtol=1e-6)
        assert (norm == 0).any() and (norm > 0).any()
    else:
        assert ((norm > 0) & (np.abs(norm - 1) > 1e-3)).any()


# --- model x distribution x target x term ---------------------------------------------------------


def models_of(problem: Problem, count: int = 2) -> Any:
    """Random models, biases included."""
    return jax.vmap(lambda key: problem.new(key, 0.8, 0.1))(jax.random.split(jax.random.key(3), count))


def padded(rows: Any, n_rows: int) -> Any:
    """Rows, and rows of weight 0, so that all tables of rows have one shape and operations are compiled once."""
    return jax.tree.map(lambda x: jnp.concatenate([x, jnp.zeros((*x.shape[:-1], n_rows - x.shape[-1]))], -1), rows)


@pytest.mark.parametrize("data", BUILT_IN["data"])
@pytest.mark.parametrize(("model", "target", "term"), EVERY_PROBLEM)
def test_the_exact_loss_is_that_of_many_samples(model: str, target: str, term: str, data: str) -> None:
    """Every value of all terms, to five standard errors of independent samples and half a percent."""
    case, problem, laws = made(model, laws_with(data, 2)[0], target, terms_with(term))
    one = jax.tree.map(lambda x: x[0], models_of(problem))
    fine, _ = evaluation_objectives(problem, case)
    rows = fine.rows(laws, fine.draw(jax.random.key(0)))
    values = np.asarray(_values(fine)(one, laws, padded(rows, 2048) if isinstance(fine, Exact) else rows))
    exact = values.sum(-1) * fine.row_weight
    u = np.random.default_rng(5).random((problem.data.n_uniforms(2), 4096)).astype(np.float32)
    x = jax.vmap(laws.data.sample, -1)(np.minimum(u, np.float32(1 - 2**-24)))
    samples = np.asarray(jax.vmap(lambda x: laws.values(one, x))(x), float)
    error = samples.std(0) / np.sqrt(len(samples))
    if isinstance(fine, FullBatch):  # itself a sample
        error = np.hypot(error, samples.std(0) / np.sqrt(fine.n_rows))
    assert (np.abs(exact - samples.mean(0)) < 5 * error + 5e-3 * np.abs(exact) + 1e-6).all()
    assert (samples.std(0) > 0).any()


def _values(objective: Any) -> Any:
    return lambda model, laws, rows: jax.vmap(lambda row: objective.row_values(model, laws, row), -1, -1)(rows)


def pairs_of(*choices: list[str]) -> list[tuple[str, ...]]:
    """Combinations in which any two choices occur together that can: one after the other, that with most new pairs."""
    everything = [one for one in itertools.product(*choices) if fits(one[0], one[2], one[3])]

    def pairs(one: tuple[str, ...]) -> set[Any]:
        return set(itertools.combinations(enumerate(one), 2))

    left, taken = set().union(*map(pairs, everything)), []
    while left:
        taken.append(max(everything, key=lambda one: len(pairs(one) & left)))
        left -= pairs(taken[-1])
    return taken


PAIRS = pairs_of(*map(list, (BUILT_IN["model"], BUILT_IN["data"], BUILT_IN["target"], BUILT_IN["terms"])))


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(float(jnp.abs(other).max()), 1e-3))


@pytest.mark.parametrize(("model", "data", "target", "term"), PAIRS)
def test_the_fast_form_is_the_plain_one_and_gradients_are_differences(
    model: str, data: str, target: str, term: str
) -> None:
    """Any two members meet in some problem here. Fused where that is possible, mapped where not; the gradient of all
    that is minimised, in float64, against central differences of it."""
    table = laws_with(data, 2)[-1] | ({"points": 16} if data == "finite" else {})
    case, problem, laws = made(model, table, target, terms_with(term))
    check_problem(case, problem)
    if problem.data.points:
        objective: Any = FullBatch(problem.data.n_uniforms(2), problem.data.points, (1,))
    else:
        objective = Exact(2, 3, closed_form(problem).holds, problem.data)
    models, draw = models_of(problem), objective.draw(jax.random.key(0))
    cell = Cell(laws, {})
    refused = kernel.refusal(objective.row_values, problem.shapes(), laws, objective.rows(laws, draw))
    form: kernel.Form = "fused" if refused is None else "mapped"
    assert refused is None or problem.n_outputs != 2 or term == "power", refused

    def evaluate(form: kernel.Form) -> Any:
        return jax.vmap(lambda model: values_and_gradient(objective, form)(model, cell, draw, 0.7))(models)

    options = kernel.compiler_options(jax.default_backend())
    assert_close(
        jax.jit(lambda: evaluate(form), compiler_options=options)(), jax.jit(lambda: evaluate("plain"))(), 4e-6
    )

    flat, tree = jax.tree.flatten(jax.tree.map(lambda x: np.asarray(x[0], np.float64), models))
    sizes = np.cumsum([x.size for x in flat])[:-1]
    point = np.concatenate([x.ravel() for x in flat])

    def loss(vector: Any) -> Any:
        parts = [part.reshape(x.shape) for part, x in zip(jnp.split(vector, sizes), flat, strict=True)]
        sums = kernel.row_sum(objective.row_values, "plain")(jax.tree.unflatten(tree, parts), wide, rows)
        return wide.weights() @ sums * objective.row_weight

    single = laws, objective.rows(laws, draw)
    with double():
        wide, rows = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)), single)
        h = 1e-6
        shifted = point + h * np.concatenate([np.eye(len(point)), -np.eye(len(point))])
        losses, gradient = jax.jit(lambda shifted, point: (jax.lax.map(loss, shifted), jax.grad(loss)(point)))(
            shifted, point
        )
    up, down = np.split(np.asarray(losses), 2)
    np.testing.assert_allclose(gradient, (up - down) / (2 * h), rtol=0, atol=1e-6)
    assert np.abs(gradient).max() > 1e-3


CLOSED = [
    (model, data, target, term)
    for model, target, term in EVERY_PROBLEM
    for data in BUILT_IN["data"]
    if BUILT_IN["data"][data].enumerable and closed_form(made(model, {}, target, terms_with(term)).problem).holds
]


@pytest.mark.parametrize(("model", "data", "target", "term"), CLOSED)
def test_closed_means_of_segments_are_those_of_many_nodes(model: str, data: str, target: str, term: str) -> None:
    """Along every axis the mean that a term has in closed form, and 40 product nodes that straddle the kink."""
    _, problem, laws = made(model, laws_with(data, 2)[0], target, terms_with(term))
    one = jax.tree.map(lambda x: x[0], models_of(problem))
    found, expected = (
        jnp.sum(_values(o)(one, laws, padded(o.rows(laws, None), 8192)), -1)
        for o in (Exact(2, 40, True, problem.data), Exact(2, 40, False, problem.data))
    )
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def test_what_has_closed_means() -> None:
    """Squares and the L1 norm of affine hidden activations, of targets that are linear where no sign changes."""
    found = {(model, target, term) for model, _, target, term in CLOSED}
    assert found >= set(itertools.product(["linear", "relu_output"], ["identity", "absolute"], ["squared", "l1"]))
    assert not {one for one in found if one[0] in ("relu_hidden", "two_layer") or one[1] == "square"}
    assert not {one for one in found if one[2] == "power"}
