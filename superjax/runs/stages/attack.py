"""L2 attacks on every trained model (paper, "Relationship to Adversarial Robustness"), all models in one program.

An attack adds the same δ to every input, of norm ε = `attack.size` times the mean norm of an input. What it does is the
rise of the mean loss, L' − L, whose target stays the clean input. Four ways to find a δ are tried:

* analytic: the directions G_i/‖G_i‖ of the paper, the most harmful one, where G = WᵀW has the row G_i for output i;
* ascent: projected gradient ascent on the mean loss, from random directions;
* linear: the same on the linear part of the model, without its ReLU, whose gradient is never masked;
* random: random directions.

Attacks are found on one sample of inputs, the most harmful of a kind and the most harmful kind are chosen on another,
and scored on a third: what is said of it is flattered neither by the search nor by the choice. Beside it the worst of
the analytic directions is taken for every input apart: the paper does not say which of both it means.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, PyTree

from superjax.engine.random import root_key
from superjax.errors import SweepError
from superjax.problem.data import Distribution
from superjax.problem.problem import Problem
from superjax.problem.terms import Squared
from superjax.runs.chunks import Tried
from superjax.runs.stages.base import Found, Running, Stage, Trainee
from superjax.spec import Case
from superjax.spec.fields import Attack

KINDS = ("analytic", "ascent", "linear", "random")
_STRIDE = 0.2  # of a step of ascent, in radii
_SHORTLIST = 10  # random directions that are compared with more inputs
_KEY = 2  # of the random numbers of attacks; 0 has initial weights, 1 minibatches
_PARTS = ("", "_error")  # of what is measured: the mean and its standard error
_AT_ONCE = 16  # models of a device in one call


class Inputs(NamedTuple):
    """Inputs that some feature is active in, if the distribution can draw such, and at the end the input 0; what each
    counts, which sums to 1."""

    x: Float[Array, "inputs n_features"]
    weight: Float[Array, " inputs"]

    def mean(self, values: Float[Array, "inputs ..."]) -> Float[Array, "..."]:
        return jnp.tensordot(self.weight, values, 1)

    def error(self, values: Float[Array, " inputs"]) -> Float[Array, ""]:
        """The standard error of their mean."""
        return (1 - self.weight[-1]) * jnp.std(values[:-1]) / jnp.sqrt(len(values) - 1.0)


class Attacked(NamedTuple):
    """What is found of one model. The last dimension of what attacks have is KINDS.

    Attributes:
        input_norm: mean norm of an input.
        feature: the output i whose direction G_i is the most harmful.
        perturbation: δ of every attack.
        worst: the most harmful of KINDS, chosen on other inputs than it is scored on.
        clean, loss, excess: the loss without and under attack, and their difference: means and standard errors.
        less: what every attack adds less than the worst one; on the same inputs, so its error is that of a difference.
        each: mean over inputs of the largest excess that an analytic direction has there, and its standard error.
        on: in which fraction of clean inputs every output is above 0 before its ReLU.
    """

    input_norm: Float[Array, ""]
    feature: Int[Array, ""]
    perturbation: Float[Array, "attacks n_features"]
    worst: Int[Array, ""]
    clean: Float[Array, "2"]
    loss: Float[Array, "attacks 2"]
    excess: Float[Array, "attacks 2"]
    less: Float[Array, "attacks 2"]
    each: Float[Array, "2"]
    on: Float[Array, " n_features"]


class Attacks(Stage):
    """The stage `attack`."""

    name = stem = "attack"
    doing = "attacking the models"
    labels = {
        "attack": "how the attack is found",
        "attack_input_norm": "mean norm of an input",
        "attack_radius": "norm of an attack, attack.size times the mean norm of an input",
        "attack_baseline": "what an attack adds to the loss of the model without superposition, (radius)² max I",
        "attack_perturbation": "what the attack adds to every input",
        "attack_feature": "the output whose direction G_i is the most harmful of the analytic ones",
        "attack_clean_loss": "loss without attack, of the inputs that attacks are scored on",
        "attack_loss": "loss under attack",
        "attack_excess": "what the attack adds to the loss, L' - L",
        "attack_less": "what the attack adds to the loss less than the most harmful one does",
        "attack_worst": "number of the most harmful attack, chosen on other inputs than those that it is scored on",
        "attack_vulnerability": "what the most harmful attack adds to the loss, divided by attack_baseline",
        "attack_each_vulnerability": "the same where every input gets the analytic direction that is worst for it",
        "attack_on": "fraction of clean inputs in which the output is above 0 before its ReLU",
        **{f"attack_{name}_error": f"standard error of attack_{name}" for name in
           ("clean_loss", "loss", "excess", "less", "vulnerability", "each_vulnerability")},
    }  # fmt: skip

    @staticmethod
    def asked(case: Case) -> bool:
        return case.attack is not None

    @staticmethod
    def check(case: Case, problem: Problem) -> None:
        model = problem.shapes()
        if not hasattr(model, "preactivation") or getattr(model, "rectified", None) is None:
            raise SweepError(
                f'model.kind = "{case.model.kind}": [attack] needs a model that is the ReLU of an affine map, or '
                "one, as relu_output and linear are without another model.activation"
            )
        if not problem.target.identity or not issubclass(problem.terms[0], Squared):
            raise SweepError('[attack] needs target.kind = "identity" and the squared error')

    @staticmethod
    def numbers(case: Case) -> int:
        return case.n_features * (len(KINDS) + 1) + 40 + 2 * len(KINDS)

    def __init__(self, running: Running):
        self._running = running

    def tried(self, untrained: Trainee) -> Tried:
        models, at_once = len(untrained.cell), _AT_ONCE * self._running.program.mesh.size
        some = jax.tree.map(lambda x: x[np.arange(at_once) % models], untrained)
        attack, seconds = attacker(self._running, np.ones(self._running.grid.n_cells, np.float32)), []
        for _ in range(2):  # the first compiles
            start = time.perf_counter()
            jax.block_until_ready(attack(some))
            seconds.append(time.perf_counter() - start)
        chunks = -(-models // at_once)
        return Tried(chunks, chunks * seconds[1], 0.0, max(seconds[0] - seconds[1], 0.0))

    def run(self, trained: Trainee) -> Found:
        running, grid, options = self._running, self._running.grid, self._running.case.attack
        assert options is not None
        sizes = np.broadcast_to(grid.fields.get("attack.size", options.size), grid.n_cells).astype(np.float32)
        found = attack_all(running, trained, sizes)

        def by_restart(flat: np.ndarray) -> np.ndarray:
            return grid.unflatten(flat.reshape(grid.n_cells, -1, *flat.shape[1:]))

        norm = found.input_norm.reshape(grid.n_cells, -1)[:, 0]
        importance = np.asarray(jax.vmap(lambda error: error.weights())(running.cells.laws.terms[0]))
        radius = sizes * norm
        baseline = radius**2 * importance.max(-1)
        most = np.take_along_axis(found.excess, found.worst[:, None, None], axis=1)[:, 0]
        vulnerability, each = (excess / baseline[trained.cell][:, None] for excess in (most, found.each))
        measured = {"clean_loss": found.clean, "loss": found.loss, "excess": found.excess, "less": found.less,
                    "vulnerability": vulnerability, "each_vulnerability": each}  # fmt: skip
        models = {"perturbation": found.perturbation, "feature": found.feature, "on": found.on,
                  "worst": found.worst.astype(np.int8)}  # fmt: skip
        models |= {f"{name}{part}": both[..., k] for name, both in measured.items() for k, part in enumerate(_PARTS)}
        own = {"perturbation": ("attack", "feature"), "on": ("feature",)}
        own |= {f"{name}{error}": ("attack",) for name in ("loss", "excess", "less") for error in _PARTS}
        cells = {"input_norm": norm, "radius": radius, "baseline": baseline}
        variables = {f"attack_{name}": (grid.dims, grid.unflatten(values)) for name, values in cells.items()} | {
            f"attack_{name}": ((*grid.dims, "restart", *own.get(name, ())), by_restart(values))
            for name, values in models.items()
        }
        return Found(variables, {"attack": list(KINDS)})


def attack_all(running: Running, trained: Trainee, sizes: Float[np.ndarray, " cells"]) -> Attacked:
    """Attack all models of a case, leaves (models, ...), one after the other on every device."""
    attack, parts, chunk = attacker(running, sizes), [], _AT_ONCE * running.program.mesh.size
    for start in range(0, len(trained.cell), chunk):
        index = np.minimum(np.arange(start, start + chunk), len(trained.cell) - 1)
        found = attack(jax.tree.map(lambda x, i=index: x[i], trained))
        left = len(trained.cell) - start
        parts.append(jax.tree.map(lambda x, n=left: np.asarray(x)[:n], found))
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def attacker(running: Running, sizes: Float[np.ndarray, " cells"]) -> Callable[[Trainee], Attacked]:
    """Attacks on a fixed number of models of a case, which every device takes one after the other."""
    options, problem, mesh = running.case.attack, running.problem, running.program.mesh
    assert options is not None
    draws = drawn(options, problem.data, problem.n_features, running.case.seed)
    models, each = PartitionSpec("models"), PartitionSpec()

    def some(models: PyTree, data: PyTree, importance: Any, size: Any, draws: Draws) -> Attacked:
        return lax.map(lambda own: attack_one(*own, steps=options.steps, draws=draws), (models, data, importance, size))

    compiled = jax.jit(
        jax.shard_map(some, mesh=mesh, in_specs=(*[models] * 4, each), out_specs=models, check_vma=False)
    )
    laws = running.cells.laws
    importance = np.asarray(jax.vmap(lambda error: error.weights())(laws.terms[0]))

    def attack(trained: Trainee) -> Attacked:
        cell = trained.cell
        data = jax.tree.map(lambda x: x[cell], laws.data)
        return compiled(trained.models, data, importance[cell], sizes[cell], draws)

    return attack


class Draws(NamedTuple):
    """What all models share: uniforms of the inputs that attacks are found, chosen and scored on, and random
    directions."""

    found: Float[Array, "inputs uniforms"]
    chosen: Float[Array, "inputs uniforms"]
    scored: Float[Array, "inputs uniforms"]
    starts: Float[Array, "starts n_features"]
    random: Float[Array, "random n_features"]


def drawn(options: Attack, data: type[Distribution], n: int, seed: int) -> Draws:
    keys = jax.random.split(jax.random.fold_in(root_key(seed), _KEY), 5)
    uniforms = data.n_uniforms(n) + data.skips_empty
    sizes = options.found_on, options.chosen_on, options.scored_on
    samples = (jax.random.uniform(key, (size, uniforms)) for key, size in zip(keys[:3], sizes, strict=True))
    directions = (_units(jax.random.normal(key, (count, n)))
                  for key, count in zip(keys[3:], (options.starts, options.random), strict=True))  # fmt: skip
    return Draws(*samples, *directions)


def attack_one(
    model: Any, data: Distribution, importance: Float[Array, " n_features"], size: Float[Array, ""], *,
    steps: int, draws: Draws,
) -> Attacked:  # fmt: skip
    """Attack one model."""
    few, more, many = (inputs(data, uniforms) for uniforms in (draws.found, draws.chosen, draws.scored))
    input_norm = many.mean(jnp.sqrt(jnp.sum(many.x * many.x, axis=1)))
    radius, G = size * input_norm, jax.jacobian(model.preactivation)(few.x[-1])

    def errors_of(of: Inputs) -> Callable[[Float[Array, " n_features"]], Float[Array, " inputs"]]:
        """The loss of every input under a δ."""
        z = jax.vmap(model.preactivation)(of.x)

        def errors(shift: Float[Array, " n_features"]) -> Float[Array, " inputs"]:
            attacked = z + (G @ shift)[None]
            output = jnp.maximum(attacked, 0.0) if model.rectified else attacked
            return jnp.square(output - of.x) @ importance

        return errors

    errors, judged = errors_of(few), errors_of(more)
    miss = few.mean(jax.vmap(model.preactivation)(few.x) - few.x)

    def harm(shift: Float[Array, " n_features"]) -> Float[Array, ""]:
        return few.mean(errors(shift))

    def linear_harm(shift: Float[Array, " n_features"]) -> Float[Array, ""]:
        return jnp.square(miss + G @ shift) @ importance  # and what does not depend on δ

    analytic = radius * _units(G)
    of_analytic = lax.map(judged, analytic)
    feature = jnp.argmax(jax.vmap(more.mean)(of_analytic))
    each = jnp.max(of_analytic, axis=0) - judged(jnp.zeros_like(analytic[0]))

    def most_harmful(shifts: Float[Array, "some n_features"]) -> Int[Array, ""]:
        return jnp.argmax(lax.map(lambda shift: more.mean(judged(shift)), shifts))

    def worst(shifts: Float[Array, "some n_features"]) -> Float[Array, " n_features"]:
        return shifts[most_harmful(shifts)]

    starts, random = radius * draws.starts, radius * draws.random
    _, best = lax.top_k(lax.map(harm, random), min(_SHORTLIST, len(random)))
    climb = functools.partial(ascend, radius=radius, steps=steps)
    found = jnp.stack([
        analytic[feature],
        worst(lax.map(lambda start: climb(harm, start), starts)),
        worst(jax.vmap(lambda start: climb(linear_harm, start))(starts)),
        worst(random[best]),
    ])  # fmt: skip

    score, chosen = errors_of(many), most_harmful(found)
    clean, attacked = score(jnp.zeros_like(found[0])), lax.map(score, found)

    def both(of: Inputs, values: Float[Array, " inputs"]) -> Float[Array, "2"]:
        return jnp.stack([of.mean(values), of.error(values)])

    every = jax.vmap(functools.partial(both, many))
    on = many.mean((jax.vmap(model.preactivation)(many.x) > 0).astype(jnp.float32))
    return Attacked(
        input_norm, feature, found, chosen, both(many, clean), every(attacked), every(attacked - clean[None]),
        every(attacked[chosen][None] - attacked), both(more, each), on,
    )  # fmt: skip


def inputs(data: Distribution, uniforms: Float[Array, "inputs uniforms"]) -> Inputs:
    some, draw = (data.some_active(), data.sample_active) if data.skips_empty else (jnp.ones(()), data.sample)
    x = jax.vmap(draw)(uniforms)
    weight = jnp.append(jnp.broadcast_to(some / len(x), len(x)), 1 - some)
    return Inputs(jnp.append(x, data.empty(x[0])[None], axis=0), weight)


def ascend(
    harm: Callable[[Float[Array, " n_features"]], Float[Array, ""]],
    start: Float[Array, " n_features"],
    radius: Float[Array, ""],
    steps: int,
) -> Float[Array, " n_features"]:
    """Projected gradient ascent: steps of equal length up the gradient, each followed by the way back into the ball."""
    gradient = jax.grad(harm)

    def step(_: Any, shift: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        moved = shift + _STRIDE * radius * _units(gradient(shift)[None])[0]
        return moved * jnp.minimum(1.0, radius / _norm(moved))

    return lax.fori_loop(0, steps, step, start)


def _norm(x: Float[Array, "... n_features"]) -> Float[Array, "..."]:
    return jnp.sqrt(jnp.maximum(jnp.sum(x * x, axis=-1), 1e-30))


def _units(rows: Float[Array, "rows n_features"]) -> Float[Array, "rows n_features"]:
    """Rows at norm 1; what is 0 stays 0."""
    return rows / _norm(rows)[:, None]
