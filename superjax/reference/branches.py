"""Branches of minima in float64: where a minimum is that given weights are near, and where one ceases to be.

For n = 2, m = 1 and importances (1, r) the solution that represents the first feature alone is known in closed form,
and so is the importance at which it ceases to be a minimum. Everything else is found by BFGS on the exact loss of
`oracle`, from weights that are given.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize

from superjax.reference import checks, oracle, theory

CRITICAL_END = (0.5641, 0.5117)
"""Relative importance and density at which, n = 2, m = 1, the onset of `onset_importance` meets the transition to the
antipodal pair, to 1e-4. At less importance and sparser data the second feature is represented at once, with a jump; at
more importance it begins with a small norm, and jumps later. A test finds the point again."""


def onset_importance(density: theory.Numbers) -> theory.Numbers:
    """The relative importance r at which, n = 2, m = 1, the second feature begins to be represented antipodally, if its
    norm grows from 0: the solution (1, 0) with bias (0, s/2) is a minimum against small (1, -ε) for smaller r.

    To order ε² the second output gains `r v ε²`, as a linear model does. The first has the residual ε (x₂ - c - a x₁)
    where its feature is active, with the slope a and the bias cε that suit it, and ε ReLU(c - x₂) where it is not. So
    the loss falls if r v exceeds

        s v + min_c { s (s/2 - c)²/4 + (1 - s) [ (1 - s) c² + s c³/3 ] }.

    >>> onset_importance(np.array([1.0, 0.5])).round(4).tolist()
    [1.0, 0.5504]

    Source: derived; the set-up is that of Elhage et al. (2022), "Superposition as a Phase Change".
    """
    s = checks.numbers("density", density, 0, 1, above=True)
    c = _bias(s)
    rest = s * (s / 2 - c) ** 2 / 4 + (1 - s) * ((1 - s) * c**2 + s * c**3 / 3)
    return s + rest / theory.variance(s)


def _bias(s: theory.Numbers) -> theory.Numbers:
    """c of `onset_importance`: the root of a quadratic, without cancellation."""
    linear = s / 2 + 2 * (1 - s) ** 2
    return s**2 / 2 / (linear + np.sqrt(linear**2 + (1 - s) * s**3))


def onset_cubic(density: theory.Numbers) -> theory.Numbers:
    """The coefficient of ε³ in the loss of a solution near (1, -ε), in units of the variance, at the importance of
    `onset_importance`. Where it is positive the onset is continuous, and the norm grows in proportion to the distance;
    where it is negative the norm jumps.

    To order ε³ the slope a = 3/2 (s/2 - c) and the bias of order ε² stay. With w₁² = 1 + aε the first output has
    z = (1 + aε) x₁ - ε (1 + aε/2) x₂ + cε, which the ReLU cuts off for x₁ < ε (x₂ - c), and the second output's
    variance gains r v a. So v times the coefficient is

        s a (s/3 - c s/2 - a s/4) - s² (1 - c)⁴ / 6 - a (1 - s) s c³ / 6 + r v a.

    >>> onset_cubic(np.array([0.3, 0.7, 1.0])).round(4).tolist()
    [-0.0541, 0.0347, -0.125]

    Source: derived.
    """
    s = checks.numbers("density", density, 0, 1, above=True)
    c, v = _bias(s), theory.variance(s)
    a = 1.5 * (s / 2 - c)
    first = s * a * (s / 3 - c * s / 2 - a * s / 4) - s**2 * (1 - c) ** 4 / 6 - a * (1 - s) * s * c**3 / 6
    return first / v + onset_importance(s) * a


def tricritical_points() -> list[tuple[float, float]]:
    """Relative importance and density of the points at which the onset of `onset_importance` changes its order: where
    `onset_cubic` changes its sign.

    >>> [(round(r, 4), round(s, 4)) for r, s in tricritical_points()]
    [(0.574, 0.5202), (0.8964, 0.8373)]
    """
    found = [optimize.brentq(onset_cubic, *ends, xtol=1e-12) for ends in ((0.4, 0.7), (0.7, 0.99))]
    return [(float(onset_importance(s)), float(s)) for s in found]


class Minima(NamedTuple):
    """What given weights fall to: losses (...), weights and biases, and the largest entry of the gradient in units of
    the loss of a model that predicts the mean."""

    loss: Float[np.ndarray, "*models"]
    W: Float[np.ndarray, "*models hidden feature"]
    b: Float[np.ndarray, "*models feature"]
    gradient_norm: Float[np.ndarray, "*models"]


def relaxed(
    W: Float[np.ndarray, "*models hidden feature"],
    b: Float[np.ndarray, "*models feature"],
    importance: Float[np.ndarray, "*#models feature"],
    density: Float[np.ndarray, "*#models feature"],
    tolerance: float = 1e-9,
    evaluations: int = 200,
) -> Minima:
    """The minima into which given weights fall, all models side by side, by BFGS on the exact loss.

    Args:
        W, b: weights (..., hidden, feature) and biases; importance and density (..., feature) broadcast.
        tolerance: largest entry of the gradient, in units as in `Minima`.

    One feature alone is a minimum where the other is unimportant and data are dense:

    >>> found = relaxed(np.array([[0.9, 0.01]]), np.array([0.1, 0.3]), np.array([1.0, 0.1]), np.array([0.8, 0.8]))
    >>> np.abs(found.W).round(6).tolist(), found.b.round(6).tolist()
    ([[1.0, 0.0]], [0.0, 0.4])
    """
    shape, (n_hidden, n) = W.shape[:-2], W.shape[-2:]
    W, b = W.reshape(-1, n_hidden, n).astype(float), b.reshape(-1, n).astype(float)
    importance, density = (np.broadcast_to(x, (*shape, n)).reshape(-1, n).astype(float) for x in (importance, density))
    unit, bias_unit = (importance * theory.variance(density)).sum(-1), np.sqrt(density)

    def parts(x, which):
        return x[:, : n_hidden * n].reshape(-1, n_hidden, n), x[:, n_hidden * n :] * bias_unit[which]

    def objective(x, which):
        loss, d_W, d_b = oracle.loss_and_gradient(*parts(x, which), importance[which], density[which])
        gradient = np.concatenate([d_W.reshape(len(x), -1), d_b * bias_unit[which]], axis=1)
        return loss / unit[which], gradient / unit[which, None]

    start = np.concatenate([W.reshape(len(W), -1), b / bias_unit], axis=1)
    x, value, gradient = oracle.descend(objective, start, tolerance, evaluations)
    W, b = parts(x, np.arange(len(x)))
    return Minima(
        (value * unit).reshape(shape), W.reshape(*shape, n_hidden, n), b.reshape(*shape, n),
        np.abs(gradient).max(-1).reshape(shape),
    )  # fmt: skip
