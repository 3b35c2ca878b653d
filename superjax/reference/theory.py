"""Closed forms of the toy models: one-feature integrals, candidate losses, phase boundaries, k-gons.

`s` is the density (the probability that a feature is active, 1 - S), `r` the relative importance of the
last, "extra" feature, `v = Var(x_i) = s/3 - s²/4`, `G = WᵀW`. Everything is float64 and broadcasts. The
models and the phase change are those of Elhage et al. (2022), "Toy Models of Superposition",
arXiv:2209.10652; formulas the paper does not print were derived for this project and are tested against
quadrature and against `superjax.oracle`.

The theory of the phase change compares idealised solutions: unit weights, and zero bias when superposed.
Numbers are checked: a density in [0, 1], an importance ≥ 0, a correlation in [-1, 1], else a ValueError says so.

The true optimum has its boundary at a higher density; `superjax.oracle.minimum` finds it.
"""

import numpy as np
from jaxtyping import Float, Int8

from superjax.reference import checks

Numbers = float | int | Float[np.ndarray, "..."]

NOT_REPRESENTED, DEDICATED, SUPERPOSED = 0, 1, 2

TRIPLE_POINT = (1.0, 4 / 7)
"""(relative importance, density) where the three phases of the theory diagram meet."""

POLYGON_CRITICAL = {4: (1.0, 0.0), 5: (1.17046, -0.28230), 6: (1.32053, -0.61814)}
"""(norm, bias) of the critical k-gons of `polygon_loss` (Chen et al. 2023, arXiv:2310.06301)."""


def _arrays(*values):
    return np.broadcast_arrays(*(np.asarray(value, np.float64) for value in values))


def mean(density: Numbers) -> Numbers:
    """Mean of a feature, `s/2`: zero with probability 1 - s, else uniform on [0, 1].

    >>> mean(0.5)
    0.25

    Source: Elhage et al. (2022), "Demonstrating Superposition", set-up; derived.
    """
    checks.numbers("density", density, 0, 1)
    return density / 2


def mean_square(density: Numbers) -> Numbers:
    """Mean square of a feature, `s/3`, which is what a model that says nothing loses.

    >>> round(mean_square(0.5), 6)
    0.166667

    Source: as `mean`.
    """
    checks.numbers("density", density, 0, 1)
    return density / 3


def variance(density: Numbers) -> Numbers:
    """Variance of a feature, `v = s/3 - s²/4`: zero with probability 1 - s, else uniform on [0, 1].

    >>> round(variance(1.0), 6)
    0.083333

    Source: Elhage et al. (2022), "Demonstrating Superposition", set-up; derived.
    """
    checks.numbers("density", density, 0, 1)
    return density / 3 - density**2 / 4


def linear_loss(
    W: Float[np.ndarray, "*#batch n_hidden n_features"],
    importance: Float[np.ndarray, "*#batch n_features"],
    density: Float[np.ndarray, "*#batch n_features"],
) -> Numbers:
    """Expected loss of the linear model `x' = WᵀWx + b` with the best bias,

        L = Σ_i I_i [ v_i (1 - ‖W_i‖²)² + Σ_{j≠i} v_j (W_i·W_j)² ].

    Args:
        W: (..., n_hidden, n_features).
        importance: (..., n_features).
        density: (..., n_features).

    Returns:
        (...). The best bias is `b_i = E[x_i] - Σ_j G_ij E[x_j]`.

    >>> round(float(linear_loss(np.array([[1.0, 0.0]]), np.array([1.0, 0.5]), np.array([1.0, 1.0]))), 6)
    0.041667

    Source: Elhage et al. (2022), "Demonstrating Superposition", "Mathematical Understanding". Deviation:
    densities may differ between features.
    """
    checks.numbers("W", W, finite=False)
    checks.numbers("importance", importance, 0)
    checks.vectors(W=np.asarray(W)[..., 0, :], importance=np.asarray(importance), density=np.asarray(density))
    error = np.eye(W.shape[-1]) - np.einsum("...hi,...hj->...ij", W, W)
    return np.einsum("...i,...ij,...j->...", importance, error**2, variance(density))


