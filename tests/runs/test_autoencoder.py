"""Dictionaries on the activations of trained models, against hand-made ones and a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from superjax import analysis
from superjax.engine.plan import schedule_factors
from superjax.engine.random import root_key
from superjax.engine.train import Cell
from superjax.problem.models.dictionary import Dictionary
from superjax.problem.problem import Laws
from superjax.runs.case_run import CaseRun
from superjax.runs.stages.autoencoder import begun_with, problem_on
from superjax.runs.stages.refine import hyper_of
from superjax.runs.starting import with_arrays
from superjax.spec import SweepError, Train, load
from superjax.studies import dictionaries

SWEEP = """
restarts = 2
n_features = 5
n_hidden = 2
data.density = 0.2
train.steps = 60
[autoencoder]
width = 6
steps = 40
batch = 64
[axes.density]
field = "data.density"
values = [0.4, 0.1]
[axes.penalty]
field = "autoencoder.penalty"
values = [0.01, 0.3]
"""


def case_of(tmp_path, *overrides, text=SWEEP):
    (tmp_path / "dictionaries.toml").write_text(text)
    (case,) = load(tmp_path / "dictionaries.toml", *overrides).cases.values()
    return case


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    running = CaseRun("dictionaries", case_of(tmp_path_factory.mktemp("sweep")))
    running.train()
    return running, running.finish()


def draw(seed: int, *numbers: int) -> jax.Array:
    """The key of initial weights."""
    key = jax.random.fold_in(root_key(seed), 0)
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key


def pentagon() -> np.ndarray:
    angle = 2 * np.pi * np.arange(5) / 5
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def test_a_dictionary_of_the_features_themselves_recovers_all():
    W, order = 1.2 * pentagon(), np.array([3, 1, 4, 0, 2])
    found = analysis.recovery(W, pentagon()[:, order], np.ones(5, bool), np.ones(5, bool))
    np.testing.assert_allclose(found, (1, 1, 1, 1), rtol=1e-6)


def test_what_is_missing_dead_or_not_represented_counts_as_such():
    directions = np.stack([pentagon()[:, 0], pentagon()[:, 2], [0, 1]], axis=1)
    # Features 0 and 2 are found; the nearest of the other three is 72 degrees from one of them.
    found = analysis.recovery(pentagon(), directions, np.ones(5, bool), np.array([True, True, False]))
    near = np.cos(2 * np.pi / 5)
    np.testing.assert_allclose(found.feature_cosine, (2 + 3 * near) / 5, rtol=1e-5)
    np.testing.assert_allclose([found.latent_cosine, found.matched_cosine, found.recovered], [1, 1, 0.4], rtol=1e-6)
    one = analysis.recovery(pentagon(), directions, np.arange(5) == 0, np.array([True, True, False]))
    np.testing.assert_allclose([one.feature_cosine, one.matched_cosine, one.recovered], [1, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(one.latent_cosine, (1 + np.cos(4 * np.pi / 5)) / 2, rtol=1e-5)


@pytest.mark.parametrize("represented, alive", [(False, True), (True, False)])
def test_nothing_to_compare_is_nan(represented, alive):
    found = analysis.recovery(pentagon(), pentagon(), np.full(5, represented), np.full(5, alive))
    assert np.isnan(found).all()


def test_leading_dimensions_are_kept():
    W = np.broadcast_to(pentagon(), (3, 2, 2, 5))
    found = analysis.recovery(W, W, np.ones((3, 2, 5), bool), np.ones((3, 2, 5), bool))
    assert {values.shape for values in found} == {(3, 2)}


def test_the_measures_of_a_hand_made_dictionary_are_those_of_plain_numpy(finished):
    running, dataset = finished
    stage = running._stages[0]
    data = stage.problem.data
    W, density = pentagon(), 0.3
    model = with_arrays(running.problem.new(jax.random.key(0), 1.0), {"W": W})
    # A latent for each feature, and one that is dead.
    parts = {
        "encoder": np.append(W.T, np.zeros((1, 2)), axis=0),
        "encoder_bias": np.array([*[-0.1] * 5, -1]),
        "decoder": np.append(3 * W, np.ones((2, 1)), axis=1),
        "decoder_bias": np.zeros(2),
    }
    dictionary = stage.problem.new(jax.random.key(1), 1.0)
    dictionary = with_arrays(dictionary, {name: array.astype(np.float32) for name, array in parts.items()})
    terms = (stage.problem.terms[0](np.ones(2, np.float32)), stage.problem.terms[1](np.float32(0)))
    laws = Laws(data(model, running.problem.data(np.full(5, density, np.float32))), stage.problem.target(), terms)
    one, laws = jax.tree.map(lambda x: np.asarray(x)[None], (dictionary, laws))
    loss = stage.program.evaluate(one, Cell(laws, hyper_of(Train())), np.zeros(1, np.int32), 16).loss
    found = jax.tree.map(lambda x: x[0], stage.measure(one, loss, laws))

    u = np.random.default_rng(0).random((2**18, 5))
    x = np.where(u < density, u / density, 0)
    h = x @ W.T
    f = np.maximum(h @ W - 0.1, 0)
    miss = f @ W.T - h
    fvu = np.mean(np.sum(miss**2, 1)) / np.sum(np.var(h, axis=0))
    some = (x > 0).any(1)
    np.testing.assert_allclose(found.fvu, fvu, rtol=0.02)
    np.testing.assert_allclose(found.l0, (f > 0).sum(1)[some].mean(), rtol=0.02)
    np.testing.assert_allclose(found.firing[:5], (f > 0)[some].mean(0), rtol=0.03)
    assert found.firing[5] == 0


def test_the_stage_trains_what_a_plain_loop_over_one_of_them_does(finished):
    """Of one dictionary, step by step, with the same initial weights and the same draws."""
    running, dataset = finished
    case, stage = running.case, running._stages[0]
    at = {"density": 1, "penalty": 0, "restart": 1}
    W = jnp.asarray(dataset["W"].isel(at).values)
    density = jnp.full(5, case.axes["density"].values[1], jnp.float32)
    source, penalty = running.problem.data(density), case.axes["penalty"].values[0]

    def loss(arrays, uniforms):
        encoder, encoder_bias, decoder, decoder_bias = arrays
        h = jax.vmap(lambda u: W @ source.sample_active(u), -1)(uniforms)
        h0 = jnp.zeros((1, 2))
        some = 1 - (1 - density[0]) ** 5

        def mean(h):
            f = jax.nn.relu((h - decoder_bias[None]) @ encoder.T + encoder_bias[None])
            units = decoder / jnp.linalg.norm(decoder, axis=0, keepdims=True)
            error = jnp.sum((f @ units.T + decoder_bias[None] - h) ** 2, axis=1)
            return jnp.mean(error + penalty * jnp.sum(f, axis=1))

        return (some * mean(h) + (1 - some) * mean(h0)) / density[0]

    start = stage.problem.new(draw(case.seed, 1, 1), 1.0)  # the restart, and what tells dictionaries from models
    arrays = [getattr(start, name) for name in Dictionary.dims]
    factors = schedule_factors(Train(steps=case.autoencoder.steps))
    key = jax.random.fold_in(jax.random.fold_in(root_key(case.seed), 1), 0)
    state = optax.scale_by_adam().init(arrays)
    step_of = jax.jit(lambda arrays, uniforms: jax.grad(loss)(arrays, uniforms))
    for step in range(case.autoencoder.steps):
        uniforms = jax.random.uniform(jax.random.fold_in(key, step), (6, case.autoencoder.batch))
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optax.scale_by_adam().update(step_of(arrays, uniforms), state)
        rate = case.autoencoder.learning_rate * factors[step]
        arrays = [array - rate * update for array, update in zip(arrays, updates, strict=True)]
    arrays[2] = arrays[2] / jnp.linalg.norm(arrays[2], axis=0, keepdims=True)
    for name, array in zip(Dictionary.dims, arrays, strict=True):
        np.testing.assert_allclose(dataset[f"autoencoder_{name}"].isel(at).values, array, atol=2e-4)


def test_a_penalty_changes_no_model_that_the_dictionaries_are_of(finished):
    _, dataset = finished
    W = dataset["W"].values
    np.testing.assert_array_equal(W[:, 0], W[:, 1])
    assert not np.array_equal(dataset["autoencoder_encoder"].values[:, 0], dataset["autoencoder_encoder"].values[:, 1])
    assert (dataset["autoencoder_l0"].values[:, 1] <= dataset["autoencoder_l0"].values[:, 0]).all()


def test_what_a_dataset_says_of_dictionaries(finished):
    _, dataset = finished
    norms = np.linalg.norm(dataset["autoencoder_decoder"].values, axis=-2)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)
    assert dataset["autoencoder_decoder"].dims == ("density", "penalty", "restart", "hidden", "latent")
    assert all(dataset[name].attrs["long_name"].strip() for name in dataset if str(name).startswith("autoencoder"))
    dead = (dataset["autoencoder_firing"].values == 0).mean(-1)
    np.testing.assert_allclose(dataset["autoencoder_dead"].values, dead, rtol=1e-6)


@pytest.mark.heavy
def test_of_the_largest_k_latents_no_more_are_active(tmp_path):
    case = case_of(tmp_path, 'autoencoder.kind="topk"', "autoencoder.k=2", text=SWEEP.split("[axes.penalty]")[0])
    running = CaseRun("topk", case)
    running.train()
    dataset = running.finish()
    assert (dataset["autoencoder_l0"].values <= 2 + 1e-6).all() and (dataset["autoencoder_l0"].values > 0.5).all()
    assert running._stages[0].problem == problem_on(running.problem, 6, 2)


@pytest.mark.parametrize("axes", [(), ("density",), ("density", "penalty"), ("third", "density", "penalty")])
def test_the_figure_draws_what_the_dataset_has(finished, axes):
    running, dataset = finished
    case, every = running.case, {**running.case.axes, "third": running.case.axes["density"]}
    data = dataset.isel({dim: 0 for dim in ("density", "penalty") if dim not in axes})
    data = data.expand_dims(third=[1.0, 2.0]) if "third" in axes else data
    figure = dictionaries.figure(case.model_copy(update={"axes": {dim: every[dim] for dim in axes}}), data, "name")
    recovered = data["autoencoder_recovered"]
    ax = figure.axes[0]
    if not axes:
        np.testing.assert_allclose([bar.get_height() for bar in ax.patches], recovered)
    elif len(axes) == 1:  # densities 0.4 and 0.1, in order
        np.testing.assert_allclose(ax.lines[0].get_ydata(), recovered.mean("restart")[::-1])
    else:
        drawn = ax.collections[0].get_array().reshape(2, 2).T  # (density, penalty), both in order
        shown = recovered.isel(third=0) if "third" in axes else recovered
        np.testing.assert_allclose(drawn, shown.mean("restart")[::-1], rtol=1e-6)
    assert ("first of 2 values of third" in figure._suptitle.get_text()) == ("third" in axes)


@pytest.mark.parametrize(
    "overrides, says",
    [
        (("autoencoder.k=7", 'autoencoder.kind="topk"'), "must be <= autoencoder.width = 6"),
        (("autoencoder.k=2",), 'has no effect with autoencoder.kind = "l1"'),
        (('model.kind="two_layer"',), "needs a model with weights W"),
        (("autoencoder.width=0",), "must be >= 1"),
    ],
)
def test_what_cannot_be_is_refused_before_training(tmp_path, overrides, says):
    with pytest.raises(SweepError, match=says):
        CaseRun("refused", case_of(tmp_path, *overrides))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Dictionaries as they begin, with the features, of rare pairs: data that are drawn as they come, mostly empty."""
    case = case_of(tmp_path_factory.mktemp("untrained"), "autoencoder.start=features", "autoencoder.width=8",
                   "autoencoder.steps=1", "autoencoder.learning_rate=1e-30", 'data={kind="sets", set_size=2}',
                   "n_features=6", "axes.density.values=[0.02, 0.03]", "axes.penalty.values=[0.1]")  # fmt: skip
    running = CaseRun("untrained", case)
    running.train()
    return running.finish()


