"""The absolute value: neurons, motifs and errors of weights made by hand, what figures draw, what claims notice.
Nothing is trained."""

import numpy as np
import pytest

import superjax
from superjax import analysis, plots, studies
from superjax.spec import SweepError
from superjax.studies import absolute_value
from superjax.studies.absolute_value import view
from superjax.studies.absolute_value.view import at_best, error, motifs, motifs_of, polysemantic, response, serves
from tests.studies.test_studies import results_of

REDUCED = ("restarts=3", "axes.density.values=[1, 0.1, 0.001]", "case.motif.axes.density.values=[0.1, 0.03]",
           "case.computation.n_features=12", "case.computation.n_hidden=5", "plot.dpi=30")  # fmt: skip
MOTIF = np.array([[2.0, -0.5, 0], [2.0, 0, 0], [0, 0, 1]]), np.array([[0.5, 0, 0], [2, -2.0, 0], [0, 0, 1]])


def two_neurons(n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """|x| = ReLU(x) + ReLU(-x), of neurons of any scale."""
    scale = np.linspace(0.5, 2, 2 * n_features)
    W1 = np.kron(np.eye(n_features), [[1.0], [-1.0]])
    return W1 * scale[:, None], W1.T.clip(0) / scale + (-W1.T).clip(0) / scale


@pytest.fixture
def results() -> studies.Results:
    return results_of(superjax.load("absolute_value", *REDUCED))


def put(data, point: int, restart: int, W1: np.ndarray, W2: np.ndarray, loss: float = 0.0) -> None:
    """Weights made by hand in place of those of a model, which becomes the best."""
    data["W1"].values[point, restart], data["W2"].values[point, restart] = W1, W2
    data["b"].values[point, restart], data["loss"].values[point, restart] = 0, loss
    data["best"].values[point] = restart


def claim(results, start: str):
    return next(one for one in studies.claims(results) if one.claim.startswith(start))


def test_two_neurons_a_feature_are_exact_and_found(results):
    W1, W2 = two_neurons(3)
    x = np.linspace(-1, 1, 9)
    for i in range(3):
        expected = np.zeros((9, 3))
        expected[:, i] = np.abs(x)
        np.testing.assert_allclose(response(W1, W2, np.zeros(3), i, x), expected, atol=1e-12)
    data = results.datasets["two_a_feature"]
    for point in range(3):
        put(data, point, 1, W1, W2)
    assert at_best(data, serves(data)).sum(-1).tolist() == [[1] * 6] * 3
    assert all(claim(results, f"two_a_feature: {start}").holds for start in ("densities", "polysemantic", "error"))
    put(data, 1, 1, np.abs(W1), W2)  # both neurons of a feature for the same sign
    put(data, 2, 1, *two_neurons(3), loss=1e-6)
    assert claim(results, "two_a_feature: densities").measured == [1, 0.001]
    assert not claim(results, "two_a_feature: error").holds


def test_the_error_is_relative_to_the_variance_of_the_target(results):
    case, data = results.sweep.cases["motif"], results.datasets["motif"]
    s = data["density"].values[:, None]
    rng = np.random.default_rng(0)
    x = np.where(rng.random(400_000) < 0.1, rng.uniform(-1, 1, 400_000), 0)
    np.testing.assert_allclose((s / 3 - s**2 / 4)[0], np.abs(x).var(), rtol=0.02)
    nothing = data.assign(loss=(data["loss"].dims, np.repeat((s / 3 - s**2 / 4) * (1 + 0.8 + 0.64), 3, axis=1)))
    np.testing.assert_allclose(error(case, nothing), 1, rtol=1e-6)


MOTIFS = {  # what is changed of the paper's motif and its inhibitor; whether it is still one
    "as it is": (lambda W1, W2: None, True),
    "scaled": (lambda W1, W2: (W1.__setitem__(0, 3 * W1[0]), W2.__setitem__((..., 0), W2[:, 0] / 3)), True),
    "mirrored": (lambda W1, W2: W1.__imul__(-1), True),
    "same signs": (lambda W1, W2: W1.__setitem__((0, 1), 0.5), False),
    "symmetric": (lambda W1, W2: (W1.__setitem__((0, 1), -1.5), W2.__setitem__((1, 0), 0.67)), False),
    "nothing inhibits": (lambda W1, W2: W2.__setitem__((1, 1), 0.0), False),
    "too little inhibits": (lambda W1, W2: W2.__setitem__((1, 1), -0.9), False),
    "inhibits at the other sign": (lambda W1, W2: W1.__setitem__((1, 0), -2.0), False),
    "output of one alone": (lambda W1, W2: W2.__setitem__((0, 0), 0.0), False),
}


@pytest.mark.parametrize("change", MOTIFS)
def test_what_is_an_asymmetric_motif(change):
    W1, W2 = (array.copy() for array in MOTIF)
    act, is_one = MOTIFS[change]
    act(W1, W2)
    found = motifs_of(W1, W2)
    assert len(found) == is_one
    if is_one:
        neuron, inhibitor, one, other, weights, deviation = found[0]
        assert (neuron, inhibitor, one, other) == (0, 1, 0, 1) and deviation < 1e-12
        np.testing.assert_allclose(weights, view.PAPER)


def test_the_best_motif_is_claimed_and_drawn(results):
    data = results.datasets["motif"]
    W1, W2 = np.zeros((4, 3)), np.zeros((3, 4))
    W1[:3], W2[:, :3] = MOTIF
    put(data, 1, 2, 1.1 * W1, W2)
    best = motifs(data)[0]
    assert (best.density, best.restart, best.neuron) == (0.03, 2, 0)
    np.testing.assert_allclose(best.weights, np.array(view.PAPER) * 1.1**0.5, rtol=1e-5)
    made = claim(results, "motif: input and output weights")
    assert made.holds and "restart 2" in made.note
    assert claim(results, "motif: interference that is left").measured == 0
    network, active_a, spread, _ = absolute_value.figures(results)["motif"].axes
    written = {text.get_text() for text in network.texts}
    assert {"2.10", "−0.52", "0.52"} <= written and "−2.10" in written  # the inhibitor's output too
    drawn = {line.get_label(): line.get_ydata() for line in active_a.lines}
    np.testing.assert_array_equal(drawn["output b"], 0)
    every = sum(len(motifs(data)) for name, data in results.datasets.items() if name != "two_a_feature")
    assert f"all {every} motifs" in {line.get_label() for line in spread.lines}
    (example,) = (line for line in spread.lines if line.get_marker() == "D")
    np.testing.assert_allclose(example.get_ydata(), best.weights)


def test_polysemantic_neurons_are_counted(results):
    data, (W1, W2) = results.datasets["computation"], two_neurons(2)
    one, two, none = np.zeros((3, 5, 12))
    one[:4, :2], two[:4, :2], none[:4, :2] = W1, W1, W1
    out = np.zeros((3, 12, 5))
    out[:, :2, :4] = W2
    two[0, 5], out[1, 5, 0] = 0.7, 0.8  # the first neuron serves feature 5 too
    two[1, 7], out[1, 7, 1] = 0.3, 0.5  # a gain too small to represent feature 7
    for point, (into, back) in enumerate(zip((one, two, none), out, strict=True)):
        put(data, point, 0, into, back)
    assert polysemantic(at_best(data, serves(data))).tolist() == [0, 0.25, 0]
    falls = claim(results, "computation: polysemantic neurons fewer")
    assert falls.measured == [1, 1, 1] and falls.holds  # within one neuron, whatever the share
    assert claim(results, "computation: polysemantic neurons at densities 1").measured == [0]
    least = claim(results, "computation: a feature with neurons of its own")
    assert least.measured == 0.5 and not least.holds  # 0 and 5 share, 1 is alone
    first = claim(results, "computation: the most important feature of a monosemantic neuron")
    assert first.measured == 0.5 / 3 and not first.holds  # of three neurons alone two come after the one that shares
    alone = claim(results, "computation: monosemantic neurons at density 0.001")
    assert alone.measured == 4 and not alone.holds
    assert claim(results, "computation: neurons that serve 3 features").measured == 0
    axes = absolute_value.figures(results)["computation_neurons"].axes
    texts = [text.get_text() for ax in axes for text in ax.texts]
    assert [text.split("\n")[1] for text in texts if "polysemantic" in text] == [f"{k} polysemantic" for k in (0, 1, 0)]
    bars = axes[1].collections[0].get_paths()
    np.testing.assert_allclose(max(np.ptp(path.vertices[:, 1]) for path in bars), 1)  # scaled to the largest
    fractions = absolute_value.figures(results)["computation_counts"].axes[0]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in fractions.lines}
    assert drawn[f"best restart, share {analysis.SHARE:g}"] == [0, 0.25, 0]


