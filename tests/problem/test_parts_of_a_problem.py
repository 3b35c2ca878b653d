"""What a sweep file may choose of a problem, by what comes out: models, data, targets, terms, axes over them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from superjax.reference import oracle
from superjax.runs.problems import evaluation_objectives, laws_of, problem_of
from superjax.runs.runner import run_case
from superjax.spec import SweepError
from superjax.spec.grid import Grid

ABSOLUTE = """
n_features = 3
n_hidden = 6
model.kind = "two_layer"
target.kind = "absolute"
data = {kind = "signed", density = [0.9, 0.5, 0.2]}
restarts = 2
train.steps = 1
train.snapshots = [0]
"""


def run(case, **init) -> xr.Dataset:
    return run_case("case", case, init or None)[0]


def exact_loss(case, **arrays) -> list[float]:
    """The error of given weights in every cell, under the objective of the stored loss."""
    problem, grid = problem_of(case), Grid(case)
    model = problem.new(jax.random.key(0), jnp.float32(1))
    for name, values in arrays.items():
        model = eqx.tree_at(lambda m, name=name: getattr(m, name), model, jnp.asarray(values, jnp.float32))
    fine, _ = evaluation_objectives(problem, case)

    def one(laws):
        rows = fine.rows(laws, fine.draw(jax.random.key(0)))
        values = jax.vmap(lambda row: fine.row_values(model, laws, row), -1, -1)(rows)
        error = laws.terms[0].weights()
        return error @ jnp.sum(values, -1)[: len(error)] * fine.row_weight

    laws = jax.tree.map(jnp.asarray, laws_of(problem, grid))
    return [float(one(jax.tree.map(lambda v, c=c: v[c], laws))) for c in range(grid.n_cells)]


def axis(name: str, field: str, values: list[float]) -> str:
    return f"axes.{name} = {{field = '{field}', values = {values}}}"


# --- models ---------------------------------------------------------------------------------------


def test_two_neurons_a_feature_compute_the_absolute_value(make_case):
    """|x| = ReLU(x) + ReLU(-x), and one neuron a feature is right for half of all inputs: E[x²] / 2 is missed."""
    one = np.eye(3)
    W1 = np.stack([np.concatenate([one, -one]), np.concatenate([one, 0 * one])])
    W2 = np.stack([np.concatenate([one, one], 1)] * 2)
    loss = run(make_case(text=ABSOLUTE), W1=W1, W2=W2)["loss_snapshots"].values[:, 0]
    assert loss[0] < 1e-12
    assert loss[1] == pytest.approx((0.9 + 0.5 + 0.2) / 3 / 2, rel=2e-3)


def test_the_arrays_of_two_layers(make_case):
    data = run(make_case(text=ABSOLUTE))
    assert data["W1"].dims == ("restart", "hidden", "feature")
    assert data["W2"].dims == ("restart", "feature", "hidden") and data["b"].dims == ("restart", "feature")
    assert "W" not in data and "phase" not in data and "output" not in data.dims
    assert data["explained"].dims == ("restart", "feature")


def test_a_relu_hidden_model_without_negative_weights_is_a_relu_output_model(make_case):
    """Its hidden activations are never cut off then. With negative weights, one feature alone is cut off: x' = b."""
    rng, text = np.random.default_rng(0), "n_features = 3\nn_hidden = 2\ndata.density = 0.4\n"
    W, b = rng.uniform(0, 1, (2, 3)), rng.normal(size=3)
    hidden, output = (
        exact_loss(make_case(f"model.kind={kind}", text=text), W=W, b=b) for kind in ("relu_hidden", "relu_output")
    )
    np.testing.assert_allclose(hidden, output, rtol=2e-2)
    one = make_case(text="n_features = 1\nn_hidden = 1\nmodel.kind = 'relu_hidden'\n")
    assert exact_loss(one, W=[[-0.7]], b=[0.25])[0] == pytest.approx(1 / 3 - 0.25 + 0.25**2, rel=1e-4)


HAND = {  # f and the mean over x in [0, 1] of (x - f(x / 4))², of f(W²x + b) with W = 1/2 and b = 0
    "identity": (lambda z: z, 9 / 48),
    "relu": (lambda z: np.maximum(z, 0), 9 / 48),
    "abs": (np.abs, 9 / 48),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), 9 / 48),
    "tanh": (np.tanh, None),
    "softplus": (lambda z: np.log1p(np.exp(z)), None),
    "silu": (lambda z: z / (1 + np.exp(-z)), None),
    "gelu": (lambda z: z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))), None),
}


