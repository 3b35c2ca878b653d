"""Neurons of a privileged basis: how much each does for each feature, which it serves, and what the two form together.

All follows from weights alone. `gain` has shape (..., n_hidden, n_features), a row a neuron.

A lecture's example of what sparse data are needed for, three features in two neurons: the second feature points half
against the first, and when both are active the model returns less than half of each.

>>> h = np.sqrt(3) / 2
>>> W = np.array([[h, -h, 0], [0.5, 0.5, -1]])
>>> bool(abs(W[:, 0] @ W[:, 1] + 0.5) < 1e-12)
True
>>> hidden = W @ [0.9, 0.9, 0]
>>> np.allclose(hidden, [0, 0.9], rtol=0, atol=1e-12), np.allclose(W.T @ hidden, [0.45, 0.45, -0.9], rtol=0, atol=1e-12)
(True, True)
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

REPRESENTED = 0.25  # gain of all neurons together from which on a feature is represented; 1 reproduces it
SHARE = 0.25  # of a feature's largest gain, from which on a neuron serves it


class Service(NamedTuple):
    """Which neurons serve which features.

    Attributes:
        serves: whether a neuron does.
        margin: by what factor a gain is away from what decides it, at least 1; infinite where there is none.
    """

    serves: Bool[np.ndarray, "... n_hidden n_features"]
    margin: Float[np.ndarray, "... n_hidden n_features"]


class Group(NamedTuple):
    """Features and neurons that hang together: no neuron outside serves any of these features."""

    features: Int[np.ndarray, " features"]
    neurons: Int[np.ndarray, " neurons"]


def gains(
    W_in: Float[np.ndarray, "... n_hidden n_features"],
    W_out: Float[np.ndarray, "... n_features n_hidden"],
    signed: bool = False,
) -> Float[np.ndarray, "... n_hidden n_features"]:
    """The slope of output i that neuron k gives to feature i where it is active alone: W_out[i, k] ReLU(±W_in[k, i]).

    Args:
        signed: features take both signs, and a neuron may serve either; else only positive input weights excite.

    Scaling the input weights of a neuron up and its output weights down changes no gain.

    Example:
        >>> gains(np.array([[2.0, -0.5]]), np.array([[0.5], [2.0]]), signed=True).tolist()
        [[1.0, 1.0]]
    """
    excited = np.abs(W_in) if signed else np.maximum(W_in, 0)
    return excited * np.swapaxes(W_out, -1, -2)


def service(
    gain: Float[np.ndarray, "... n_hidden n_features"], share: float = SHARE, represented: float = REPRESENTED
) -> Service:
    """A neuron serves a feature if its gain is at least `share` of the largest that the feature has from any neuron,
    and the feature is represented: its positive gains sum to `represented` at least.

    Example, a feature alone, one in a pair of neurons, and one that is left out:
        >>> service(np.array([[1.0, 0.02, 0.01], [0.1, 0.5, 0.0], [0.0, 0.5, 0.0]])).serves.astype(int).tolist()
        [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    """
    positive = np.maximum(gain, 0)
    total = positive.sum(-2, keepdims=True)
    threshold = np.maximum(share * positive.max(-2, keepdims=True), np.finfo(float).tiny)
    known, size = total >= represented, np.maximum(positive, np.finfo(float).tiny)
    nearest = np.exp(np.minimum(np.abs(np.log(size / threshold)), 700.0))
    rest = np.maximum(total, np.finfo(float).tiny) / represented
    of_feature = np.exp(np.minimum(np.abs(np.log(rest)), 700.0))
    return Service(known & (positive >= threshold), np.where(known, np.minimum(nearest, of_feature), of_feature))


def groups(serves: Bool[np.ndarray, "n_hidden n_features"]) -> list[Group]:
    """The connected components of features and the neurons that serve them, those of fewer features first.

    Features and neurons without each other are in none.
    """
    left, found = set(np.flatnonzero(serves.any(0)).tolist()), []
    while left:
        features = np.array([min(left)])
        neurons = np.flatnonzero(serves[:, features].any(1))
        while len(more := np.flatnonzero(serves[neurons].any(0))) > len(features):
            features, neurons = more, np.flatnonzero(serves[:, more].any(1))
        left -= set(features.tolist())
        found.append(Group(features, neurons))
    return sorted(found, key=lambda group: (len(group.features), len(group.neurons)))


def regime(serves: Bool[np.ndarray, "n_hidden n_features"]) -> str:
    """The groups in words: how many features have a neuron for themselves alone, and how many share how many neurons.

    Example:
        >>> regime(np.array([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]], bool))
        '1 dedicated + 3 in 2'
    """
    sizes = [(len(group.features), len(group.neurons)) for group in groups(serves)]
    alone = sizes.count((1, 1))
    shared = [f"{features} in {neurons}" for features, neurons in sizes if (features, neurons) != (1, 1)]
    return " + ".join(([f"{alone} dedicated"] if alone else []) + shared) or "nothing"


def own_sets(serves: Bool[np.ndarray, "n_hidden n_features"]) -> int:
    """How many different sets of neurons the served features have: all are told apart if as many as features.

    Example, pairs of three neurons:
        >>> own_sets(np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], bool))
        3
    """
    return len({tuple(column) for column in serves.T.tolist() if any(column)})
