"""Measures, phases and statistics over restarts against naive loops, hand-made weights and invariances."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from superjax import analysis
from superjax.analysis import geometry, phases
from superjax.analysis.phases import DEDICATED, DIVERGED, NOT_REPRESENTED, SUPERPOSED

shapes = st.tuples(st.integers(1, 3), st.integers(1, 5))
entries = st.integers(-6, 6).map(lambda k: k / 4)  # few values: columns vanish and coincide often
weights = shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=entries))


def polygon(k):
    angle = 2 * np.pi * np.arange(k) / k
    return np.stack([np.cos(angle), np.sin(angle)])


def naive(W, represented, superposed):
    """All measures of one model, by the definitions, one feature and one partner after the other."""
    W = W.astype(float)
    n = W.shape[1]
    rows = []
    for i in range(n):
        norm = np.sqrt(W[:, i] @ W[:, i])
        unit = W[:, i] / norm if norm else W[:, i]
        overlap = [(unit @ W[:, j]) ** 2 for j in range(n)]
        interference = sum(overlap) - overlap[i]
        dimensionality = norm**2 / sum(overlap) if norm else 0
        shared = sum(overlap[j] for j in range(n) if j != i and np.linalg.norm(W[:, j]) >= represented)
        norm_margin = abs(norm - represented) / represented
        if norm < represented:
            phase, margin = NOT_REPRESENTED, norm_margin
        else:
            phase = SUPERPOSED if shared >= superposed else DEDICATED
            margin = min(norm_margin, abs(shared - superposed) / superposed)
        rows.append((norm, interference, dimensionality, phase, margin))
    return [np.array(column) for column in zip(*rows, strict=True)]


@given(W=weights, represented=st.sampled_from([0.33, 0.51, 1.1]), superposed=st.sampled_from([0.07, 0.37]))
def test_measures_equal_naive_loops(W, represented, superposed):
    expected = naive(W, represented, superposed)
    assume(expected[-1].min() > 1e-5)  # else rounding decides the phase
    found = analysis.measure(W, represented, superposed)
    for name, one, other in zip(found._fields, found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=name)
    assert found.phase.dtype == np.int8 and found.norm.dtype == found.margin.dtype == W.dtype
    np.testing.assert_array_equal(found.interference, analysis.interference(W))
    np.testing.assert_array_equal(found.dimensionality, analysis.dimensionality(W))


@given(W=arrays(np.float32, (2, 3, 2, 4), elements=entries))
def test_leading_axes_are_independent(W):
    together = analysis.measure(W)
    for index in np.ndindex(2, 3):
        for whole, alone in zip(together, analysis.measure(W[index]), strict=True):
            np.testing.assert_array_equal(whole[index], alone)


@given(W=weights)
def test_dimensionalities_sum_to_at_most_the_rank(W):
    assert analysis.dimensionality(W).sum() <= np.linalg.matrix_rank(W) + 1e-5


@pytest.mark.parametrize(
    ("W", "dimensionality"),
    [
        (np.eye(3), 1),
        (np.array([[1.0, -1.0]]), 1 / 2),
        (np.array([[0.3, -2.0]]), [0.3**2 / (0.3**2 + 4), 4 / (0.3**2 + 4)]),
        (polygon(3), 2 / 3),
        (1.7 * polygon(5), 2 / 5),
        (np.array(list(itertools.product([1, -1], repeat=3)))[[0, 3, 5, 6]].T, 3 / 4),  # tetrahedron
        (np.array([[2.0, 0.0], [0.0, 0.0]]), [1, 0]),
    ],
)
def test_known_dimensionalities(W, dimensionality):
    """Tight frames share the hidden dimensions: their sum is the rank."""
    found = analysis.dimensionality(W.astype(float))
    np.testing.assert_allclose(found, np.broadcast_to(dimensionality, found.shape), rtol=1e-12)


def test_zero_columns_measure_zero():
    W = np.array([[0.0, 1.0, -1.0], [0.0, 0.0, 0.0]], np.float32)
    found = analysis.measure(W)
    assert found.norm[0] == found.interference[0] == found.dimensionality[0] == 0
    assert found.phase.tolist() == [NOT_REPRESENTED, SUPERPOSED, SUPERPOSED]
    assert all(np.isfinite(x).all() for x in analysis.measure(np.zeros((2, 3))))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_diverged(poison):
    """One weight that is not finite makes all features of its model diverged and no other model's."""
    W = np.stack([np.eye(2, 3, dtype=np.float32)] * 3)
    W[1, 0, 2] = poison
    found = analysis.measure(W)
    assert (found.phase[1] == DIVERGED).all() and np.isnan(found.margin[1]).all()
    for whole in found:
        np.testing.assert_array_equal(whole[0], whole[2])
        assert np.isfinite(whole[[0, 2]]).all()
    assert not np.isfinite(found.norm[1, 2])


