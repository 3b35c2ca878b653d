"""What the neurons of a model of the absolute value do: which features they serve, and which are asymmetric."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case

PAPER = (2.0, -0.5, 0.5, 2.0)  # input weights of the neuron for its two features, and output weights to them
ASYMMETRY = 2.0  # factor between the two input weights, and between the two output weights, of a motif
INHIBITED = 0.5  # of the interference that other neurons take away, at least
NEAR = 0.15  # of the paper's weights
SHARES = (0.5, 1.0, 2.0)  # factors of the rule's share, to see what depends on it


class Motif(NamedTuple):
    """A neuron that serves two features asymmetrically: feature `one` with a large input and a small output weight, the
    `other`, of the opposite sign, the other way round; another neuron inhibits what `one` would do to the `other`.

    `weights` are those of the neuron as the paper has them: scaled so that the large input weight is the large output
    weight, the input weight of `one` positive. `deviation` is their largest from the paper's, relative to each.
    """

    density: float
    restart: int
    neuron: int
    inhibitor: int
    one: int
    other: int
    weights: tuple[float, float, float, float]
    deviation: float


def is_sanity(case: Case) -> bool:
    """Whether there are two neurons for every feature, as many as the absolute value takes."""
    return case.n_hidden >= 2 * case.n_features


def gain(W1: np.ndarray, W2: np.ndarray) -> Float[np.ndarray, "... n_hidden n_features"]:
    return analysis.gains(W1, W2, signed=True)


def serves(data: xr.Dataset, factor: float = 1.0) -> Bool[np.ndarray, "density restart n_hidden n_features"]:
    """Which features the neurons of every model serve; none where a model is not finite."""
    W1, W2 = weights(data)
    finite = np.isfinite(W1).all((-1, -2), keepdims=True) & np.isfinite(W2).all((-1, -2), keepdims=True)
    found = analysis.service(gain(np.where(finite, W1, 0), np.where(finite, W2, 0)), factor * analysis.SHARE)
    return found.serves


def weights(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """W1 and W2 of all models, by density and restart."""
    W1 = data["W1"].transpose("density", "restart", "hidden", "feature").values.astype(float)
    return W1, data["W2"].transpose("density", "restart", "feature", "hidden").values.astype(float)


def at_best(data: xr.Dataset, of_models: np.ndarray) -> np.ndarray:
    """Of an array by density and restart the best restart at every density."""
    return of_models[np.arange(data.sizes["density"]), data["best"].values]


def polysemantic(serves: Bool[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "..."]:
    """The fraction of polysemantic neurons among those that serve a feature; NaN where none does."""
    counts = serves.sum(-1)
    with np.errstate(invalid="ignore"):
        return (counts > 1).sum(-1) / (counts > 0).sum(-1)


def error(case: Case, data: xr.Dataset) -> Float[np.ndarray, "density restart"]:
    """Loss relative to the variance of the target, Var |x| = s/3 - s²/4, weighted alike."""
    variance = np.asarray(theory.variance(data["density"].values[:, None])) * sum(case.importance_vector())
    return data["loss"].transpose("density", "restart").values / variance


def by_hand(case: Case) -> float:
    """The error of two neurons for each of the m/2 most important features, and of a constant for the others.

    Example, 20 of 100 features of importance 0.8ⁱ: about 0.8²⁰.
        >>> importance = 0.8 ** np.arange(100)
        >>> round(float(importance[20:].sum() / importance.sum()), 6)
        0.011529
    """
    importance = np.sort(case.importance_vector())[::-1]
    return float(importance[case.n_hidden // 2 :].sum() / importance.sum())


def margins(data: xr.Dataset) -> Float[np.ndarray, " density"]:
    """Of the best restart at every density: the least factor between a gain and what decides it."""
    W1, W2 = (at_best(data, array) for array in weights(data))
    return analysis.service(gain(W1, W2)).margin.min((-1, -2))


def foreign(served: Bool[np.ndarray, "n_hidden n_features"], W1: Float[np.ndarray, "n_hidden n_features"]) -> float:
    """The largest input weight that a neuron has for a feature that it does not serve, by the largest for those that it
    does."""
    own = np.where(served, np.abs(W1), 0).max(-1)
    other = np.where(served, 0, np.abs(W1)).max(-1)
    return float((other / np.where(own > 0, own, np.inf)).max(initial=0.0))


def motifs(data: xr.Dataset, factor: float = 1.0) -> list[Motif]:
    """All asymmetric motifs of all models, the one nearest to the paper's first; with another share, by a factor."""
    W1, W2 = weights(data)
    found = []
    for point, density in enumerate(data["density"].values):
        for restart in np.flatnonzero(np.isfinite(data["loss"].transpose("density", "restart").values[point])):
            for parts in motifs_of(W1[point, restart], W2[point, restart], factor):
                found.append(Motif(float(density), int(restart), *parts))
    return sorted(found, key=lambda motif: motif.deviation)


def in_words(motifs: list[Motif]) -> str:
    """How many there are, in how many models, and how many of them are as the paper's."""
    models = len({(motif.density, motif.restart) for motif in motifs})
    near = sum(motif.deviation <= NEAR for motif in motifs)
    return f"{len(motifs)} in {models} models, {near} of them within {NEAR:.0%} of the paper's weights"


def motifs_of(
    W1: Float[np.ndarray, "n_hidden n_features"], W2: Float[np.ndarray, "n_features n_hidden"], factor: float = 1.0
):
    """Neuron, inhibitor, the two features, weights and deviation of every motif of one model.

    Example, the paper's neuron and one that inhibits:
        >>> W1, W2 = np.array([[2.0, -0.5], [2.0, 0.0]]), np.array([[0.5, 0.0], [2.0, -2.0]])
        >>> motifs_of(W1, W2)
        [(0, 1, 0, 1, (2.0, -0.5, 0.5, 2.0), 0.0)]
    """
    served = analysis.service(gain(W1, W2), factor * analysis.SHARE).serves
    found = []
    for k, one in zip(*np.nonzero(served), strict=True):
        for other in np.flatnonzero(served[k]):
            into, back = W1[k, [one, other]], W2[[one, other], k]
            if other == one or into[0] * into[1] >= 0:
                continue
            if abs(into[0]) < ASYMMETRY * abs(into[1]) or back[1] < ASYMMETRY * back[0]:
                continue
            fires = np.maximum(W1[:, one] * np.sign(into[0]), 0)
            onto = W2[other] * fires  # what the neurons that fire with it do to the other feature
            if -np.minimum(onto, 0).sum() < INHIBITED * onto[k]:
                continue
            scale = np.sqrt(abs(into[0]) / back[1]) * np.sign(into[0])
            values = (*(into / scale), *(back * abs(scale)))
            deviation = float(np.max(np.abs(np.divide(values, PAPER) - 1)))
            found.append((int(k), int(onto.argmin()), int(one), int(other), tuple(map(float, values)), deviation))
    return found


def response(
    W1: np.ndarray, W2: np.ndarray, b: np.ndarray, feature: int, x: Float[np.ndarray, " points"]
) -> Float[np.ndarray, "points outputs"]:
    """Outputs where a feature is active alone."""
    return np.maximum(np.maximum(x[:, None] * W1[:, feature], 0) @ W2.T + b, 0)