def linear_minimum(
    importance: Float[np.ndarray, "*#batch n_features"],
    density: Float[np.ndarray, "*#batch n_features"],
    n_hidden: int,
) -> Numbers:
    """Minimum of `linear_loss` over W: the sum of the n - m smallest `I_i v_i`. Never superposition.

    Args:
        importance: (..., n_features).
        density: (..., n_features).
        n_hidden: m; with m ≥ n the minimum is 0.

    >>> round(float(linear_minimum(np.array([1.0, 0.5]), np.array([1.0, 1.0]), n_hidden=1)), 6)
    0.041667

    Source: Eckart and Young, for Elhage et al. (2022), "Demonstrating Superposition"; derived.
    """
    checks.count("n_hidden", n_hidden, 0)
    checks.numbers("importance", importance, 0)
    checks.vectors(importance=np.asarray(importance), density=np.asarray(density))
    weighted = np.sort(importance * variance(density), axis=-1)
    return weighted[..., : max(weighted.shape[-1] - n_hidden, 0)].sum(axis=-1)


def relu_square_integral(w: Numbers, b: Numbers) -> Numbers:
    """`∫₀¹ ReLU(wa + b)² da`: what one active feature does to an output that should be silent.

    >>> relu_square_integral(np.array([1.0, 1.0, -1.0]), np.array([-1.0, 0.0, 0.5])).round(6).tolist()
    [0.0, 0.333333, 0.041667]

    Source: derived; used for Chen et al. (2023), arXiv:2310.06301, and Elhage et al. (2022).
    """
    checks.numbers("w", w)
    checks.numbers("b", b)
    w, b = _arrays(w, b)
    end = w + b
    # If only one end of [0, 1] is active the square integrates to a cube; if neither is, that cube is 0.
    kinked = np.maximum(np.maximum(end, b), 0) ** 3 / (3 * np.where(w == 0, 1.0, np.abs(w)))
    return np.where((b >= 0) & (end >= 0), _mean_square(b, end), kinked)[()]


def reconstruction_integral(w: Numbers, b: Numbers) -> Numbers:
    """`∫₀¹ (a - ReLU(wa + b))² da`: the error of a feature that is active alone, with `w = ‖W_i‖²`.

    Any sign of w is allowed, so the same integral serves outputs with negative own weight.

    >>> reconstruction_integral(np.array([1.0, 0.0, 1.0]), np.array([0.0, 0.5, -1.0])).round(6).tolist()
    [0.0, 0.083333, 0.333333]

    Source: derived; used for Chen et al. (2023), arXiv:2310.06301, and Elhage et al. (2022).
    """
    checks.numbers("w", w)
    checks.numbers("b", b)
    w, b = _arrays(w, b)
    end = w + b
    kink = np.clip(-b / np.where(w == 0, 1.0, w), 0.0, 1.0)  # where wa + b = 0
    late = kink**3 / 3 + (1 - kink) * _mean_square(kink, 1 - end)  # silent up to the kink
    early = kink * _mean_square(-b, kink) + (1 - kink**3) / 3  # silent after it
    silent, active = (b <= 0) & (end <= 0), (b >= 0) & (end >= 0)
    kinked = np.where(w > 0, late, early)
    return np.select([silent, active], [np.full_like(w, 1 / 3), _mean_square(-b, 1 - end)], kinked)[()]


def _mean_square(left, right):
    """Mean over an interval of the square of a linear function with these values at its ends."""
    return (left**2 + left * right + right**2) / 3


