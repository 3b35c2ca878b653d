"""A user's own distribution, target, term and model, from a file beside the sweep file and the command line."""

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from superjax.runs.problems import closed_form, exchangeable, laws_of, problem_of
from superjax.spec import load
from superjax.spec.grid import Grid
from superjax.sweep import main

CODE = '''
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pydantic import model_validator

from superjax.problem.data import Independent
from superjax.problem import Count, Distribution, Error, NonNegative, Options, PerFeature, Positive, Target, Term
from superjax.problem import ToyModel


class Scaled(Distribution):
    """Uniform numbers of a size, the first `zeros` of them 0."""

    size: Float[Array, ""]

    class Options(Options):
        size: Positive = 1.0
        zeros: Count = 1

    def sample(self, uniforms):
        return jnp.where(jnp.arange(self.n_features) < self.zeros, 0.0, self.size * uniforms)


class Wide(Distribution):
    def sample(self, uniforms):
        return jnp.concatenate([uniforms, uniforms])


def double(x):
    return 2 * x


def total(x):
    return jnp.sum(x)[None]


class Times(Target):
    factor: Float[Array, ""]

    class Options(Options):
        factor: Positive = 1.0

    def __call__(self, x):
        return self.factor * x


class Weights(Term):
    """The sum of squares of W."""

    strength: Float[Array, ""]

    class Options(Options):
        strength: NonNegative = 0.0

    def values(self, model, x, y):
        return jnp.sum(jnp.square(model.W))[None]

    def weights(self):
        return self.strength[None]


class Other(Weights):
    class Options(Options):
        strength: NonNegative = 0.5


class NoSegment(Weights):
    has_segment = True


class Half(Independent):
    def sample(self, uniforms):
        return super().sample(uniforms) / 2


class Moments(Half):
    enumerable = uncorrelated = skips_empty = False


class Ordered(Scaled):
    low: Array
    high: Array

    class Options(Scaled.Options):
        low: Positive = 1.0
        high: Positive = 2.0

        @model_validator(mode="after")
        def _check(self):
            if self.low >= self.high:
                raise ValueError("low must be below high")
            return self


class NamedKind(Scaled):
    class Options(Scaled.Options):
        kind: Count = 1


class NamedPoints(Scaled):
    class Options(Scaled.Options):
        points: Count = 1


class Required(Scaled):
    class Options(Scaled.Options):
        zeros: Count


class FieldAlone(Scaled):
    more: Array


class Short(Error):
    def values(self, model, x, y):
        return jnp.square(model(x) - y)[:1]


class Wave(eqx.Module):
    W: Array
    frequency: ClassVar[int]
    dims: ClassVar = {"W": ("hidden", "feature")}

    class Options(Options):
        frequency: Count = 1

    def __init__(self, n_features, n_hidden, init_std, *, key):
        self.W = init_std * jax.random.normal(key, (n_hidden, n_features))

    def __call__(self, x):
        return self.W.T @ jnp.sin(self.frequency * (self.W @ x))


class Leaky(eqx.Module):
    """f(Wᵀ W x), f(z) = max(z, slope z): without a slope a ReLU, with slope 1 linear."""

    W: Array
    dims: ClassVar = {"W": ("hidden", "feature")}

    class Options(Options):
        slope: NonNegative = 0.0
        bend: Positive = 1.0

    def __init__(self, n_features, n_hidden, init_std, *, key):
        self.W = init_std * jax.random.normal(key, (n_hidden, n_features))

    def hidden(self, x):
        return self.bend * (self.W @ x)

    def __call__(self, x):
        z = self.W.T @ self.hidden(x)
        return jnp.where(z > 0, z, self.slope * z)


class Affine(Leaky):
    rectified: ClassVar = True

    def preactivation(self, x):
        return self.W.T @ self.hidden(x) - self.slope

    def __call__(self, x):
        return jax.nn.relu(self.preactivation(x))


class Branches(Leaky):
    def __call__(self, x):
        return x if self.slope > 0 else self.hidden(x)


class Early(Leaky):
    def __init__(self, n_features, n_hidden, init_std, *, key):
        self.W = self.slope * init_std * jax.random.normal(key, (n_hidden, n_features))


class Twice(Leaky):
    slope: Array


class ForEach(Leaky):
    class Options(Options):
        slope: PerFeature = 1.0


class Neurons(Wave):
    dims: ClassVar = {"W": ("neuron", "feature")}


class Shifted(Wave):
    def hidden(self, x):
        return self.W @ x + 1
'''
SWEEP = """
n_features = 3
n_hidden = 2
restarts = 2
[train]
steps = 2
learning_rate = 1e-30
"""
SAMPLED = "train.objective=quasi"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    (tmp_path / "own_parts.py").write_text(CODE)
    return tmp_path


