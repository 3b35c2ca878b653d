"""Loss of models x' = ReLU(Wᵀh + b) with a hidden layer h = ReLU(Wx) or h = Wx, in float64, with the sets of active
features enumerated (paper, "Superposition in a Privileged Basis").

With n features there are 2ⁿ sets of active ones. All are taken in their exact share; the magnitudes of the active
features are points of a scrambled Sobol sequence, the same for all models that are compared: most of their error is in
all of them, and cancels in differences. Sets of several active features have more points than their share, as most of
the loss is theirs.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

from superjax.reference import checks

MAX_FEATURES = 14
_LEAST_SHARE = 1e-7  # of all inputs: numbers of active features that are rarer are left out


class Inputs(NamedTuple):
    """Inputs and what each counts: weights sum to 1."""

    x: Float[np.ndarray, "inputs n_features"]
    weight: Float[np.ndarray, " inputs"]


def inputs(n_features: int, density: float, points: int, seed: int = 0) -> Inputs:
    """About so many inputs of independent features that are uniform on [0, 1] where they are active.

    Raises ValueError for more than 14 features, or a density that is none.

    The sets of active features are exact: here, how often two features are active at once.
        >>> x, weight = inputs(3, 0.2, 100)
        >>> round(float(weight @ ((x[:, 0] > 0) & (x[:, 1] > 0))), 12), round(float(weight.sum()), 12)
        (0.04, 1.0)
    """
    checks.count("n_features", n_features, 1, MAX_FEATURES)
    checks.numbers("density", density, 0, 1)
    sizes = np.arange(n_features + 1)
    sets = np.array([math.comb(n_features, size) for size in sizes])
    shares = float(density) ** sizes * (1 - float(density)) ** (n_features - sizes)
    shares = np.where(sets * shares < _LEAST_SHARE, 0, shares)
    shares = shares / (sets @ shares)
    wanted = sizes * np.sqrt(sets * shares)
    numbers = np.maximum(np.ceil(points * wanted / max(wanted.sum(), 1e-300) / sets), 1).astype(int)
    used = int((sets * numbers)[shares > 0].sum())
    sobol = qmc.Sobol(n_features, rng=np.random.default_rng(seed)).random_base2(math.ceil(math.log2(max(used, 2))))
    found, weights, start = [], [], 0
    for size, share, number in zip(sizes.tolist(), shares.tolist(), numbers.tolist(), strict=True):
        if share == 0:
            continue
        for active in itertools.combinations(range(n_features), size):
            x = np.zeros((number, n_features))
            x[:, active] = sobol[start : start + number, active]
            found.append(x)
            weights.append(np.full(number, share / number))
            start += number
    return Inputs(np.concatenate(found), np.concatenate(weights))


def losses(
    W: Float[np.ndarray, "models n_hidden n_features"],
    b: Float[np.ndarray, "models n_features"],
    importance: Float[np.ndarray, " n_features"],
    given: Inputs,
    relu_hidden: bool = True,
) -> Float[np.ndarray, " models"]:
    """Importance-weighted squared error of every model, the mean over the inputs given.

    Example: a neuron for itself reproduces a feature, and without a bias a feature left out loses s/3:
        >>> W = np.array([[[1.0, 0.0]]])
        >>> losses(W, np.zeros((1, 2)), np.array([1.0, 0.5]), inputs(2, 0.3, 10_000)).round(4).tolist()
        [0.05]
    """
    x = np.ascontiguousarray(given.x.T)
    return np.array([_loss(*model, importance, x, given.weight, relu_hidden)[0] for model in zip(W, b, strict=True)])


def polish(
    W: Float[np.ndarray, "n_hidden n_features"],
    b: Float[np.ndarray, " n_features"],
    importance: Float[np.ndarray, " n_features"],
    given: Inputs,
    steps: int = 100,
) -> tuple[Float[np.ndarray, "n_hidden n_features"], Float[np.ndarray, " n_features"]]:
    """The minimum of the loss over the inputs given that L-BFGS reaches from a model with a ReLU hidden layer."""
    from scipy.optimize import minimize  # a third of a second to import

    shape, x = W.shape, np.ascontiguousarray(given.x.T)

    def function(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, *gradients = _loss(
            parameters[: W.size].reshape(shape), parameters[W.size :], importance, x, given.weight
        )
        return value, np.concatenate([np.ravel(gradient) for gradient in gradients])

    start = np.concatenate([W.ravel(), b]).astype(float)
    found = minimize(function, start, jac=True, method="L-BFGS-B", options={"maxiter": steps, "ftol": 1e-10}).x
    return found[: W.size].reshape(shape), found[W.size :]


def _loss(W, b, importance, x, weight, relu_hidden: bool = True):
    """Loss of a model, and its gradients with respect to W and b; inputs are columns of x.

    Products are sums of numpy: threads of BLAS cost a hundred times more than they bring for matrices of a few rows."""
    before = np.einsum("hi,in->hn", W, x)
    hidden = np.maximum(before, 0) if relu_hidden else before
    output = np.maximum(np.einsum("hi,hn->in", W, hidden) + b[:, None], 0)
    error = output - x
    weighted = error * weight * importance[:, None]
    back = np.where(output > 0, 2 * weighted, 0)
    into = np.einsum("hi,in->hn", W, back)
    into = np.where(before > 0, into, 0) if relu_hidden else into
    of_W = np.einsum("hn,in->hi", hidden, back) + np.einsum("hn,in->hi", into, x)
    return float((weighted * error).sum()), of_W, back.sum(1)