def candidate_losses(
    relative_importance: Numbers, density: Numbers, n_features: int, n_hidden: int
) -> dict[str, Numbers]:
    """Losses of the idealised solutions that compete for an extra feature of relative importance r.

    n = 2, m = 1, importance (1, r), in this order:
        `ignore_extra` `r v`, `drop_other` `v`, `antipodal` `(1 + r) s²/6`, `same_direction` `(1 + r) s/3`.
    n = 3, m = 2, importance (1, 1, r):
        `ignore_extra` `r v`, `drop_other` `v`, `extra_in_digon` `(1 + r) s²/6`, `others_in_digon` `s²/3`.

    Weights are 0 or of norm 1, the bias is s/2 for an ignored feature and otherwise 0. Same direction means
    [1, 1]; it never wins.

    Args:
        relative_importance: r, broadcast with `density`.
        density: s.
        n_features: n.
        n_hidden: m. Raises ValueError unless (n, m) is (2, 1) or (3, 2).

    >>> losses = candidate_losses(1.0, 0.3, n_features=2, n_hidden=1)
    >>> {name: round(float(loss), 4) for name, loss in losses.items()}
    {'ignore_extra': 0.0775, 'drop_other': 0.0775, 'antipodal': 0.03, 'same_direction': 0.2}

    Source: Elhage et al. (2022), "Superposition as a Phase Change"; formulas derived.
    """
    _check_case(n_features, n_hidden)
    checks.numbers("relative_importance", relative_importance, 0)
    checks.numbers("density", density, 0, 1)
    r, s = _arrays(relative_importance, density)
    v = variance(s)
    losses = {"ignore_extra": r * v, "drop_other": v}
    if n_features == 2:
        return losses | {"antipodal": (1 + r) * s**2 / 6, "same_direction": (1 + r) * s / 3}
    return losses | {"extra_in_digon": (1 + r) * s**2 / 6, "others_in_digon": s**2 / 3}


_PHASE_OF = {
    "ignore_extra": NOT_REPRESENTED,
    "drop_other": DEDICATED,
    "antipodal": SUPERPOSED,
    "same_direction": SUPERPOSED,
    "extra_in_digon": SUPERPOSED,
    "others_in_digon": DEDICATED,
}


def extra_phase(
    relative_importance: Numbers, density: Numbers, n_features: int, n_hidden: int
) -> Int8[np.ndarray, "..."]:
    """Phase of the extra feature in the theory diagram: 0 not represented, 1 dedicated, 2 superposed.

    The phase of the lowest of `candidate_losses`. On a boundary the first of them in their order wins.

    Args:
        relative_importance: r, broadcast with `density`.
        density: s.
        n_features: n.
        n_hidden: m. Raises ValueError unless (n, m) is (2, 1) or (3, 2).

    >>> extra_phase(np.array([0.1, 10.0, 1.0]), np.array([0.5, 0.5, 0.1]), n_features=2, n_hidden=1).tolist()
    [0, 1, 2]

    Source: Elhage et al. (2022), "Superposition as a Phase Change", theory panels.
    """
    losses = candidate_losses(relative_importance, density, n_features, n_hidden)
    phases = np.array([_PHASE_OF[name] for name in losses], np.int8)
    return np.asarray(phases[np.argmin(np.stack(list(losses.values())), axis=0)])


def superposition_boundary(relative_importance: Numbers, n_features: int, n_hidden: int) -> Numbers:
    """Density below which the best candidate is a superposition:

        n = 2, m = 1:  s = 4r/(2 + 5r) for r ≤ 1,  4/(5 + 2r) for r ≥ 1;
        n = 3, m = 2:  s = 4r/(2 + 5r) for r ≤ 1,  4/7 for r ≥ 1.

    For n = 3 and r > 1 it is the other two features that share a dimension below the boundary, and the
    extra feature is dedicated on both sides of it; for r < 1 it is the extra feature that shares.

    Args:
        relative_importance: r > 0.
        n_features: n.
        n_hidden: m. Raises ValueError unless (n, m) is (2, 1) or (3, 2).

    >>> superposition_boundary(np.array([0.1, 1.0, 10.0]), n_features=2, n_hidden=1).round(4).tolist()
    [0.16, 0.5714, 0.16]

    Source: Elhage et al. (2022), "Superposition as a Phase Change"; derived, and the published panel agrees
    to 0.01.
    """
    _check_case(n_features, n_hidden)
    checks.numbers("relative_importance", relative_importance, 0)
    r = np.asarray(relative_importance, np.float64)
    above_one = 4 / (5 + 2 * r) if n_features == 2 else np.full_like(r, TRIPLE_POINT[1])
    return np.where(r < 1, 4 * r / (2 + 5 * r), above_one)[()]