@pytest.mark.parametrize("kind", ["linear", "relu_output"])
@pytest.mark.parametrize("activation", HAND)
def test_activations(make_case, kind, activation):
    """Of both models, whatever their own one; of negative numbers too, on a signed feature."""
    function, mean = HAND[activation]
    positive = (np.arange(4000) + 0.5) / 4000
    for data, x in ("independent", positive), ("signed", np.concatenate([-positive, positive])):
        text = f"n_features = 1\nn_hidden = 1\ndata.kind = '{data}'\n"
        case = make_case(f"model={{kind='{kind}', activation='{activation}'}}", text=text)
        (loss,) = exact_loss(case, W=[[0.5]], b=[0.0])
        assert loss == pytest.approx(np.mean((x - function(x / 4)) ** 2), rel=1e-5), data
        assert data == "signed" or mean is None or loss == pytest.approx(mean, rel=1e-5)


def test_the_default_activation_is_that_of_the_name(make_case):
    W, b = np.random.default_rng(0).normal(size=(1, 2)), np.full(2, -0.3)
    losses = []
    for kind, activation in ("linear", "identity"), ("relu_output", "relu"):
        plain, named = (exact_loss(make_case(f"model.kind={kind}", *more), W=W, b=b)
                        for more in ([], [f"model.activation={activation}"]))  # fmt: skip
        np.testing.assert_allclose(plain, named, rtol=1e-6)
        losses.append(plain)
    assert (np.array(losses[0]) != losses[1]).all()


# --- outputs --------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_outputs_that_are_no_features(make_case):
    """The AND of all pairs of four features: six outputs with a dimension of their own."""
    text = "n_features = 4\nn_hidden = 7\nmodel.kind = 'two_layer'\ntarget.kind = 'and_pairs'\nrestarts = 2\n"
    case = make_case("train.steps=40", "importance=[1, 1, 1, 1, 1, 0.5]", "data.density=0.5", text=text)
    data = run(case)
    assert data["W2"].dims == ("restart", "output", "hidden") and data["b"].dims == ("restart", "output")
    assert data["feature_loss"].dims == data["explained"].dims == ("restart", "output")
    assert data["output"].values.tolist() == list(range(6)) and data["feature"].values.tolist() == list(range(4))
    np.testing.assert_allclose(data["loss"], data["feature_loss"].values @ [1, 1, 1, 1, 1, 0.5], rtol=1e-5)
    assert (data["explained"] < 1).all()


@pytest.mark.heavy
def test_as_many_outputs_as_features_are_named_as_features(make_case):
    """Three pairs of three features."""
    text = "n_features = 3\nn_hidden = 2\ntarget.kind = 'and_pairs'\nrestarts = 2\ntrain.steps = 2\n"
    data = run(make_case("model.kind=two_layer", text=text))
    assert data["W2"].dims == ("restart", "feature", "hidden") and "output" not in data.dims


def test_a_model_of_nothing_misses_the_mean_square_of_the_target(make_case):
    """E[min(x_i, x_j)²] = s²/6 of a pair, E[x⁴] = s/5 of a square."""
    text = "n_features = 2\nn_hidden = 2\nmodel.kind = 'two_layer'\ndata.density = 0.3\n"
    for target, outputs, loss in ("and_pairs", 1, 0.3**2 / 6), ("square", 2, 2 * 0.3 / 5):
        case = make_case(f"target.kind={target}", text=text)
        (found,) = exact_loss(case, W1=np.zeros((2, 2)), W2=np.zeros((outputs, 2)), b=np.zeros(outputs))
        assert found == pytest.approx(loss, rel=1e-3), target


# --- terms ----------------------------------------------------------------------------------------

SMALL = "n_features = 3\nn_hidden = 2\ndata.density = 0.3\nrestarts = 3\ntrain.steps = 150\n"


