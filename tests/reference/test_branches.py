"""Branches in float64: the onset in closed form against the exact loss, and the point at which the order changes."""

import numpy as np
import pytest
from scipy import optimize

from superjax.reference import branches, oracle, theory

ONE = np.array([[1.0, -0.02]])


def gain(density, norm):
    """What the loss of (·, -norm) is above that of one feature alone, a unit of variance, at the importance of the
    onset: the other weight and the biases fall to their best."""
    density, norm = np.broadcast_arrays(np.asarray(density, float), norm)
    r, unit = branches.onset_importance(density), theory.variance(density)
    importance = np.stack([np.ones_like(r), r], axis=-1)

    def objective(x, which):
        W = np.stack([x[:, 0], -norm[which]], axis=-1)[:, None]
        loss, d_W, d_b = oracle.loss_and_gradient(W, x[:, 1:], importance[which], density[which, None] * np.ones(2))
        return loss / unit[which], np.concatenate([d_W[:, 0, :1], d_b], axis=1) / unit[which, None]

    start = np.stack([np.ones_like(r), 0.2 * norm, density / 2], axis=-1)
    _, loss, _ = oracle.descend(objective, start, 1e-13, 400)
    return loss - r


def test_the_loss_at_the_onset_begins_with_the_cubic():
    density = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
    one, two = gain(density, 0.005) / 0.005**3, gain(density, 0.01) / 0.01**3
    np.testing.assert_allclose(2 * one - two, branches.onset_cubic(density), atol=1e-3)


def test_one_feature_alone_is_a_minimum_up_to_the_onset():
    density = np.array([0.3, 0.6, 0.9])
    for share, stays in ((0.995, True), (1.005, False)):
        r = share * branches.onset_importance(density)
        numbers = np.stack([np.ones_like(r), r], -1), np.repeat(density[:, None], 2, axis=1)
        b = np.stack([0 * density, density / 2], -1)
        W = oracle.relaxed(np.repeat(ONE[None], 3, axis=0), b, *numbers).W
        assert ((np.abs(W[:, 0, 1]) < 1e-4) == stays).all()


def test_tricritical_points():
    for r, s in branches.tricritical_points():
        assert branches.onset_cubic(s) == pytest.approx(0, abs=1e-9)
        assert branches.onset_importance(s) == pytest.approx(r)


def test_the_norm_jumps_where_the_cubic_is_negative():
    """At importance 0.95, sparser and denser than the onset at density 0.9124 by little: one feature alone is a minimum
    beside an uneven pair, whose norm does not go to 0. At importance 0.8 there is none beside it."""
    s = np.array([0.9135, 0.9145, 0.73])
    numbers = np.stack([np.ones(3), np.array([0.95, 0.95, 0.8])], -1), np.repeat(s[:, None], 2, axis=1)
    found = [
        oracle.relaxed(np.repeat([[[1.0, -norm]]], 3, axis=0), np.stack([0.2 * norm + 0 * s, s / 2], -1), *numbers)
        for norm in (1e-4, 0.1)
    ]
    alone, uneven = (np.abs(minima.W[:, 0, 1]) for minima in found)
    assert (alone < 1e-3).all() and uneven[2] < 1e-3
    assert ((uneven[:2] > 0.05) & (uneven[:2] < 0.1)).all() and (found[1].loss[:2] < found[0].loss[:2]).all()


def test_the_critical_end_is_where_the_pair_has_the_loss_of_one_feature_at_the_onset():
    def excess(s):
        r = branches.onset_importance(s)
        W, b = np.array([[1.03, -0.75]]), s * np.array([0.1, 0.2])
        found = oracle.relaxed(W, b, np.array([1, r]), np.array([s, s]))
        assert abs(found.W[0, 1]) > 0.6
        return found.loss / theory.variance(s) - r

    s = optimize.brentq(excess, 0.505, 0.518, xtol=1e-7)
    assert (float(branches.onset_importance(s)), s) == pytest.approx(branches.CRITICAL_END, abs=1e-4)


def test_relaxed_finds_the_minimum_near_by():
    """Two minima of one cell, each from weights of its own; any leading axes."""
    W = np.array([[[1.0, -0.02]], [[0.9, -0.8]]])[None]
    b = np.array([[0.0, 0.16], [0.1, 0.1]])[None]
    found = oracle.relaxed(W, b, np.array([1.0, 0.3]), np.array([0.32, 0.32]))
    assert found.loss.shape == (1, 2) and found.W.shape == (1, 2, 1, 2) and found.gradient_norm.max() < 1e-8
    best = oracle.minimum(np.array([1.0, 0.3]), np.array([0.32, 0.32]), 1, restarts=16)
    assert found.loss[0, 1] == pytest.approx(float(best.loss), rel=1e-9)
    assert found.loss[0, 0] == pytest.approx(0.3 * float(theory.variance(0.32)), rel=1e-9)