@pytest.mark.parametrize(
    ("W", "phase"),
    [
        ([[1, 0]], [DEDICATED, NOT_REPRESENTED]),
        ([[1, -1]], [SUPERPOSED, SUPERPOSED]),
        ([[0.5, 0]], [DEDICATED, NOT_REPRESENTED]),  # the threshold itself is represented
        ([[0.4375, 0]], [NOT_REPRESENTED, NOT_REPRESENTED]),
        ([[1, -0.4375]], [DEDICATED, NOT_REPRESENTED]),  # only a represented partner counts
        ([[1, 0.25], [0, 0.9375]], [DEDICATED, DEDICATED]),  # interference 1/16
        ([[1, 0.375], [0, 0.9375]], [SUPERPOSED, SUPERPOSED]),  # 9/64
        ([[2, 0.25], [0, 1]], [DEDICATED, SUPERPOSED]),  # 1/16 and 4/17: the partner's length counts
    ],
)
def test_classify(W, phase):
    found, margin = analysis.classify(np.array(W, np.float32))
    assert found.tolist() == phase
    assert (margin >= 0).all()


def test_thresholds_are_arguments():
    W = np.array([[1.0, 0.25], [0.0, 0.9375]])
    assert analysis.classify(W, represented=1.0)[0].tolist() == [DEDICATED, NOT_REPRESENTED]
    assert analysis.classify(W, superposed=0.05)[0].tolist() == [SUPERPOSED, SUPERPOSED]


# --- signatures -----------------------------------------------------------------------------------

few = st.sampled_from([0.25, 0.5, 1.0])


