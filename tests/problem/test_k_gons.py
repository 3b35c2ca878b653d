"""The k-gons of one-sparse data in a plane (Chen, Lau, Mendel, Wei and Murfet 2023, arXiv:2310.06301), by the exact
loss of a sweep. Their loss, the mean over the feature that is active, is the expectation over inputs here."""

import numpy as np
import pytest
import xarray as xr

from superjax.runs.runner import run_case

TEXT = """
n_features = 6
n_hidden = 2
data.kind = "one_sparse"
"""
# Vertices, length and bias of the critical points; "+" for a feature that is left out with its best bias, 1/12.
CRITICAL = {4: (1.0, 0.0), 5: (1.17046, -0.28230), 6: (1.32053, -0.61814)}
LOSSES = {"4": 0.11111, "4+": 0.10417, "4++": 0.09722, "5": 0.06874, "5+": 0.06180, "6": 0.04819}


def k_gon(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of a critical point, the first features its vertices."""
    k, best = int(name[0]), name.count("+")
    length, bias = CRITICAL[k]
    W, b = np.zeros((2, 6)), np.zeros(6)
    angle = 2 * np.pi * np.arange(k) / k
    W[:, :k], b[:k] = length * np.array([np.cos(angle), np.sin(angle)]), bias
    b[k : k + best] = 1 / 12
    return W, b


@pytest.fixture(scope="module")
def at_start(make_case) -> xr.Dataset:
    """Restarts that begin at the critical points."""
    W, b = map(np.stack, zip(*map(k_gon, LOSSES), strict=True))
    case = make_case(f"restarts={len(LOSSES)}", "train.steps=1", "train.snapshots=[0]", text=TEXT)
    return run_case("k_gons", case, {"W": W, "b": b})[0].isel(snapshot=0)


def test_losses_of_critical_points(at_start):
    np.testing.assert_allclose(at_start["loss_snapshots"], list(LOSSES.values()), rtol=0, atol=1e-5)


def test_they_are_critical(at_start, make_case):
    """Where what is left out has its best bias."""
    assert at_start["loss"].attrs["loss_kind"] == "exact" and at_start["loss"].attrs["loss_error"] < 1e-5
    case = make_case("restarts=6", "train.optimizer=sgd", "train.learning_rate=1e-12", "train.steps=1", text=TEXT)
    W, b = map(np.stack, zip(*map(k_gon, LOSSES), strict=True))
    slope = run_case("k_gons", case, {"W": W, "b": b})[0]["grad_norm"].values
    assert (slope[[list(LOSSES).index(name) for name in ("4++", "5+", "6")]] < 1e-4).all()


@pytest.mark.heavy
def test_training_finds_them(make_case):
    """The optimum is the hexagon; restarts also end at the pentagon, with and without the best bias, and none ends
    below the hexagon."""
    case = make_case("restarts=200", "train.steps=3000", "optimum=true", text=TEXT)
    data = run_case("k_gons", case)[0]
    loss = data["loss"].values
    assert float(data["optimum_loss"]) == pytest.approx(LOSSES["6"], abs=1e-5)
    assert loss.min() == pytest.approx(LOSSES["6"], abs=1e-5)
    for name in ("5+", "6"):
        assert np.abs(loss - LOSSES[name]).min() < 1e-5, name
    best = data.isel(restart=int(data["best"]))
    length, bias = CRITICAL[6]
    np.testing.assert_allclose(best["norm"], length, atol=2e-3)
    np.testing.assert_allclose(best["b"], bias, atol=2e-3)