def _check_case(n_features, n_hidden):
    if (n_features, n_hidden) not in {(2, 1), (3, 2)}:
        raise ValueError(f"(n_features, n_hidden) = ({n_features}, {n_hidden}): the theory covers (2, 1) and (3, 2)")


def both_active(density: Numbers, correlation: Numbers) -> Numbers:
    """Probability that both features of a set of two are active,

        s² + ρ s (1 - s) for ρ ≥ 0,   (1 + ρ) s² - ρ max(0, 2s - 1) for ρ < 0.

    >>> [round(float(both_active(0.5, rho)), 3) for rho in (-1, 0, 0.5, 1)]
    [0.0, 0.25, 0.375, 0.5]

    Source: Elhage et al. (2022), "Correlated and Anticorrelated Features", at ρ = 1 and -1; between them
    `superjax.problem.data.Sets`.
    """
    checks.numbers("density", density, 0, 1)
    checks.numbers("correlation", correlation, -1, 1)
    s, rho = _arrays(density, correlation)
    apart = np.minimum(rho, 0)
    return ((1 + apart) * s**2 - apart * np.maximum(0, 2 * s - 1) + np.maximum(rho, 0) * s * (1 - s))[()]


def pair_variances(density: Numbers, correlation: Numbers) -> tuple[Numbers, Numbers]:
    """Variances of the principal components (a + b)/√2 and (a - b)/√2 of a set of two features, `v ± (p - s²)/4` with
    p = `both_active`.

    >>> [round(float(variance), 4) for variance in pair_variances(0.2, 1)]
    [0.0967, 0.0167]

    Source: derived for Elhage et al. (2022), "Correlated and Anticorrelated Features".
    """
    s, rho = _arrays(density, correlation)
    covariance = (both_active(s, rho) - s**2) / 4
    return (variance(s) + covariance)[()], (variance(s) - covariance)[()]


def pair_losses(relative_importance: Numbers, density: Numbers, correlation: Numbers) -> dict[str, Numbers]:
    """`candidate_losses` of n = 2, m = 1 for two features that are one set, p = `both_active`:

        `ignore_extra` `r v`, `drop_other` `v`, `antipodal` `(1 + r) p/6`, `merged` `(1 + r) (s/6 - p/8)`.

    Merged is [1, 1]/√2 with b = 0: both outputs are the mean of the two features. At ρ = 1 it loses `(1 + r) s/24`.

    Args:
        relative_importance: r, broadcast with `density` (s) and `correlation` (ρ).

    >>> {name: round(float(loss), 4) for name, loss in pair_losses(1.0, 0.3, 1.0).items()}
    {'ignore_extra': 0.0775, 'drop_other': 0.0775, 'antipodal': 0.1, 'merged': 0.025}

    Source: derived for Elhage et al. (2022), "Superposition as a Phase Change" and "Correlated and Anticorrelated
    Features".
    """
    checks.numbers("relative_importance", relative_importance, 0)
    r, s, rho = _arrays(relative_importance, density, correlation)
    v, p = variance(s), both_active(s, rho)
    return {"ignore_extra": r * v, "drop_other": v, "antipodal": (1 + r) * p / 6, "merged": (1 + r) * (s / 6 - p / 8)}