def test_a_dictionary_may_begin_with_the_features(untrained):
    directions = untrained["autoencoder_decoder"].values
    np.testing.assert_allclose(directions[..., :6], analysis.units(untrained["W"].values), atol=1e-5)
    np.testing.assert_allclose(untrained["autoencoder_encoder"].values, directions.swapaxes(-1, -2), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-2), 1, rtol=1e-5)


def test_a_narrow_dictionary_begins_with_the_first_features(finished):
    new = finished[0]._stages[0].problem.new(jax.random.key(0), 1.0)  # six latents
    W = np.arange(1.0, 17).reshape(1, 2, 8).astype(np.float32) ** 2
    found = begun_with(jax.tree.map(lambda x: np.asarray(x)[None], new), W)
    np.testing.assert_allclose(found.decoder, analysis.units(W)[..., :6], rtol=1e-5)
    np.testing.assert_allclose(found.encoder, found.decoder.swapaxes(-1, -2))


def test_firing_is_counted_where_some_feature_is_active(untrained):
    assert untrained["autoencoder_l0"].values.min() > 0.5  # of all inputs less than a fifth


def test_fixed_directions_stay_as_they_were_drawn_and_the_encoder_learns(tmp_path):
    """Not from the draw of the model, whose features stay near where they began, even with weights of that shape."""
    case = case_of(tmp_path, "autoencoder.fixed=true", "autoencoder.width=5")
    running = CaseRun("fixed", case)
    running.train()
    data = running.finish()
    directions = data["autoencoder_decoder"].values
    start = running._stages[0].problem.new(draw(case.seed, 1, 1), 1.0)
    np.testing.assert_allclose(
        directions[:, :, 1], np.broadcast_to(start.decoder, directions[:, :, 1].shape), atol=1e-5
    )
    assert np.abs(data["autoencoder_encoder"].values - directions.swapaxes(-1, -2)).max() > 0.01
    own = running.problem.new(draw(case.seed, 1), 1.0)
    assert np.abs((analysis.units(np.asarray(own.W)) * np.asarray(start.decoder)).sum(0)).mean() < 0.9