@pytest.mark.heavy
def test_a_penalty_of_strength_0_is_none(make_case):
    """In loss and weights, to rounding; the stronger it is, the smaller are hidden activations."""
    plain = run(make_case(text=SMALL))
    data = run(make_case(text=SMALL + axis("strength", "terms.l1.strength", [0, 0.05, 0.5]) + "\nterms.l1 = {}\n"))
    np.testing.assert_allclose(data["W"][0], plain["W"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(data["loss"][0], plain["loss"], rtol=1e-4)
    np.testing.assert_allclose(data["objective"], data["loss"] + data["term_l1"], rtol=1e-5)
    np.testing.assert_allclose(data["term_squared"], data["loss"], rtol=1e-6)
    assert not data["term_l1"][0].values.any() and "objective" not in plain and "term_squared" not in plain
    size = data["term_l1"][1:].min("restart") / data["strength"][1:]  # Σ E|h| of the best
    assert float(size[1]) < 0.8 * float(size[0])
    loss = data["loss"].min("restart").values
    assert loss[0] < loss[1] < loss[2]


def test_the_l1_term_is_the_mean_size_of_hidden_activations(make_case):
    """One feature, h = wx: strength times |w| s/2, and twice as much with two hidden dimensions of opposite signs."""
    text = "n_features = 1\nn_hidden = 2\ndata.density = 0.4\nrestarts = 1\nterms.l1.strength = 0.25\n"
    case = make_case("train.steps=1", "train.learning_rate=1e-30", text=text)
    data = run(case, W=np.array([[[0.8], [-0.8]]]), b=np.zeros((1, 1)))
    assert float(data["term_l1"][0]) == pytest.approx(0.25 * 2 * 0.8 * 0.2, rel=1e-5)


@pytest.mark.heavy
def test_the_second_power_is_the_square(make_case):
    """Trained on the same samples, to rounding."""
    train = ("train.objective=quasi", "train.batch=256", "train.steps=40")
    squared, power = (run(make_case(*train, *more, text=SMALL)) for more in ([], ["terms.power.power=2.0"]))
    np.testing.assert_allclose(power["W"], squared["W"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(power["loss"], squared["loss"], rtol=1e-2)  # whose evaluation has closed means
    assert "explained" in squared and "explained" not in power and "term_power" not in power


def test_powers_of_a_model_of_nothing(make_case):
    """E[xᵖ] = s/(p + 1) a feature, along an axis over p."""
    case = make_case(axis("p", "terms.power.power", [2, 3, 4]), "terms.power={}", text=SMALL)
    losses = exact_loss(case, W=np.zeros((2, 3)), b=np.zeros(3))
    np.testing.assert_allclose(losses, [3 * 0.3 / (p + 1) for p in (2, 3, 4)], rtol=1e-5)


def test_the_optimum_of_a_penalised_loss(make_case):
    """Found for all that is minimised, its error apart: no restart is below it."""
    data = run(make_case("optimum=true", text=SMALL + axis("strength", "terms.l1.strength", [0, 0.1]) +
                         "\nterms.l1 = {}\n"))  # fmt: skip
    assert (data["optimum_objective"] <= data["objective"].min("restart") * (1 + 1e-5)).all()
    np.testing.assert_allclose(data["optimum_objective"][0], data["optimum_loss"][0], rtol=1e-5)
    assert float(data["optimum_objective"][1]) > float(data["optimum_loss"][1])


# --- finite data ----------------------------------------------------------------------------------


@pytest.mark.heavy
def test_finite_data(make_case):
    """The loss is that of the points, computed by hand; on fresh inputs more is lost. One point can be learned."""
    text = "n_features = 6\nn_hidden = 2\ndata = {kind = 'finite', points = 5, density = 0.5, unit_norm = true}\n"
    case = make_case("restarts=3", "train.steps=400", text=text)
    data = run(case)
    problem = problem_of(case)
    fine, _ = evaluation_objectives(problem, case)
    (x,) = _rows(fine, problem, case)
    miss = x - np.maximum(np.einsum("rhi,rhj,jp->rip", W := data["W"].values, W, x) + data["b"].values[..., None], 0)
    np.testing.assert_allclose(data["loss"], (miss**2).sum(1).mean(-1), rtol=1e-4)
    assert (data["test_loss"] > 2 * data["loss"]).all()
    assert data["loss"].attrs["loss_kind"] == "exact" and data["loss"].attrs["loss_error"] == 0
    alone = run(make_case("data.points=1", "restarts=3", "train.steps=1000", text=text))
    assert float(alone["loss"].min()) < 1e-4 < float(alone["test_loss"].min())
    assert "test_loss" not in run(make_case("train.steps=1"))


def _rows(objective, problem, case) -> list[np.ndarray]:
    laws, draw = laws_of(problem, Grid(case)), objective.draw(jax.random.key(0))
    return [
        np.asarray(objective.rows(jax.tree.map(lambda v, c=c: v[c], laws), draw)) for c in range(Grid(case).n_cells)
    ]


# --- axes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["relu_output", pytest.param("two_layer", marks=pytest.mark.heavy)])
def test_an_axis_over_n_hidden(make_case, model):
    """One program: hidden dimensions that a model has not are 0 from the first step to the last, and with all of them
    it is the model of a case without the axis."""
    text = f"n_features = 4\nn_hidden = 3\nmodel.kind = '{model}'\ndata.density = 0.3\nrestarts = 2\n"
    train = ("train.steps=60", "train.snapshots=[0, 7, 60]", "train.nodes=2")
    data = run(make_case(*train, axis("m", "n_hidden", [1, 3, 2]), text=text))
    alone = run(make_case(*train, text=text))
    for name in ("W",) if model == "relu_output" else ("W1", "W2"):
        for array in data[name], data[f"{name}_snapshots"]:
            array = array.transpose("m", "hidden", ...).values
            assert not array[0, 1:].any() and not array[2, 2:].any()
            assert (array[0, :1] != 0).all() and (array[1] != 0).all() and (array[2, :2] != 0).all()
        np.testing.assert_allclose(data[name].isel(m=1), alone[name], rtol=0, atol=1e-5)
    np.testing.assert_allclose(data["loss"].isel(m=1), alone["loss"], rtol=1e-5)
    loss = data["loss"].min("restart").values
    assert loss[0] > loss[2] > loss[1]


@pytest.mark.heavy
def test_the_optimum_for_several_n_hidden(make_case):
    """Each is that of a case of its own."""
    text = "n_features = 3\nn_hidden = 2\ndata.density = 0.2\nimportance.ratio = 0.7\nrestarts = 12\noptimum = true\n"
    data = run(make_case("train.steps=400", axis("m", "n_hidden", [1, 2]), text=text))
    assert not data["optimum_W"].values[0, 1].any() and data["optimum_W"].values[1].any(1).all()
    for k, m in enumerate((1, 2)):
        alone = run(make_case("train.steps=400", f"n_hidden={m}", text=text))
        assert float(data["optimum_loss"][k]) == pytest.approx(float(alone["optimum_loss"]), rel=1e-3)


LAWS = [
    ("importance", "{ratio = 0.5}", [1, 0.5, 0.25]),
    ("importance", "{zipf = 2.0}", [1, 1 / 4, 1 / 9]),
    ("importance", "{zipf = -1.0, first = 2.0}", [2, 4, 6]),
    ("data.density", "{ratio = 0.5}", [1, 0.5, 0.25]),
    ("data.density", "{ratio = 0.5, first = 0.8}", [0.8, 0.4, 0.2]),
    ("data.density", "{zipf = 1.0, first = 0.6}", [0.6, 0.3, 0.2]),
]


@pytest.mark.parametrize(("field", "law", "written"), LAWS)
def test_power_laws(make_case, field, law, written):
    """The same numbers as written out, with an axis over any number of the law too."""
    text = f"n_features = 3\nn_hidden = 2\n{field} = {law}\n"

    def numbers(*more):
        return Grid(make_case(*more, text=text)).numbers()[field]

    np.testing.assert_allclose(numbers(), [written], rtol=1e-12)
    for part in law.strip("{}").split(", "):
        key, value = part.split(" = ")
        swept = numbers(axis("a", f"{field}.{key}", [float(value), 0.9 * float(value)]))
        np.testing.assert_allclose(swept[0], written, rtol=1e-12)
        other = numbers(f"{field}.{key}={0.9 * float(value)}")
        np.testing.assert_allclose(swept[1], other[0], rtol=1e-12)
        assert (swept[1] != swept[0]).any()


@pytest.mark.heavy
def test_models_of_a_power_law_are_those_of_its_numbers(make_case):
    """Bitwise."""
    quick = ("train.steps=20", "restarts=2", "train.nodes=2", "data.density=0.5")
    text = "n_features = 3\nn_hidden = 2\n"
    plain = run(make_case(*quick, "importance=[1, 0.25, 0.0625]", text=text))
    swept = run(make_case(*quick, axis("a", "importance.zipf", [1, 0]), text=text + "importance.zipf = 1.0\n"))
    law = text + "importance.ratio = 0.5\n"
    ratio = run(make_case(*quick, axis("a", "importance.ratio", [0.25, 0.5]), text=law))
    np.testing.assert_array_equal(ratio["W"].isel(a=0), plain["W"])
    equal = run(make_case(*quick, "importance=1.0", text=text))
    np.testing.assert_array_equal(swept["W"].isel(a=1), equal["W"])
    assert (swept["W"].isel(a=0) != plain["W"]).any()


def test_the_densities_of_a_law_are_those_of_the_data(make_case):
    """A model of nothing loses Σ s_i / 3."""
    text = "n_features = 3\nn_hidden = 2\ndata.density.zipf = 1.0\n"
    case = make_case(axis("a", "data.density.zipf", [0, 1, 2]), text=text)
    losses = exact_loss(case, W=np.zeros((2, 3)), b=np.zeros(3))
    np.testing.assert_allclose(losses, [sum(i**-a for i in (1, 2, 3)) / 3 for a in (0.0, 1.0, 2.0)], rtol=1e-5)


# --- numbers of the optimiser ---------------------------------------------------------------------


def test_an_initial_bias(make_case):
    """Added to the bias of the model, an axis too; the weights start as without."""
    text = "n_features = 2\nn_hidden = 1\nrestarts = 2\ntrain = {steps = 1, snapshots = [0]}\n"
    data = run(make_case(axis("bias", "model.init_bias", [-0.5, 0, 0.25]), text=text))
    start = data["b_snapshots"].isel(snapshot=0)
    np.testing.assert_array_equal(start, np.broadcast_to(start["bias"].values[:, None, None], start.shape))
    np.testing.assert_array_equal(
        data["W_snapshots"].isel(snapshot=0, bias=0), run(make_case(text=text))["W_snapshots"].isel(snapshot=0)
    )


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("lion", marks=pytest.mark.heavy)])
def test_weight_decay_of_any_sign(make_case, optimizer):
    """After one step: minus rate times decay times the start, of all arrays or of weights alone. As an axis too."""
    text = "n_features = 2\nn_hidden = 1\nrestarts = 2\nmodel.init_bias = 0.5\n"
    train = ("train.steps=1", "train.snapshots=[0]", f"train.optimizer={optimizer}", "train.learning_rate=0.1")
    decays = [-0.5, 0.0, 0.25]
    for decayed in "all", "weights":
        case = make_case(*train, axis("decay", "train.weight_decay", decays), f"train.decayed={decayed}", text=text)
        data = run(case)
        for name in "W", "b":
            moved = (data[name] - data[name].sel(decay=0.0)).values
            start = data[f"{name}_snapshots"].isel(snapshot=0).values
            rate = 0.1 * np.array(decays).reshape(-1, *[1] * (start.ndim - 1)) * (name == "W" or decayed == "all")
            np.testing.assert_allclose(moved, -rate * start, rtol=1e-4, atol=1e-6)


@pytest.mark.heavy
def test_signed_data_of_an_autoencoder(make_case):
    """A ReLU returns no negative number: with the identity as weights half of E[x²] is missed; a linear model misses
    nothing. Independent data of the same density agree with the oracle as ever."""
    W, b, text = np.eye(2), np.zeros(2), "n_features = 2\nn_hidden = 2\ndata.density = 0.6\n"
    reference = float(oracle.expected_loss(W, b, np.ones(2), np.full(2, 0.6)))
    for data, kind, loss in (
        ("signed", "relu_output", 0.6 / 3),
        ("signed", "linear", 0.0),
        ("independent", "relu_output", reference),
    ):
        (found,) = exact_loss(make_case(f"data.kind={data}", f"model.kind={kind}", text=text), W=W, b=b)
        assert found == pytest.approx(loss, rel=1e-5, abs=1e-7)


# --- samples of the stored loss ---------------------------------------------------------------------


def test_the_stored_loss_may_be_the_mean_of_so_many_samples(make_case):
    """In place of enumeration or of the usual number; refused where neither samples nor rows decide the loss."""
    text = "n_features = 3\nn_hidden = 2\ndata.density = 0.5\n"
    text += "train = {objective = 'minibatch', evaluation_samples = 64}\n"
    case = make_case(text=text)
    fine, second = evaluation_objectives(problem_of(case), case)
    assert (fine.name, fine.n_rows, second.n_rows) == ("quasi", 64, 32)
    usual = make_case(text=text.replace(", evaluation_samples = 64", ""))
    assert evaluation_objectives(problem_of(usual), usual)[0].name == "exact"
    W = [[1.0, 0, 0], [0, 1, 0]]
    arrays = {"W": W, "b": [0.0, 0, 0]}
    np.testing.assert_allclose(exact_loss(case, **arrays), exact_loss(usual, **arrays), rtol=0.1)
    for override in ("train.objective=exact", "model.kind=linear"):
        with pytest.raises(SweepError, match="evaluation_samples=32 .*has no effect"):
            make_case(override, "train.evaluation_samples=32", text=text)
