"""Losses of n = 2, m = 1 with any activation function of the output, in float64: Gauss-Legendre over panels.

It shares no code with the trainer, and knows the functions by their definitions.
"""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "gelu": lambda z: z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2,
    "silu": lambda z: z * special.expit(z),
    "softplus": lambda z: np.logaddexp(z, 0),
    "abs": np.abs,
    "tanh": np.tanh,
    "identity": lambda z: z,
}
"""f(z) by name; GELU in the form with tanh, as JAX has it."""

_PANELS, _NODES = 24, 4  # a feature; kinks lie within panels and cost an error of about their width squared


@cache
def _points() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights on [0, 1]."""
    x, weight = np.polynomial.legendre.leggauss(_NODES)
    left = np.arange(_PANELS)[:, None]
    return ((left + (x + 1) / 2) / _PANELS).ravel(), np.tile(weight / 2 / _PANELS, _PANELS)


def pair_loss(
    function: str,
    W: Float[np.ndarray, "models 2"],
    b: Float[np.ndarray, "models 2"],
    relative_importance: Float[np.ndarray, " models"],
    density: Float[np.ndarray, " models"],
) -> Float[np.ndarray, " models"]:
    """The expected loss of x' = f(WᵀWx + b), n = 2, m = 1, of importances (1, r).

    >>> r, s = np.array([0.5]), np.array([0.3])
    >>> loss = pair_loss("relu", np.array([[1.0, -1.0]]), np.zeros((1, 2)), r, s)
    >>> bool(abs(loss[0] / (1.5 * 0.3**2 / 6) - 1) < 1e-3)
    True

    Source: Elhage et al. (2022), "Demonstrating Superposition", with another function.
    """
    f, (x, weight) = FUNCTIONS[function], _points()
    s, importance = density, (np.ones_like(density), relative_importance)
    total = np.zeros_like(density)
    for i, own in enumerate(importance):
        w, bias = W[:, i] * W[:, i], b[:, i, None]
        cross = (W[:, 0] * W[:, 1])[:, None]
        total += own * (1 - s) ** 2 * f(bias[:, 0]) ** 2
        total += own * s * (1 - s) * ((x - f(w[:, None] * x + bias)) ** 2 @ weight)
        total += own * s * (1 - s) * (f(cross * x + bias) ** 2 @ weight)
        both = f(w[:, None, None] * x[:, None] + cross[..., None] * x + bias[..., None])
        total += own * s**2 * np.einsum("kij,i,j->k", (x[:, None] - both) ** 2, weight, weight)
    return total


def pair_minimum(function: str, relative_importance: float, density: float) -> float:
    """The lowest loss, by Nelder-Mead from starts in all directions, b at 0 and low."""

    def loss(p):
        pair = p[None, :2], p[None, 2:]
        return float(pair_loss(function, *pair, np.array([relative_importance]), np.array([density]))[0])

    starts = [(np.cos(a), np.sin(a), b, b) for a in np.linspace(0, np.pi, 6, endpoint=False) for b in (0.0, -2.0)]
    rough = sorted(
        (optimize.minimize(loss, np.array(start), method="Nelder-Mead", options={"maxfev": 150}) for start in starts),
        key=lambda found: found.fun,
    )[:3]
    options = {"maxfev": 2000, "xatol": 1e-6, "fatol": 1e-12, "adaptive": True}
    return min(optimize.minimize(loss, found.x, method="Nelder-Mead", options=options).fun for found in rough)


def sparse_limit(function: str, relative_importance: float) -> tuple[float, float]:
    """Lowest loss / s as s → 0 of a pair that shares the dimension, and of the better feature alone: one active feature
    at a time and no bias, for functions with f(0) = 0."""
    f, (x, weight) = FUNCTIONS[function], _points()

    def own(w):
        return (x - f(w * x)) ** 2 @ weight

    def shared(p):
        cross = f(p[0] * p[1] * x) ** 2 @ weight
        return own(p[0] ** 2) + relative_importance * own(p[1] ** 2) + (1 + relative_importance) * cross

    pairs = [optimize.minimize(shared, start, method="Nelder-Mead") for start in ((1, -1), (1, 1), (1, -0.7))]
    alone = optimize.minimize(lambda w: own(w[0]), [1.0], method="Nelder-Mead").fun
    nothing = float(weight @ x**2)
    one = min(alone + relative_importance * nothing, relative_importance * alone + nothing)
    return float(min(pair.fun for pair in pairs)), float(one)