def trained(folder: Path, *overrides: str) -> xr.Dataset:
    shutil.rmtree(folder / "results", ignore_errors=True)
    (folder / "mine.toml").write_text(SWEEP)
    assert main(["mine.toml", *overrides]) == 0
    with xr.open_dataset(folder / "results" / "mine" / "mine.nc", engine="h5netcdf") as data:
        return data.load()


def refused(folder: Path, capsys: pytest.CaptureFixture, *overrides: str) -> str:
    """The message of a run that is refused, before anything is trained."""
    (folder / "mine.toml").write_text(SWEEP)
    assert main(["mine.toml", *overrides]) == 2
    said = capsys.readouterr()
    assert len(said.err.strip().splitlines()) <= 6 and "Traceback" not in said.err and "100%" not in said.err
    assert not list(folder.glob("results/mine/*.nc"))
    return said.err


def test_a_distribution_with_options(folder):
    """A number as an axis, a count from the file: what is missed by a model of nothing is its variance and mean."""
    data = trained(folder, SAMPLED, "model.init_std=1e-9", "data={kind='own_parts:Scaled', zeros=2}",
                   "axes.size={field='data.size', values=[0.5, 2]}")  # fmt: skip
    np.testing.assert_allclose(data["loss"].values, np.repeat([[0.5**2 / 3], [4 / 3]], 2, 1), rtol=1e-3)
    assert data["size"].attrs["long_name"] == "data.size"
    assert np.isnan(data["explained"][..., :2]).all()  # they do not vary


def test_a_target_function(folder):
    data = trained(folder, SAMPLED, "model.init_std=1e-9", "target.kind=own_parts:double")
    np.testing.assert_allclose(data["loss"], 3 * 4 / 3, rtol=1e-3)


@pytest.mark.heavy
def test_a_target_with_an_option_as_an_axis(folder):
    data = trained(folder, SAMPLED, "model.init_std=1e-9", "target.kind=own_parts:Times",
                   "axes.factor={field='target.factor', values=[1, 3]}")  # fmt: skip
    np.testing.assert_allclose(data["loss"].values[:, 0], [1, 9], rtol=1e-3)


def test_a_target_of_another_length(folder):
    data = trained(folder, SAMPLED, "model.kind=two_layer", "target.kind=own_parts:total")
    assert data["W2"].dims == ("restart", "output", "hidden") and data.sizes["output"] == 1


@pytest.mark.heavy
def test_a_term_as_an_axis(folder):
    data = trained(folder, SAMPLED, "terms.decay={kind='own_parts:Weights'}",
                   "axes.strength={field='terms.decay.strength', values=[0, 0.5]}")  # fmt: skip
    squares = (data["W"] ** 2).sum(("hidden", "feature"))
    np.testing.assert_allclose(data["term_decay"], squares * data["strength"], rtol=1e-5)
    np.testing.assert_allclose(data["objective"], data["loss"] + data["term_decay"], rtol=1e-5)


def test_a_model_with_an_option(folder):
    """The option is part of the model: it changes what comes out, from the same weights."""
    one, two = (trained(folder, SAMPLED, f"model={{kind='own_parts:Wave', frequency={k}, init_std=1.0}}")
                for k in (1, 2))  # fmt: skip
    np.testing.assert_array_equal(one["W"], two["W"])
    assert (one["loss"] != two["loss"]).all()


def test_a_number_of_a_model_as_an_axis(folder):
    """Every cell has its own, in one program: what each would have if it were the only one."""
    leaky = "kind='own_parts:Leaky', bend=0.5, init_std=1.0"
    data = trained(folder, f"model={{{leaky}}}", "axes.slope={field='model.slope', values=[0, 0.1, 1]}")
    assert data["slope"].attrs["long_name"] == "model.slope"
    W = data["W"].values
    for k, slope in enumerate((0.0, 0.1, 1.0)):
        x = np.random.default_rng(0).random((2**15, 3))
        z = x @ (0.5 * np.swapaxes(W[k, 0], 0, 1) @ W[k, 0])
        np.testing.assert_allclose(data["loss"][k, 0], np.mean(np.sum((np.maximum(z, slope * z) - x) ** 2, 1)), 0.02)
    alone = trained(folder, f"model={{{leaky}, slope=0.1}}")
    np.testing.assert_array_equal(alone["loss"], data["loss"][1])
    np.testing.assert_array_equal(alone["grad_norm"], data["grad_norm"][1])


def test_a_number_of_a_model_has_no_gradient_of_its_own(folder):
    data = trained(folder, "model={kind='own_parts:Leaky', slope=0.3}", "train.learning_rate=0.1")
    assert "slope" not in data and "W" in data  # it is no array of the dataset
    assert '"slope":0.3' in data.attrs["case"]


