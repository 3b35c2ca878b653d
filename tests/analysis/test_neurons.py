"""What neurons do, named from weights made by hand; how they are drawn; the float64 losses that compare them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from superjax import analysis, plots
from superjax.plots.maps import BLUE, GREY, VERMILION
from superjax.reference import hidden_losses, oracle

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [(i, j) for i in range(5) for j in range(i + 1, 5)]


def of_sets(sets, n_hidden: int, size: float = 1.0) -> np.ndarray:
    """W whose feature i has positive weights on the neurons of its set, of squares that sum to size, else negative."""
    W = np.full((n_hidden, len(sets)), -0.3)
    for i, own in enumerate(sets):
        W[list(own), i] = np.sqrt(size / len(own)) if own else -0.1
    return W


REGIMES = {  # sets of neurons of the features, and the regime
    "5 dedicated": [(0,), (1,), (2,), (3,), (4,), (), ()],
    "3 dedicated + 3 in 2": [(0,), (1,), (2,), (3, 4), (3,), (4,)],
    "2 dedicated + 5 in 3": [(0,), (1,), (2, 3), (3, 4), (2, 4), (2,), (2, 3, 4)],
    "8 in 5": PAIRS[:8],
    "10 in 5": PAIRS,
    "2 in 1 + 3 in 2": [(0,), (0,), (1, 2), (1,), (2,)],
    "nothing": [(), ()],
}


@pytest.mark.parametrize("regime", REGIMES)
def test_regimes_of_weights_made_by_hand(regime):
    W = of_sets(REGIMES[regime], 5)
    found = analysis.service(analysis.gains(W, W.T))
    assert analysis.regime(found.serves) == regime
    assert [set(np.flatnonzero(column)) for column in found.serves.T] == [set(own) for own in REGIMES[regime]]
    turned = np.random.default_rng(0).permutation(5)
    assert analysis.regime(found.serves[turned][:, ::-1]) == regime
    assert analysis.own_sets(found.serves) == len({own for own in REGIMES[regime] if own})


def test_groups_have_all_features_and_neurons_that_hang_together():
    W = of_sets(REGIMES["2 dedicated + 5 in 3"], 5)
    groups = analysis.groups(analysis.service(analysis.gains(W, W.T)).serves)
    assert [(group.features.tolist(), group.neurons.tolist()) for group in groups] == [
        ([0], [0]), ([1], [1]), ([2, 3, 4, 5, 6], [2, 3, 4]),
    ]  # fmt: skip


def test_what_a_neuron_must_do_to_serve_and_by_what_margin():
    """A gain of exactly the share serves; a feature of too small a sum is served by none."""
    gain = np.array([[1.0, 0.2, 0.12], [0.25, 0.0, 0.12], [0.24, 0.0, 0.0]])
    found = analysis.service(gain)
    assert found.serves.astype(int).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(found.margin[:, 0], [4, 1, 0.25 / 0.24])
    np.testing.assert_allclose(found.margin[:, 1], 0.25 / 0.2)
    assert analysis.service(gain, share=0.2).serves[:, 0].all()
    assert analysis.service(gain, represented=0.2).serves[:, 2].tolist() == [True, True, False]
    assert not analysis.service(np.zeros((2, 3))).serves.any()


def test_gains_do_not_see_the_scale_of_neurons():
    rng = np.random.default_rng(0)
    W1, W2, scale = rng.normal(size=(4, 3)), rng.normal(size=(3, 4)), rng.uniform(0.1, 9, 4)
    for signed in (False, True):
        one = analysis.gains(W1, W2, signed)
        np.testing.assert_allclose(analysis.gains(W1 * scale[:, None], W2 / scale, signed), one)
        x = np.diag([0.5, 0.5, 0.5])  # each feature alone
        output = np.einsum("kn,nkf->nf", np.ones((4, 3)), np.maximum(x @ W1.T, 0)[:, :, None] * W2.T)
        own = np.where(W1 > 0, one, 0).sum(0)
        np.testing.assert_allclose(np.diag(output) / 0.5, own)


def test_bars_have_the_weights():
    ax = Figure().subplots()
    W = np.array([[1.0, -0.5, 0.01], [0.0, 2.0, 1.0]])
    colours = np.eye(4)[:3]
    drawn = plots.neuron_bars(ax, W, colours, [BLUE, VERMILION])
    boxes = [path.vertices for path in drawn.get_paths()]
    heights = [float(np.ptp(box[:, 1])) for box in boxes]
    np.testing.assert_allclose(heights, [1, 0.01, 0.5, 2, 1])
    assert [box[:, 1].min() for box in boxes] == [0, 1, -0.5, 0, 2]
    assert [round(box[:, 0].mean()) for box in boxes] == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(drawn.get_facecolors(), colours[[0, 2, 1, 1, 2]])
    scaled = plots.neuron_bars(Figure().subplots(), W, colours, [BLUE, VERMILION], scaled=True)
    np.testing.assert_allclose([np.ptp(path.vertices[:, 1]) for path in scaled.get_paths()], [1, 0.01, 0.5, 1, 0.5])
    assert (np.diff(drawn.get_linewidths()) != 0).any()  # the small box has no edge
    serves = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)
    assert plots.neuron_kinds(serves) == [BLUE, VERMILION, GREY]
    image = plots.neuron_weights(Figure().subplots(), W)
    np.testing.assert_array_equal(image.get_array(), W.T)


def test_inputs_have_the_law_of_independent_features():
    x, weight = hidden_losses.inputs(4, 0.3, 4000)
    assert np.isclose(weight.sum(), 1) and (weight > 0).all() and ((x >= 0) & (x < 1)).all()
    mean, square = weight @ x, weight @ x**2
    np.testing.assert_allclose(mean, 0.15, rtol=0.01)
    np.testing.assert_allclose(square, 0.1, rtol=0.01)
    np.testing.assert_allclose(weight @ ((x > 0).sum(1) == 2), 6 * 0.09 * 0.49, rtol=1e-9)
    other = hidden_losses.inputs(4, 0.3, 4000, seed=1)
    assert not np.array_equal(other.x, x)
    assert len(hidden_losses.inputs(3, 1.0, 100).x) == 100
    with pytest.raises(ValueError, match="n_features = 15: must be a whole number, from 1 to 14"):
        hidden_losses.inputs(15, 0.3, 10)


def test_losses_are_those_of_the_oracle_and_of_random_inputs():
    rng = np.random.default_rng(0)
    W, b, importance, s = rng.normal(size=(2, 2, 3)), 0.1 * rng.normal(size=(2, 3)), np.array([1, 0.7, 0.2]), 0.4
    given = hidden_losses.inputs(3, s, 100_000)
    true = oracle.expected_loss(W, b, np.tile(importance, (2, 1)), np.full((2, 3), s))
    np.testing.assert_allclose(hidden_losses.losses(W, b, importance, given, relu_hidden=False), true, rtol=1e-4)
    x = np.where(rng.random((400_000, 3)) < s, rng.random((400_000, 3)), 0)
    direct = [np.mean(np.square(np.maximum(np.maximum(x @ w.T, 0) @ w + c, 0) - x) @ importance)
              for w, c in zip(W, b, strict=True)]  # fmt: skip
    np.testing.assert_allclose(hidden_losses.losses(W, b, importance, given), direct, rtol=0.02)


@pytest.mark.parametrize("relu_hidden", [True, False])
def test_gradients_are_those_of_differences(relu_hidden):
    rng = np.random.default_rng(1)
    W, b, importance = rng.normal(size=(2, 3)), 0.1 * rng.normal(size=3), np.array([1, 0.7, 0.2])
    given = hidden_losses.inputs(3, 0.4, 300)
    rest = (importance, given.x.T, given.weight, relu_hidden)
    _, of_W, of_b = hidden_losses._loss(W, b, *rest)
    dW, db, h = rng.normal(size=W.shape), rng.normal(size=3), 1e-6
    up, down = (hidden_losses._loss(W + k * h * dW, b + k * h * db, *rest)[0] for k in (1, -1))
    np.testing.assert_allclose((up - down) / (2 * h), np.vdot(of_W, dW) + of_b @ db, rtol=1e-5)


def test_what_is_polished_is_a_minimum():
    """A feature alone on a neuron is reproduced; the one without a neuron gets its mean as output."""
    importance, given = np.array([1, 0.01]), hidden_losses.inputs(2, 1.0, 1000)
    W, b = hidden_losses.polish(np.array([[0.9, 0.05]]), np.zeros(2), importance, given)
    np.testing.assert_allclose(W[0], [1, 0], atol=0.05)
    loss = hidden_losses.losses(W[None], b[None], importance, hidden_losses.inputs(2, 1.0, 1000, seed=3))
    assert loss[0] < 1.02 * 0.01 / 12


def test_the_worked_example_is_drawn_with_its_numbers():
    spec = importlib.util.spec_from_file_location("worked_example", ROOT / "docs" / "worked_example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plane, bars = module.draw().axes
    np.testing.assert_allclose([bar.get_height() for bar in bars.patches], [0.9, 0.9, 0, 0.45, 0.45, -0.9], atol=1e-12)
    ends = [line.get_xydata()[0] for line in plane.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.transpose(ends), module.W)
    assert (ROOT / "docs" / "worked_example.png").is_file()