def pair_boundary(relative_importance: Numbers, correlation: Numbers) -> Numbers:
    """Density below which the antipodal pair is the best of `pair_losses`, 0 if it never is. With r ≤ 1 (r and 1/r have
    the same), it must lose less than ignoring the extra feature, and for ρ > 0 also less than the merged pair:

        ρ ≥ 0:  the lesser of  (4r - 2(1+r)ρ) / A  and  (4 - 7ρ) / (7 (1-ρ)),   A = 2(1+r)(1-|ρ|) + 3r;
        ρ < 0:  4r / A  if that is ≤ 1/2, else the positive root of  A s² + 4 ((1+r)|ρ| - r) s - 2(1+r)|ρ| = 0.

    >>> pair_boundary(np.array([0.1, 1.0, 10.0]), 0.0).round(4).tolist(), round(float(pair_boundary(1.0, -1.0)), 4)
    ([0.16, 0.5714, 0.16], 0.6667)

    Source: derived; at ρ = 0 it is `superposition_boundary`.
    """
    checks.numbers("relative_importance", relative_importance, 0)
    checks.numbers("correlation", correlation, -1, 1)
    r, rho = _arrays(relative_importance, correlation)
    r, strength = np.where(r > 1, 1 / np.maximum(r, 1), r), np.abs(rho)
    A, total = 2 * (1 + r) * (1 - strength) + 3 * r, 2 * (1 + r) * strength
    together = (4 * r - total) / A
    merged = (4 - 7 * strength) / np.where(strength < 1, 7 * (1 - strength), 1)
    half = total - 2 * r
    apart = np.where(4 * r <= A / 2, 4 * r / A, (np.sqrt(half**2 + A * total) - half) / A)
    return np.where(rho < 0, apart, np.maximum(np.minimum(together, merged), 0))[()]


def antipodal_loss(bias: Numbers, density: Numbers) -> Numbers:
    """Loss of the antipodal pair [1, -1] with bias b on both outputs, for a total importance of one,

        A(b) = S b² + sS b³/3 + s² [ (1-b)³/3 + b³/3 - (1-b)⁴/6 ],   0 ≤ b ≤ 1,   S = 1 - s.

    Multiply by the sum of the two importances. `A(0) = s²/6`.

    >>> round(antipodal_loss(0.0, 0.3), 6)
    0.015

    Source: derived for Elhage et al. (2022), "Superposition as a Phase Change", whose theory has b = 0.
    """
    checks.numbers("bias", bias)
    checks.numbers("density", density, 0, 1)
    b, s = bias, density
    both = (1 - b) ** 3 / 3 + b**3 / 3 - (1 - b) ** 4 / 6
    return (1 - s) * b**2 + s * (1 - s) * b**3 / 3 + s**2 * both


def antipodal_minimum(density: Numbers) -> tuple[Numbers, Numbers]:
    """The bias that minimises `antipodal_loss`, and the minimum.

        A'(b) = 2S b + sS b² + s² [ b² - (1-b)² + 2(1-b)³/3 ]

    increases and is convex on [0, 1], `A'(0) = -s²/3` and `A'(1) ≥ 0`: Newton's method started at 1
    decreases to the one root, which is positive for every s > 0.

    Args:
        density: s in [0, 1].

    Returns:
        bias and loss, both shaped like `density`.

    >>> bias, loss = antipodal_minimum(0.3)
    >>> round(float(bias), 4), round(float(loss), 6), round(antipodal_loss(0.0, 0.3), 6)
    (0.0213, 0.01468, 0.015)

    Source: derived for Elhage et al. (2022), "Superposition as a Phase Change".
    """
    checks.numbers("density", density, 0, 1)
    s = np.asarray(density, np.float64)
    idle = 1 - s
    b = np.ones_like(s)
    for _ in range(60):
        slope = 2 * idle * b + s * idle * b**2 + s**2 * (b**2 - (1 - b) ** 2 + 2 * (1 - b) ** 3 / 3)
        curvature = 2 * idle * (1 + s * b) + 2 * s**2 * b * (2 - b)
        step = slope / curvature
        b = b - step
        if (np.abs(step) <= 4e-16 * b).all():
            break
    return np.asarray(b)[()], np.asarray(antipodal_loss(b, s))[()]