def test_models_that_do_not_compute_are_noticed(results):
    """The error is beside that of two neurons a feature, of which the shape has two and one neuron is left."""
    case, data = results.sweep.cases["computation"], results.datasets["computation"]
    importance = 0.8 ** np.arange(12)
    np.testing.assert_allclose(view.by_hand(case), importance[2:].sum() / importance.sum())
    variance = (data["density"] / 3 - data["density"] ** 2 / 4).values * importance.sum()
    for factor, holds in ((1.05, True), (1.2, False)):
        for point in range(3):
            put(data, point, 0, np.zeros((5, 12)), np.zeros((12, 5)), view.by_hand(case) * factor * variance[point])
        made = claim(results, "computation: error of the best restart")
        np.testing.assert_allclose(made.measured, [factor] * 3, rtol=1e-5)
        assert made.holds == holds
    axes = absolute_value.figures(results)["computation_neurons"].axes
    written = [text.get_text().split("\n")[3] for ax in axes for text in ax.texts if "polysemantic" in text.get_text()]
    assert written == [f"error {view.by_hand(case) * 1.2:.2g}"] * 3


def test_the_margin_of_the_rule_is_claimed(results):
    data, (W1, W2) = results.datasets["computation"], two_neurons(2)
    into, back = np.zeros((5, 12)), np.zeros((12, 5))
    into[:4, :2], back[:2, :4] = W1, W2
    for point in range(3):
        put(data, point, 0, into, back)
    margin = claim(results, "computation: margin")
    np.testing.assert_allclose(margin.measured, 4, rtol=1e-5)
    assert margin.holds
    into[0, 1] = 0.9 * 0.25 * into[2, 1] * back[1, 2]
    back[1, 0] = 1  # a gain a tenth below the share
    put(data, 1, 0, into, back)
    margin = claim(results, "computation: margin")
    np.testing.assert_allclose(margin.measured, 1 / 0.9, rtol=1e-5)
    assert not margin.holds and "0.1: 1;" in margin.note.partition("other way round")[2]
    assert view.foreign(np.eye(2, 3, dtype=bool), np.array([[1, -0.5, 0.2], [0.1, 2, 0]])) == 0.5


def test_neurons_that_diverged_serve_nothing(results):
    data = results.datasets["motif"]
    data["W1"].values[0, 0] = np.nan
    assert not serves(data)[0, 0].any() and serves(data)[0, 1].any()


def test_bars_of_many_features_are_one_artist():
    from matplotlib.figure import Figure

    W = np.abs(np.random.default_rng(0).normal(size=(40, 100)))
    drawn = plots.neuron_bars(Figure().subplots(), W, np.ones((100, 4)), ["k"] * 40, scaled=True)
    assert len(drawn.get_paths()) == 4000


@pytest.mark.parametrize("override", ["target.kind=square", "data.kind=independent", "model.kind=relu_hidden"])
def test_other_problems_are_refused(override):
    sweep = superjax.load("absolute_value", "cases=motif").override(override)
    with pytest.raises(SweepError, match="the study absolute_value needs"):
        studies.check(sweep)
