"""The float64 reference of boundaries: entries of its tables searched anew, on both sides."""

import numpy as np
import pytest

from superjax.reference import boundaries, theory
from superjax.studies.five_features.claims import DIGONS, RATIO

NEAR = np.array([1.005, 0.995])  # a denser and a sparser point


@pytest.mark.parametrize(("shape", "r"), [((2, 1), 0.1), ((2, 1), 0.3), ((2, 1), 1.0), ((2, 1), 10.0), ((3, 2), 0.3)])
def test_superposition_begins_where_the_table_says(shape, r):
    at = boundaries.SUPERPOSED[shape][r]
    restarts = 32 if shape == (2, 1) else 16
    assert boundaries.superposed(r, at * NEAR, *shape, restarts).tolist() == [False, True]


@pytest.mark.parametrize(
    ("shape", "r"),
    [
        ((2, 1), 0.1122), ((2, 1), 0.8913), ((2, 1), 2.2387), ((3, 2), 0.8913),
        *(pytest.param(shape, r, marks=pytest.mark.heavy) for shape, table in boundaries.BEGINS.items() for r in table),
    ],
)  # fmt: skip
def test_it_begins_where_the_finer_table_says(shape, r):
    """To 1e-3 and less, as close as `phase_boundary` is compared with it."""
    at = boundaries.BEGINS[shape][r]
    restarts = 32 if shape == (2, 1) else 16
    assert boundaries.superposed(r, at * np.array([1.0005, 0.9995]), *shape, restarts).tolist() == [False, True]


def test_the_last_pair_of_five_features_forms_where_the_claim_says():
    at = boundaries.superposed(RATIO, DIGONS * NEAR, 2, 1)
    assert at.tolist() == [False, True]


def test_three_features_in_two_dimensions():
    """Alike, they are in superposition at every density; beyond, the two others are a pair of n = 2, m = 1."""
    assert boundaries.superposed(1.0, np.array([0.7, 1.0]), 3, 2, 8).all()
    assert boundaries.SUPERPOSED[3, 2][3.0] == boundaries.SUPERPOSED[2, 1][1.0]


@pytest.mark.parametrize(("rho", "r"), [(-1.0, 0.1), (-0.5, 0.1), (0.2, 0.3), (0.4, 0.3), (0.5, 1.0)])
def test_pairs_are_antipodal_below_what_the_table_says(rho, r):
    at = boundaries.ANTIPODAL[rho][r]
    assert boundaries.antipodal(r, at * NEAR, rho).tolist() == [False, True]


@pytest.mark.parametrize(("rho", "r"), [(0.2, 0.1), (0.6, 1.0)])
def test_pairs_that_are_never_antipodal(rho, r):
    assert boundaries.ANTIPODAL[rho][r] is None
    assert not boundaries.antipodal(r, np.geomspace(1, 0.01, 7), rho).any()


def test_the_optimum_is_below_all_closed_forms_and_known_where_nothing_interferes():
    density = np.array([0.05, 0.3, 0.45])
    loss, W = boundaries.pair_optimum(0.3, density, -1.0)
    np.testing.assert_allclose(loss, 0, atol=1e-9)
    np.testing.assert_allclose(W.prod(-1), -1, atol=1e-3)
    for rho in (0.0, 0.5):
        loss, _ = boundaries.pair_optimum(0.3, density, rho)
        assert (loss <= np.min(list(theory.pair_losses(0.3, density, rho).values()), axis=0) * (1 + 1e-9)).all()


def test_a_known_boundary_is_bracketed():
    found = boundaries.begins(lambda density: density < 0.37)
    assert found == pytest.approx(0.37, rel=2e-4)
    assert boundaries.begins(lambda density: density < 2) is None
    assert boundaries.begins(lambda density: density < 0) is None