def digon_threshold(density: Numbers) -> Numbers:
    """Importance ratio `I_new / I_host` above which a newcomer joins a host as a pair, `2s/(4 - 5s)`.

    Compares the antipodal pair `(I_new + I_host) s²/6` with ignoring the newcomer `I_new v`. Infinite from
    s = 4/5 on.

    >>> round(float(digon_threshold(0.3)), 6), float(digon_threshold(0.9))
    (0.24, inf)

    Source: derived for Elhage et al. (2022), "Demonstrating Superposition".
    """
    checks.numbers("density", density, 0, 1)
    s = np.asarray(density, np.float64)
    room = 4 - 5 * s
    return np.where(room > 0, 2 * s / np.where(room > 0, room, 1.0), np.inf)[()]


def digon_count(importance: Float[np.ndarray, " n_features"], density: float, n_hidden: int) -> int:
    """Number of features represented when only dedicated dimensions and antipodal pairs are allowed.

    The m most important features get a dimension each. The k-th newcomer then asks the k-th least important
    host, and the first refusal ends it: at most 2m features.

    Args:
        importance: (n_features,), in any order.
        density: s, the same for every feature.
        n_hidden: m.

    >>> [digon_count(0.7 ** np.arange(20), density, n_hidden=5) for density in (1.0, 0.3, 0.1, 0.03)]
    [5, 7, 9, 10]

    Source: derived for Elhage et al. (2022), "Demonstrating Superposition", whose bars show 5, 7, 9, 10.
    """
    checks.count("n_hidden", n_hidden)
    checks.numbers("importance", importance, 0)
    ranked = np.sort(importance)[::-1]
    hosts, newcomers = ranked[:n_hidden][::-1], ranked[n_hidden : 2 * n_hidden]
    joins = newcomers > digon_threshold(density) * hosts[: len(newcomers)]
    return int(len(hosts) + np.logical_and.accumulate(joins).sum())


def polygon_loss(n_corners: int, n_features: int, norm: Numbers, bias: Numbers, live_dead_features: int = 0) -> Numbers:
    """Loss of k of c features as a regular k-gon in two dimensions, the others zero, on one-sparse data,

        L = (k/c) [ S1(l², b) + Σ_{j=1}^{k-1} I1(l² cos(2πj/k), b) ]
          + (1 - k/c) [ 1/3 + k ReLU(b)² ] - d/(4c²),

    where I1 is `relu_square_integral` and S1 `reconstruction_integral`. The data are `x = μ e_i` with i
    uniform among c and μ uniform on [0, 1]. A dead feature has bias ≤ 0, but d of them are "live": they
    have the best bias 1/(2c).

    Args:
        n_corners: k.
        n_features: c.
        norm: l, the length of every corner's weight vector.
        bias: b of the corners.
        live_dead_features: d ≤ c - k, the number of + signs in the name of the critical point ("4++").

    >>> [round(float(polygon_loss(k, 6, *POLYGON_CRITICAL[k])), 5) for k in (4, 5, 6)]
    [0.11111, 0.06874, 0.04819]

    Source: Chen, Lau, Mendel, Wei and Murfet (2023), "Dynamical versus Bayesian Phase Transitions in a Toy
    Model of Superposition", arXiv:2310.06301. `POLYGON_CRITICAL` has the critical norms and biases.
    """
    k, c, d = n_corners, n_features, live_dead_features
    if not (1 <= k <= c and 0 <= d <= c - k):
        raise ValueError(f"n_corners = {k}, n_features = {c}, live_dead_features = {d}: must have 1 ≤ k and k + d ≤ c")
    checks.numbers("norm", norm)
    checks.numbers("bias", bias)
    l_squared, b = _arrays(np.square(norm), bias)
    own = reconstruction_integral(l_squared, b)
    others = sum(relu_square_integral(l_squared * np.cos(2 * np.pi * j / k), b) for j in range(1, k))
    dead = 1 / 3 + k * np.maximum(b, 0) ** 2
    return (k * (own + others) + (c - k) * dead) / c - d / (4 * c**2)