def test_the_closed_form_takes_numbers_of_a_model(folder):
    """It is that of the ReLU output model with the bias -slope."""
    own = trained(folder, "model={kind='own_parts:Affine', slope=0.2}", "data.density=0.5")
    built_in = trained(folder, "model.init_bias=-0.2", "data.density=0.5")
    np.testing.assert_allclose(own["loss"], built_in["loss"], rtol=1e-5)
    (case,) = load("mine.toml", "model={kind='own_parts:Affine', slope=0.2}").cases.values()
    assert closed_form(problem_of(case)).holds


def test_dictionaries_take_numbers_of_a_model(folder):
    """Activations are `bend` times W x: their variance, in units of the dictionary's error of nothing, with it."""
    data = trained(folder, "data.density=0.5", "model={kind='own_parts:Leaky', init_std=0.5}",
                   "axes.bend={field='model.bend', values=[1, 3]}",
                   "autoencoder={width=1, steps=1, batch=8, learning_rate=1e-30}")  # fmt: skip
    u = np.random.default_rng(0).random((2**16, 3))
    for k, bend in enumerate((1, 3)):
        h = bend * np.where(u < 0.5, u / 0.5, 0) @ data["W"].values[k, 0].T
        encoder, decoder = data["autoencoder_encoder"].values[k, 0], data["autoencoder_decoder"].values[k, 0]
        miss = np.maximum(h @ encoder.T, 0) @ decoder.T - h
        np.testing.assert_allclose(data["autoencoder_loss"][k, 0], np.mean(np.sum(miss**2, axis=1)), rtol=0.03)


REFUSALS = [
    # wrong options
    (["data={kind='own_parts:Scaled', zeros=0}", SAMPLED], "data.zeros"),
    (["data={kind='own_parts:Scaled', size=-1.0}", SAMPLED], "data.size"),
    (["data={kind='own_parts:Scaled', sise=2.0}", SAMPLED], "did you mean data.size?"),
    (["model={kind='own_parts:Wave', frequency=1.5}"], "model.frequency"),
    (["terms.decay={kind='own_parts:Weights', strengh=1.0}"], "did you mean terms.decay.strength?"),
    (["data.kind=own_parts:Scaled", SAMPLED, "axes.a={field='data.zeros', values=[1, 2]}"], "is static"),
    # no such member
    (["data.kind=own_parts:Absent"], "has no attribute 'Absent'"),
    (["data.kind=own_parts:double"], "must be a class that inherits superjax.problem.Distribution"),
    (["target.kind=own_parts:Scaled"], "must be a function of one input, or a class that inherits"),
    (["terms.mine={kind='own_parts:Wave'}"], "must be a class that inherits superjax.problem.Term"),
    (["target.kind=absent_parts:double"], "looked for absent_parts.py in"),
    # shapes
    (["data.kind=own_parts:Wide", SAMPLED], "sample(uniforms) has shape (6,), must be (3,)"),
    (["target.kind=own_parts:total"], "has as many outputs as features, 3, the target has 1; take one with"),
    (["terms.short={kind='own_parts:Short'}"], "values(model, x, y) has shape (1,), must be (3,)"),
    (["terms.decay={kind='own_parts:Weights', strength=1.0}", "model.kind=two_layer"], "raises AttributeError"),
    # options and fields
    (["data={kind='own_parts:Ordered', low=3.0}", SAMPLED], "low must be below high"),
    (["data.kind=own_parts:NamedKind", SAMPLED], "its option kind has a name that is taken"),
    (["data.kind=own_parts:NamedPoints", SAMPLED], "its option points has a name that is taken"),
    (["data={kind='own_parts:Required', zeros=1}", SAMPLED], "its option zeros has no default"),
    (["data.kind=own_parts:FieldAlone", SAMPLED], "it has the field more and no option of that name"),
    (["model.kind=own_parts:Twice"], "its option slope is a field too"),
    (["model.kind=own_parts:ForEach"], "its option slope has a number for every feature"),
    (["model.kind=own_parts:Early"], "raises AttributeError"),
    (["model.kind=own_parts:Branches"], "raises TracerBoolConversionError"),
    (["model={kind='own_parts:Leaky', slope=-1.0}"], "model.slope"),
    (["model.kind=own_parts:Leaky", "axes.a={field='model.slope', values=[0, -1]}"], "-1.0 is refused: model.slope"),
    # what it says of itself in two ways
    (["data.kind=own_parts:Half"], "overrides sample but not probability"),
    (["data.kind=own_parts:Moments", SAMPLED], "overrides sample but not moments"),
    (["terms.decay.kind=own_parts:NoSegment"], "segment(model, start, end, y_start, y_end) raises NotImplementedError"),
    (
        ["model.kind=own_parts:Neurons", "n_hidden=2", "axes.m={field='n_hidden', values=[1, 2]}"],
        "has no dimension hidden",
    ),
    # what does not go together
    (["data.kind=own_parts:Scaled"], "Scaled cannot be; use train.objective"),
    (["data.kind=own_parts:Scaled", SAMPLED, "optimum=true"], "Scaled cannot be enumerated"),
]