def test_what_is_minimised_is_the_error_and_the_penalty(finished):
    """Without a penalty the error alone; the sum of the latents is what the penalty counts."""
    running, dataset = finished
    at = {"density": 0, "penalty": 1, "restart": 0}
    one = dataset.isel(at)
    u = np.random.default_rng(0).random((2**17, 5))
    h = np.where(u < 0.4, u / 0.4, 0) @ one["W"].values.T
    encoder, decoder = one["autoencoder_encoder"].values, one["autoencoder_decoder"].values
    c = one["autoencoder_decoder_bias"].values
    f = np.maximum((h - c) @ encoder.T + one["autoencoder_encoder_bias"].values, 0)
    error, total = np.mean(np.sum((f @ decoder.T + c - h) ** 2, axis=1)), np.mean(f.sum(1))
    np.testing.assert_allclose(one["autoencoder_loss"], error, rtol=0.02)
    np.testing.assert_allclose(one["autoencoder_objective"], error + 0.3 * total, rtol=0.02)


def test_how_latents_lie_to_pairs():
    """Two pairs of orthogonal partners; a latent is a feature, a sum of partners, a sum of others, or dead."""
    W = np.eye(4)
    latents = np.stack([W[:, 0], W[:, 0] + W[:, 1], W[:, 0] + W[:, 3], W[:, 2]], axis=1)
    every, alive = np.ones(4, bool), np.array([True, True, True, False])
    found = analysis.mixing(W, latents, every, alive, 0.9)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(found.nearest, [1, half, half, np.nan], rtol=1e-6)
    np.testing.assert_allclose(found.partner, [0, half, 0, np.nan], atol=1e-6)
    np.testing.assert_allclose([found.sums, found.others], [1 / 3, 1 / 3], rtol=1e-6)
    first = analysis.mixing(W, latents, np.array([True, False, True, True]), alive, 0.9)  # the second pair alone
    np.testing.assert_allclose([first.sums, first.others], [0, 1 / 3], rtol=1e-6)
    merged = analysis.mixing(np.ones((2, 2)), np.ones((2, 1)), np.ones(2, bool), np.ones(1, bool), 0.9)
    assert np.isnan(merged.sums) and merged.nearest > 0.99