@given(data=st.data(), n=st.integers(1, 6))
def test_signature_forgets_the_order_of_equal_features_only(data, n):
    """Equal iff the phases are the same, feature kind (importance, density) by feature kind, counted."""
    importance, density = (np.array(data.draw(st.lists(few, min_size=n, max_size=n))) for _ in range(2))
    one = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.int8)
    other = data.draw(st.one_of(st.permutations(list(one)), st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    other = np.array(other, np.int8)

    def kinds(phase):
        return sorted(zip(importance, density, phase, strict=True))

    signatures = analysis.phase_signature(np.stack([one, other]), *(np.stack([x, x]) for x in (importance, density)))
    assert (signatures[0] == signatures[1]) == (kinds(one) == kinds(other))


def test_signatures_of_all_phases_are_distinct():
    """No two of the 4^6 phase vectors of six different features share one."""
    phases = np.array(list(itertools.product(range(4), repeat=6)), np.int8)
    numbers = np.broadcast_to(np.arange(1, 7) / 7, phases.shape)
    assert len(np.unique(analysis.phase_signature(phases, numbers, numbers))) == len(phases)


# --- restarts -------------------------------------------------------------------------------------


def losses(shape):
    """Distinct losses, some NaN or infinite."""
    distinct = st.floats(0.125, 100, width=32)
    return arrays(np.float32, shape, elements=distinct, unique=True).flatmap(
        lambda loss: arrays(np.int8, shape, elements=st.sampled_from([0, 0, 0, 1, 2])).map(
            lambda kind: np.choose(kind, [loss, np.float32(np.nan), np.float32(np.inf)])
        )
    )


@given(loss=losses((3, 7)), drop=st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_typical_outcome_equals_naive_loop(loss, drop):
    """The worst are dropped (at least one kept), the rest averaged, whatever was not finite left out."""
    values = np.arange(3 * 7 * 2, dtype=np.float64).reshape(3, 7, 2) ** 1.5
    values[~np.isfinite(loss)] = np.nan
    found = analysis.typical_outcome(loss, values, drop)
    for cell in range(3):
        order = sorted(range(7), key=lambda k: (not np.isfinite(loss[cell, k]), loss[cell, k]))
        kept = [k for k in order[: 7 - min(round(drop * 7), 6)] if np.isfinite(loss[cell, k])]
        expected = np.mean(values[cell, kept], axis=0) if kept else np.full(2, np.nan)
        np.testing.assert_allclose(found[cell], expected)


def test_typical_outcome_of_ten():
    """The paper's protocol: of ten models the worst is dropped, the other nine are averaged."""
    loss = np.array([5, 3, 8, 1, 2, 9, 4, 7, 6, 0.5])
    values = np.arange(10.0)[:, None]
    assert analysis.typical_outcome(loss, values) == pytest.approx((45 - 5) / 9)


def test_the_typical_phase_is_the_majority_of_those_that_are_finite():
    """A loop over restarts; of equally many phases that of the lower loss wins."""
    rng = np.random.default_rng(0)
    loss = rng.permuted(np.tile(np.arange(6.0), (300, 1)), axis=1)
    loss[rng.random(loss.shape) < 0.2] = np.nan
    phase = rng.integers(0, 3, (300, 6, 2)).astype(np.int8)
    phase[np.isnan(loss)] = 3
    found = analysis.typical_phase(loss, phase)
    for cell, feature in np.ndindex(found.shape):
        finite = [k for k in range(6) if np.isfinite(loss[cell, k])]
        votes = [phase[cell, k, feature] for k in sorted(finite, key=lambda k: loss[cell, k])]
        assert found[cell, feature] == (max(votes, key=votes.count) if votes else 3)  # the first of the most frequent


def test_a_stray_restart_does_not_decide_the_typical_phase():
    phase = np.array([[[0]] * 9 + [[2]]], np.int8)
    assert analysis.typical_phase(np.arange(10.0)[None, ::-1], phase).tolist() == [[0]]


@pytest.mark.parametrize("common", [True, False])
def test_the_standard_error_is_the_spread_over_repetitions(common):
    """Of many simulated sweeps, whose cells share their restarts or not."""
    rng = np.random.default_rng(1)
    chance = np.linspace(0.2, 0.9, 12)[:, None]  # of success in each cell
    means, errors = [], []
    for _ in range(400):
        luck = rng.random((1, 8)) if common else rng.random((12, 8))
        success = luck < chance
        means.append(success.mean())
        errors.append(analysis.standard_error(success, common) ** 2)
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(means), rel=0.1)
    assert np.isnan(analysis.standard_error(np.ones((5, 1), bool), common))


@given(loss=losses((4, 5)))
def test_best_restart(loss):
    best = analysis.best_restart(loss)
    for cell in range(4):
        finite = [k for k in range(5) if np.isfinite(loss[cell, k])]
        assert not finite or best[cell] == min(finite, key=lambda k: loss[cell, k])
    np.testing.assert_array_equal(analysis.take_restart(loss, best), loss[np.arange(4), best])


def test_take_restart_keeps_what_follows():
    values = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    index = np.array([[0, 3, 1], [2, 2, 0]])
    found = analysis.take_restart(values, index)
    assert found.shape == (2, 3, 5)
    for cell in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[cell], values[cell][index[cell]])


def test_fractions_and_agreement():
    phase = np.array([[0, 1], [0, 2], [3, 2], [0, 2]], np.int8)
    np.testing.assert_array_equal(analysis.phase_fractions(phase), [[0.75, 0, 0, 0.25], [0, 0.25, 0.75, 0]])
    signature = np.array([[1, 2, 1, 1], [5, 5, 5, 6]], np.uint64)
    np.testing.assert_array_equal(analysis.agreement(signature, np.array([1, 6], np.uint64)), [0.75, 0.25])


def test_reached():
    loss = np.array([[1.0, 1.009, 1.02, np.nan, np.inf]])
    assert analysis.reached(loss, np.array([1.0]), 0.01).tolist() == [[True, True, False, False, False]]


# --- boundary -------------------------------------------------------------------------------------


def test_superposition_is_more_features_than_dimensions():
    phase = np.array([[1, 1, 0], [2, 2, 0], [2, 2, 1], [3, 3, 3]], np.int8)
    assert analysis.has_superposition(phase, 2).tolist() == [False, False, True, False]
    assert analysis.has_superposition(phase, 1).tolist() == [True, True, True, False]


@given(W=weights)
def test_excess_is_positive_exactly_in_superposition(W):
    """In every model whose features all keep clear of the threshold."""
    W, m = W[None], len(W)
    norm = analysis.norm(W)
    assume(np.abs(norm - 0.5).min() > 1e-5)
    has = analysis.has_superposition(analysis.classify(W)[0], m)
    np.testing.assert_array_equal(analysis.superposition_excess(norm, m) >= 0, has)


@given(
    exponent=st.floats(0.05, 0.95),
    points=st.integers(2, 30),
    ascending=st.booleans(),
)
def test_boundary_is_where_the_excess_vanishes(exponent, points, ascending):
    """Exact for an excess that is linear in the logarithm, however the axis runs."""
    density = np.geomspace(0.01, 1, points)[:: 1 if ascending else -1]
    position = 0.01**exponent
    excess = np.log(position / density)
    assert analysis.boundary(density, excess > 0, excess) == pytest.approx(position)


def test_boundary_without_a_usable_excess_is_the_middle():
    density, inside = np.array([1.0, 0.1, 0.01]), np.array([False, False, True])
    middle = pytest.approx(np.sqrt(0.1 * 0.01))
    assert analysis.boundary(density, inside) == middle
    assert analysis.boundary(density, inside, np.array([-1, np.nan, 1.0])) == middle
    assert analysis.boundary(density, inside, np.array([-1, 1.0, -1.0])) == middle
    first_usable = analysis.boundary(density, inside, np.full(3, np.nan), np.array([-1.0, -1.0, 3.0]))
    assert first_usable == pytest.approx(0.1 * 0.1**0.25)


def test_boundary_is_the_first_one_from_dense_data():
    density = np.array([0.01, 0.1, 0.3, 0.6, 1.0])
    inside = np.array([[True, False, True, False, False], [True] * 5, [False] * 5])
    found = analysis.boundary(density, inside)
    assert found[0] == pytest.approx(np.sqrt(0.3 * 0.6))
    assert np.isnan(found[1:]).all()


def test_boundary_at_an_importance():
    importance, position = np.array([4.0, 1.0, 2.0]), np.array([0.4, 0.1, np.nan])
    assert analysis.at_importance(importance, position, 2.0) == pytest.approx(0.2)  # a power law between 1 and 4
    assert np.isnan(analysis.at_importance(importance, position, 8.0))


def test_where_a_share_reaches_a_level():
    """Between two points on a logarithmic scale; one point off by chance does not decide, nor the first lucky one."""
    s = np.geomspace(1, 0.01, 41)
    straight = np.clip(np.log(0.5 / s) / np.log(10), 0, 1)  # from 0 at 0.5 to 1 at 0.05
    for level in (0.1, 0.5, 0.9):
        assert analysis.share_reaches(s, straight, level) == pytest.approx(0.5 * 10**-level, rel=5e-3)
        assert analysis.share_reaches(s[::-1], straight[::-1], level) == analysis.share_reaches(s, straight, level)
    lucky = np.where(np.arange(41) % 10 == 3, 1.0, 0.0) + (s < 0.03)  # single columns of a share that is 0 till 0.03
    assert 0.02 < analysis.share_reaches(s, np.minimum(lucky, 1), 0.5) < 0.035
    for never in (0 * s, 1 + 0 * s, np.where(s < 0.1, np.nan, 0)):
        assert np.isnan(analysis.share_reaches(s, never, 0.5))


def test_the_error_of_where_a_share_reaches_a_level_is_that_of_repeated_draws():
    s = np.geomspace(1, 0.01, 41)
    p = np.clip(np.log(0.5 / s) / np.log(10), 0, 1)
    rng = np.random.default_rng(1)
    found = [analysis.share_reaches(s, rng.binomial(10, p) / 10, 0.5) for _ in range(400)]
    errors = [analysis.share_error(s, rng.binomial(10, p) / 10, 0.5, 10) for _ in range(20)]
    assert np.median(errors) == pytest.approx(np.std(found), rel=0.3)
    assert np.isnan(analysis.share_error(s, 0 * s, 0.5, 10))


def test_band():
    """Of eleven streams the central 80% leave one out at either end; streams without a boundary are not counted."""
    positions = np.random.default_rng(0).permutation(np.arange(11.0))[:, None] * np.ones(2)
    positions = np.concatenate([positions, np.full((3, 2), np.nan)])
    low, high = analysis.band(positions)
    assert low.tolist() == [1, 1] and high.tolist() == [9, 9]
    low, high = analysis.band(np.full((4, 1), np.nan))
    assert np.isnan(low).all() and np.isnan(high).all()


def test_sets_are_interchangeable_as_a_whole():
    """Members of a set with each other, and sets; not a member of one set with one of another."""
    equal = np.ones((4, 4))
    phase = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 1, 0]], np.int8)
    one, swapped, mixed, turned = analysis.phase_signature(phase, equal, equal, set_size=2)
    assert one == swapped and mixed == turned and one != mixed
    assert len(set(analysis.phase_signature(phase, equal, equal).tolist())) == 1


def test_many_features_need_no_table_of_pairs(monkeypatch):
    """Measures and solutions of 30 000 features, whose pairs would take gigabytes; those of few are the same both
    ways."""
    W = np.random.default_rng(0).standard_normal((2, 3, 40)).astype(np.float32)
    pairs, names = analysis.measure(W), analysis.solutions(W)
    for module, name in (phases, "_PAIRS"), (geometry, "_AT_ONCE"):
        monkeypatch.setattr(module, name, 1000)
    for one, other in zip(analysis.measure(W), pairs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert (analysis.solutions(W).number == names.number).all()
    monkeypatch.undo()
    W = np.random.default_rng(0).standard_normal((1, 2, 30_000)).astype(np.float32)
    found = analysis.measure(W)
    assert all(np.isfinite(measure).all() for measure in found)
    assert found.dimensionality.sum() <= 2.001
    assert analysis.solutions(W).names[int(analysis.solutions(W).number[0])] == "other"