def test_what_own_code_raises_is_said_with_its_line(folder, capsys):
    lines = CODE.splitlines()
    line = next(k for k in range(lines.index("class Early(Leaky):"), len(lines)) if "self.W = " in lines[k])
    said = refused(folder, capsys, "model.kind=own_parts:Early")
    assert f"\n  at {folder / 'own_parts.py'}, line {line + 1}\n" in said


@pytest.mark.parametrize(("overrides", "says"), REFUSALS)
def test_what_is_wrong_is_said_in_one_message(folder, capsys, overrides, says):
    assert says in refused(folder, capsys, *overrides)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.kind=finite", "train.objective=minibatch"], '=minibatch (command line): must be "exact" with'),
        (["data.kind=finite", "train.objective=quasi"], 'must be "exact" with data.kind = "finite"'),
        (["terms.l1.strength=0.1", "model.kind=own_parts:Wave"], "needs a model with a method hidden(x)"),
        (["terms={squared={}, power={}}"], "must have one error at most, as squared or power"),
        (["terms={squared={}, mine={kind='own_parts:Short'}}"], "must have one error at most"),
        (["terms.l1.power=3.0"], 'is no option of the term "l1", it has strength'),
        (["terms.squared.strength=0.5"], 'is no option of the term "squared", it has no options'),
        (["terms.mine={strength=0.5}"], 'must have kind = "squared", "power", "l1" or "pkg.module:Class"'),
        (["axes.m={field='n_hidden', values=[1, 2.5]}"], "2.5 is refused: an axis over n_hidden has whole numbers"),
        (["axes.m={field='n_hidden', values=[1, 3]}"], "3 is refused: an axis over n_hidden has whole numbers from 1"),
        (["axes.m={field='n_hidden', values=[0, 2]}"], "0 is refused"),
        (["data.points=5"], 'it needs data.kind = "finite"'),
        (["data={kind='one_sparse', density=0.5}"], 'has no effect with data.kind = "one_sparse"'),
        (["model.activation=sine"], "model.activation"),
        (["model={kind='two_layer', activation='tanh'}"], 'has no effect with model.kind = "two_layer"'),
        (["importance={ratio=0.5, zipf=1.0}"], "must have one of ratio and zipf"),
        (["data.density={zipf=-1.0}"], "makes data.density 2 of feature 1, must be in (0, 1]"),
        (["target.kind=and_pairs", "n_features=4"], "has as many outputs as features, 4, the target has 6"),
        (["train.decayed=weights"], "has no effect with train.optimizer"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, capsys, overrides, says):
    assert says in refused(folder, capsys, *overrides)


def test_each_term_has_the_defaults_of_its_own(folder):
    data = trained(folder, SAMPLED, "terms={a={kind='own_parts:Weights'}, b={kind='own_parts:Other'}}")
    squares = (data["W"] ** 2).sum(("hidden", "feature"))
    np.testing.assert_array_equal(data["term_a"], 0 * squares)
    np.testing.assert_allclose(data["term_b"], 0.5 * squares, rtol=1e-5)


@pytest.mark.heavy
def test_an_empty_input_may_have_activations(folder):
    """h = Wx + 1: dictionaries are measured on these, also where no feature is active."""
    data = trained(folder, "data.density=0.1", "model={kind='own_parts:Shifted', init_std=0.5}",
                   "autoencoder={width=3, steps=1, batch=8, learning_rate=1e-30}")  # fmt: skip
    u = np.random.default_rng(0).random((2**16, 3))
    h = np.where(u < 0.1, u / 0.1, 0) @ data["W"].values[0].T + 1
    encoder, decoder = data["autoencoder_encoder"].values[0], data["autoencoder_decoder"].values[0]
    miss = np.maximum(h @ encoder.T, 0) @ decoder.T - h
    np.testing.assert_allclose(data["autoencoder_loss"][0], np.mean(np.sum(miss**2, axis=1)), rtol=0.02)


@pytest.mark.parametrize(("override", "alike"), [("target.kind=identity", 1), ("target.kind=own_parts:double", 3)])
def test_features_are_exchanged_only_where_a_target_says_so(folder, override, alike):
    (folder / "mine.toml").write_text(SWEEP)
    (case,) = load("mine.toml", override).cases.values()
    problem = problem_of(case)
    importance, _, _ = exchangeable(problem, laws_of(problem, Grid(case)))
    assert len(np.unique(importance)) == alike
