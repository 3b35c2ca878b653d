"""Branches of minima in float64: where one begins and where it ceases to be, in closed form.

For n = 2, m = 1 and importances (1, r) the solution that represents the first feature alone is known in closed form,
and so is the importance at which it ceases to be a minimum. `oracle.relaxed` follows all others.
"""

import numpy as np
from scipy import optimize

from superjax.reference import checks, theory

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
