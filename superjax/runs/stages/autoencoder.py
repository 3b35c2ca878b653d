"""Dictionaries on the hidden activations of every trained model: one sparse autoencoder each, all at once.

To the engine an autoencoder is a model as any other, whose inputs are the activations of a trained one; the cells of
this training are the models of the case.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from superjax import analysis
from superjax.engine.choice import choice_of
from superjax.engine.engine import Shape, program
from superjax.engine.plan import Part, Plan, schedule_factors
from superjax.engine.train import Cell, Evaluation, Method
from superjax.errors import SweepError
from superjax.problem.data.activations import Activations, activations_of
from superjax.problem.expectation import ActiveMinibatch, ActiveQuasi, Minibatch, Quasi
from superjax.problem.members import bound, bound_model
from superjax.problem.models.base import with_numbers
from superjax.problem.models.dictionary import Dictionary, units
from superjax.problem.problem import Laws, Problem
from superjax.problem.targets import Identity
from superjax.problem.terms import L1, Squared
from superjax.problem.user_code import refusal, said, tried
from superjax.runs.chunks import Trained, Training, Tried
from superjax.runs.stages.base import Found, Running, Stage, Trainee, Variables
from superjax.runs.stages.refine import hyper_of
from superjax.runs.starting import with_arrays
from superjax.spec import Case, Train

_SAMPLES = 2**14  # of activations that dictionaries are measured on
_DRAW = 1  # beside the restart: a model's own draw would give directions near its features, which began with it


class Measured(NamedTuple):
    """What dictionaries make of the activations of their models, leaves (models, ...).

    Attributes:
        fvu: fraction of the variance of the activations that is left unexplained; NaN where they do not vary.
        l0: mean number of active latents, where some feature is active.
        firing: how often each latent is active, where some feature is.
    """

    fvu: Float[np.ndarray, " models"]
    l0: Float[np.ndarray, " models"]
    firing: Float[np.ndarray, "models latents"]


class Autoencoders(Stage):
    """The stage `autoencoder`."""

    name = stem = "autoencoder"
    doing = "training dictionaries"
    labels = {
        "latent": "number of the latent of the dictionary",
        "autoencoder_encoder": "weights of the dictionary's encoder",
        "autoencoder_encoder_bias": "bias of the dictionary's encoder",
        "autoencoder_decoder": "weights of the dictionary's decoder: column k is the direction of latent k, at norm 1",
        "autoencoder_decoder_bias": "bias of the dictionary's decoder",
        "autoencoder_loss": "mean squared error of the activations, summed over hidden dimensions",
        "autoencoder_objective": "what is minimised: the error, and the penalty on the latents",
        "autoencoder_diverged_at": "first step whose gradient was not finite, -1 if there is none",
        "autoencoder_fvu": "fraction of the variance of the activations that is unexplained",
        "autoencoder_l0": "mean number of active latents where some feature is active",
        "autoencoder_firing": "how often the latent is active where some feature is active",
        "autoencoder_dead": "fraction of the latents that are never active",
        "autoencoder_feature_cosine": "mean over represented features of the largest cosine with a latent",
        "autoencoder_latent_cosine": "mean over latents that are not dead of the largest cosine with a feature",
        "autoencoder_matched_cosine": "mean cosine of represented features and latents, assigned one to one",
        "autoencoder_recovered": "fraction of the represented features with a latent of cosine above 0.9",
    }

    @staticmethod
    def asked(case: Case) -> bool:
        return case.autoencoder is not None

    @staticmethod
    def check(case: Case, problem: Problem) -> None:
        if not hasattr(problem.model, "hidden") or problem.model.dims.get("W") != ("hidden", "feature"):
            raise SweepError(
                f'model.kind = "{case.model.kind}": [autoencoder] needs a model with weights W, ("hidden", "feature"), '
                "and a method hidden(x), as linear, relu_output and relu_hidden have"
            )
        x, m = jax.ShapeDtypeStruct((problem.n_features,), jnp.float32), problem.n_hidden
        hidden, error = tried(jax.eval_shape, lambda model, x: model.hidden(x), problem.called(), x)
        if error is not None or getattr(hidden, "shape", None) != (m,) or hidden.dtype != jnp.float32:
            why = f"raises {said(error)}" if error is not None else f"is {hidden}"
            raise refusal("model.kind", case.model.kind, f"hidden(x) must be a float32 array of shape ({m},), {why}")

    @staticmethod
    def numbers(case: Case) -> int:
        width = case.autoencoder.width if case.autoencoder else 0
        return 2 * width * (case.n_hidden + 1) + case.n_hidden

    def __init__(self, running: Running):
        self._running, options = running, running.case.autoencoder
        assert options is not None
        k = options.k if options.kind == "topk" else 0
        self.problem = problem_on(running.problem, options.width, k, options.fixed)
        self._train = Train(steps=options.steps, learning_rate=options.learning_rate)
        uniforms, empty = self.problem.data.n_uniforms(running.case.n_hidden), not self.problem.data.skips_empty
        self._fresh = (Minibatch if empty else ActiveMinibatch)(uniforms, options.batch)
        fixed = Quasi if empty else ActiveQuasi
        fine, second = fixed(uniforms, _SAMPLES, 2**32 + 3), fixed(uniforms, _SAMPLES // 2, 2**32 + 4)
        swept = frozenset({"learning_rate"} & {path.removeprefix("autoencoder.") for path in running.grid.fields})
        self.program = program(
            Shape(self.problem, 1, swept, running.cells.n_hidden is not None),
            Method(),
            fine,
            second,
            running.devices,
            running.own,
        )
        models = running.case.n_models
        cells = self._cells(Trainee(_zeros(running.program.model), np.zeros(1, np.int32), np.zeros(1, np.float32)))
        running.chunk("autoencoder", self.program, self._fresh, models, cells)
        if "autoencoder-evaluate" not in running.chunks:
            running.chunks["autoencoder-evaluate"] = choice_of(self.program).evaluated_models(models, cells)

    def _cells(self, trained: Trainee) -> Cell:
        """The numbers of every dictionary: those of its model, and of the options that an axis sweeps."""
        running, fields = self._running, self._running.grid.fields
        options = running.case.autoencoder
        assert options is not None

        def number(name: str) -> np.ndarray:
            values = np.asarray(fields.get(f"autoencoder.{name}", getattr(options, name)), np.float32)
            return np.broadcast_to(values, running.grid.n_cells)[trained.cell]

        laws = jax.tree.map(lambda x: x[trained.cell], running.cells.laws)
        models, count = with_numbers(trained.models, laws.model), len(trained.cell)
        importance = np.ones((count, self.problem.n_features), np.float32)
        terms = (self.problem.terms[0](importance), *(term(number("penalty")) for term in self.problem.terms[1:]))
        hyper = dict(hyper_of(self._train))
        if "learning_rate" in self.program.shape.swept:
            hyper["learning_rate"] = number("learning_rate")
        n_hidden = running.cells.n_hidden
        return Cell(
            Laws(self.problem.data(models, laws.data), self.problem.target(), terms),
            hyper,
            None if n_hidden is None else n_hidden[trained.cell],
        )

    def _training(self, trained: Trainee) -> Training:
        running, program, options = self._running, self.program, self._running.case.autoencoder
        assert options is not None
        cells, number = self._cells(trained), np.arange(len(trained.cell), dtype=np.int32)

        def first(index: Int[np.ndarray, "..."]) -> PyTree:
            flat = index.ravel().astype(np.int32) % running.case.restarts  # the restart: equal in all cells
            one = np.ones(len(flat), np.float32)
            numbers = np.stack([flat, np.full_like(flat, _DRAW)], axis=1)
            models = program.initialise(running.case.seed, numbers, one, 0 * one, running.chunks["autoencoder"])
            if options.start == "features":
                models = begun_with(models, trained.models.W[index.ravel()])
            return jax.tree.map(lambda x: x.reshape(*index.shape, *x.shape[1:]), models)

        def score(found: Trained, cell: Int[np.ndarray, " models"]) -> Evaluation:
            return program.evaluate(found.models, cells, cell, running.chunks["autoencoder-evaluate"])

        plan = Plan([Part(self._fresh, self._train.steps)], schedule_factors(self._train), running.case.seed)
        return Training(
            program, plan, cells, number, 0 * number, running.chunks["autoencoder"], first, score, program.evaluation
        )

    def tried(self, untrained: Trainee) -> Tried:
        return self._training(untrained).tried()

    def run(self, trained: Trainee) -> Found:
        training = self._training(trained)
        keep = self._running.kept_in("autoencoder", training, *jax.tree.leaves(trained.models))
        training.run(keep)
        (dictionaries, diverged_at, _), evaluation = training.gather(keep)
        found = self.measure(dictionaries, evaluation.loss, training.cells.laws)
        latent = {"latent": np.arange(self.problem.n_hidden)}
        return Found(self._labelled(dictionaries, diverged_at, evaluation, found), latent)

    def measure(self, dictionaries: PyTree, loss: Float[np.ndarray, " models"], laws: Laws) -> Measured:
        """What dictionaries, leaves (models, ...), of such losses make of the activations of their models."""
        _, variances = self.program.moments(laws)
        variance, uniforms = variances.sum(-1), self.program.fine.draw(jax.random.key(0))
        found = jax.jit(lambda *both: lax.map(lambda one: firing(*one, uniforms), both))(dictionaries, laws.data)
        rates = np.asarray(found)
        return Measured(loss / np.where(variance > 0, variance, np.nan), rates.sum(-1), rates)

    def _labelled(
        self, dictionaries: PyTree, diverged_at: np.ndarray, evaluation: Evaluation, found: Measured
    ) -> Variables:
        grid = self._running.grid
        dims = (*grid.dims, "restart")

        def by_restart(flat: np.ndarray) -> np.ndarray:
            return grid.unflatten(flat.reshape(grid.n_cells, -1, *flat.shape[1:]))

        arrays = {name: np.asarray(getattr(dictionaries, name)) for name in Dictionary.dims}
        arrays["decoder"] = np.asarray(jax.vmap(lambda one: one.directions())(dictionaries))
        return {
            **{
                f"autoencoder_{name}": ((*dims, *own), by_restart(arrays[name]))
                for name, own in Dictionary.dims.items()
            },
            "autoencoder_loss": (dims, by_restart(evaluation.loss)),
            "autoencoder_objective": (dims, by_restart(np.asarray(evaluation.minimised))),
            "autoencoder_diverged_at": (dims, by_restart(diverged_at)),
            "autoencoder_fvu": (dims, by_restart(found.fvu)),
            "autoencoder_l0": (dims, by_restart(found.l0)),
            "autoencoder_firing": ((*dims, "latent"), by_restart(found.firing)),
            "autoencoder_dead": (dims, by_restart((found.firing == 0).mean(-1).astype(np.float32))),
        }

    @staticmethod
    def derive(dataset: xr.Dataset, case: Case) -> Variables:
        if "autoencoder_decoder" not in dataset or "W" not in dataset:
            return {}
        W = dataset["W"].values
        represented = analysis.norm(W) >= case.phases.represented
        alive = dataset["autoencoder_firing"].values > 0
        found = analysis.recovery(W, dataset["autoencoder_decoder"].values, represented, alive)
        return {f"autoencoder_{name}": ((*case.axes, "restart"), values) for name, values in found._asdict().items()}


@functools.lru_cache(maxsize=64)
def problem_on(problem: Problem, width: int, top_k: int, fixed: bool = False) -> Problem:
    """The problem of dictionaries on the activations of the models of a problem: the squared error, and the L1 norm of
    the latents unless the largest `top_k` of them alone stay. `fixed` directions are not trained."""
    m = problem.n_hidden
    terms, names = ((Squared,), ("squared",)) if top_k else ((Squared, L1), ("squared", "l1"))
    model = bound_model(Dictionary, True, (("top_k", top_k), ("fixed", fixed)))
    parts = tuple(bound(term, m, ()) for term in terms)
    return Problem(model, activations_of(problem), bound(Identity, m, ()), parts, names, m, width, m)


def begun_with(dictionaries: PyTree, W: Float[np.ndarray, "models n_hidden n_features"]) -> PyTree:
    """Dictionaries, leaves (models, ...), whose first latents are the directions of the features, as many as there are
    of both."""
    decoder = np.array(dictionaries.decoder)
    both = min(decoder.shape[-1], W.shape[-1])
    decoder[..., :both] = jax.vmap(units)(W[..., :both])
    return with_arrays(dictionaries, {"encoder": decoder.swapaxes(-1, -2), "decoder": decoder})


def firing(
    dictionary: Dictionary, data: Activations, uniforms: Float[Array, "uniforms samples"]
) -> Float[Array, " latents"]:
    """How often each latent of a dictionary is active, of inputs that are not all 0."""
    model: Any = data.model
    x = jax.vmap(data.source.sample_active if data.skips_empty else data.source.sample, -1)(uniforms)
    some = jnp.any(x != 0, axis=1)
    active = (jax.vmap(lambda x: dictionary.hidden(model.hidden(x)))(x) > 0) & some[:, None]
    return jnp.sum(active, axis=0, dtype=jnp.float32) / jnp.maximum(jnp.sum(some, dtype=jnp.float32), 1.0)


def _zeros(model: PyTree) -> PyTree:
    """One model of zeros, of such shapes."""
    return jax.tree.map(lambda x: np.zeros((1, *x.shape), x.dtype), model)
