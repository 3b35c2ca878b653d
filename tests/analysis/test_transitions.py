"""The order of a transition, of Landau polynomials whose branches are known: a x² + b x⁴ + x⁶, a = ln(coordinate)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superjax import analysis


def landau(b: float, step: float = 0.004, width: float = 0.5):
    """Coordinate, losses exp(F), slopes and x² of both branches of exact minima of F = a x² + b x⁴ + x⁶: rising from
    x > 0, falling from x = 0."""
    a = np.arange(-width, width, step) + step / 3
    root = np.sqrt(np.maximum(b * b - 3 * a, 0))
    outer = np.maximum(-b + root, 0) / 3  # x² where it is a minimum
    exists = b * b >= 3 * a
    squares = np.stack([np.where(exists, outer, 0), np.where(a < 0, outer, 0)])
    free = a * squares + b * squares**2 + squares**3
    return np.exp(a), np.exp(free), squares, squares


@given(b=st.floats(-1.1, -0.3))
def test_first_order_where_the_quartic_is_negative(b):
    """Losses cross at a = b²/4 with x² = -b/2, which is the latent jump; branches end at 0 and b²/3."""
    x, loss, slope, squares = landau(b, step=0.001)
    (found,) = analysis.coexistences(x, loss, slope, np.abs(squares[0] - squares[1]) > 1e-3)
    assert np.log(found.position) == pytest.approx(b * b / 4, abs=2e-5)
    assert found.jump == pytest.approx(-b / 2, abs=1e-3)
    assert np.log(found.low) == pytest.approx(0, abs=6e-4)
    assert np.log(found.high) == pytest.approx(b * b / 3, abs=6e-4)
    best = np.take_along_axis(squares, loss.argmin(0)[None], 0)[0]
    assert not analysis.onsets(x, np.sqrt(best))
    assert abs(analysis.jump_at(x, np.take_along_axis(slope, loss.argmin(0)[None], 0)[0], found.position)) == (
        pytest.approx(-b / 2, abs=1e-3)
    )


@pytest.mark.parametrize(("b", "exponent"), [(1.0, 1 / 2), (0.5, 1 / 2), (0.0, 1 / 4)])
def test_continuous_where_it_is_not(b, exponent):
    """x grows from 0 at a = 0, with the exponent 1/2, and 1/4 at the tricritical point; the slope only bends."""
    x, loss, slope, squares = landau(b, step=0.0005, width=0.2 if b else 0.02)
    assert not analysis.coexistences(x, loss, slope, np.abs(squares[0] - squares[1]) > 1e-3)
    (begin,) = analysis.onsets(x, np.sqrt(squares[1]))
    assert np.log(begin.position) == pytest.approx(0, abs=2e-4)
    assert begin.exponent == pytest.approx(exponent, abs=0.03)
    if b:
        assert abs(analysis.jump_at(x, slope[1], begin.position)) < 0.02


def test_an_onset_of_a_cubic_is_linear():
    """F = a m + m²·... with a term m³ for m > 0 alone, as at a kink: m grows in proportion."""
    x = np.exp(np.linspace(-0.3, 0.3, 301))
    (begin,) = analysis.onsets(x, np.maximum(0.05 - np.log(x), 0))
    assert np.log(begin.position) == pytest.approx(0.05, abs=1e-4) and begin.exponent == pytest.approx(1, abs=0.01)
    (mirrored,) = analysis.onsets(x, np.maximum(0.05 - np.log(x), 0)[::-1])
    assert np.log(mirrored.position) == pytest.approx(-0.05, abs=1e-4)


def test_the_jump_vanishes_where_the_order_changes():
    """The tricritical point b = 0, from the jumps at some b: they are proportional to -b."""
    values = np.linspace(-1.0, -0.3, 8)
    jumps = []
    for b in values:
        x, loss, slope, squares = landau(b)
        jumps.append(analysis.coexistences(x, loss, slope, np.abs(squares[0] - squares[1]) > 1e-3)[0].jump)
    share, at_zero = np.polyfit(values, jumps, 1)
    assert share == pytest.approx(-0.5, abs=2e-3) and at_zero == pytest.approx(0, abs=2e-3)


def test_a_coexistence_that_is_too_short_for_its_crossing():
    """One point: the slopes say where the losses cross, within a step; not if they say it is far away, or backwards."""
    x = np.exp(np.array([0.0, 0.1, 0.2]))
    apart = np.array([False, True, False])
    slope = np.array([[0.0, 2.0, 0.0], [0.0, 1.0, 0.0]])
    loss = np.exp(np.array([[0.0, 0.03, 0.0], [0.0, 0.0, 0.0]]))
    (found,) = analysis.coexistences(x, loss, slope, apart)
    assert np.log(found.position) == pytest.approx(0.07) and found.jump == 1
    assert np.log([found.low, found.high]) == pytest.approx([0.05, 0.15])
    for other in (slope[::-1], slope / 10):
        (found,) = analysis.coexistences(x, loss, other, apart)
        assert np.isnan(found.position) and np.isnan(found.jump)


def test_a_branch_that_changes_within_a_coexistence():
    """The rising one jumps to a third minimum at x = 4.5 and is the better one again: two transitions."""
    x = np.exp(np.arange(9.0))
    excess = np.array([0, -2, -1, 1, 2, -1, -0.5, 0.5, 0])
    loss = np.exp(0.01 * np.stack([excess, 0 * excess]))
    found = analysis.coexistences(x, loss, np.gradient(np.log(loss), axis=-1), excess != 0)
    assert [(part.first, part.last) for part in found] == [(1, 4), (5, 7)]
    np.testing.assert_allclose(np.log([[p.low, p.position, p.high] for p in found]), [[0.5, 2.5, 4.5], [4.5, 6.5, 7.5]])


def test_points_that_are_not_known_end_no_coexistence():
    """NaN in between, and beside: a branch under way. A coexistence up to the end of a line has no end there."""
    x, loss, slope, squares = landau(-1.0)
    apart = np.abs(squares[0] - squares[1]) > 1e-3
    (known,) = analysis.coexistences(x, loss, slope, apart)
    lost = loss.copy()
    lost[0, known.first + 5] = lost[1, known.first - 1] = lost[0, known.last + 1] = np.nan
    assert analysis.coexistences(x, lost, slope, apart) == [known]
    part = slice(known.first + 3, known.last - 2)
    (found,) = analysis.coexistences(x[part], loss[:, part], slope[:, part], apart[part])
    assert np.isnan([found.low, found.high]).all() and found.position == known.position
    assert not analysis.coexistences(x, np.full_like(loss, np.nan), slope, apart)


def test_few_points():
    one = np.ones(1)
    (found,) = analysis.coexistences(one, np.ones((2, 1)), np.ones((2, 1)), np.ones(1, bool))
    assert np.isnan(found.position)
    assert not analysis.onsets(one, one) and np.isnan(analysis.jump_at(one, one, 1.0))
    assert np.isnan(analysis.meeting(one, one)).all()


def test_where_two_curves_meet():
    x = np.geomspace(0.5, 2, 9)
    at, error = analysis.meeting(x, 3 * (np.log(x) - 0.1))
    assert np.log(at) == pytest.approx(0.1) and error < 1e-9
    at, error = analysis.meeting(x, 3 * (np.log(x) - 0.1), 0.03)
    assert error == pytest.approx(0.01 * at)
    bent = np.log(x) - 0.1 + (np.log(x) - 0.1) ** 2
    at, error = analysis.meeting(x, bent)
    assert abs(at - np.exp(0.1)) < error < 0.1
