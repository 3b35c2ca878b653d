"""The kinds of solution of a privileged basis, by what the neurons serve, and their minima in float64."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped

from superjax import analysis
from superjax.reference import hidden_losses
from superjax.spec import Case

# The paper's regimes: lowest and highest density, both included, and how many features share how many neurons.
PAPER = (
    (0.5, 1.0, "5 dedicated"),
    (0.2, 0.4999, "3 dedicated + 3 in 2"),
    (0.15, 0.15, "2 dedicated + 5 in 3"),
    (0.12, 0.12, "1 dedicated + 6 in 4"),
    (0.05, 0.08, "8 in 5"),
    (0.0, 0.04, "10 in 5"),
)
POINTS = 2**12  # inputs on which a minimum is searched
REPLICAS, WIDER = 8, 4  # samples on which minima are compared, of so many times as many inputs
TRIED, SHOWN = 5, 2  # kinds of which the best restart is finished, and minima of different kinds that are kept
ASKED = 5  # restarts that are finished of a kind that is asked for
BISECTIONS = 3  # between two densities
FOLLOWED = 1  # restarts of a kind that are followed from the density at which another is best
TURNS = 20  # random rotations of the hidden space


class Minimum(NamedTuple):
    """A minimum of a kind, in float64: `loss` is its own and `trained` that of the best `restart` of those that end in
    it, on the same inputs; `error` is the standard error of the difference to the lowest at this density."""

    kind: str
    restart: int
    W: Float[np.ndarray, "n_hidden n_features"]
    b: Float[np.ndarray, " n_features"]
    serves: Bool[np.ndarray, "n_hidden n_features"]
    loss: float
    trained: float
    error: float

    @property
    def monosemantic(self) -> int:
        return int((self.serves.sum(1) == 1).sum())

    @property
    def polysemantic(self) -> int:
        return int((self.serves.sum(1) > 1).sum())


def is_paper(case: Case) -> bool:
    """Whether shape and importances are the paper's."""
    shape = (case.n_features, case.n_hidden) == (10, 5)
    return shape and np.allclose(case.importance_vector(), 0.75 ** np.arange(10))


def gain(case: Case, W: Float[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "... n_hidden n_features"]:
    """What neurons give to features: in a linear layer one of either sign, behind a ReLU of positive weights alone."""
    return analysis.gains(W, np.swapaxes(W, -1, -2)) if case.model.kind == "relu_hidden" else np.square(W)


def kinds(case: Case, data: xr.Dataset) -> Shaped[np.ndarray, "density restart"]:
    """The regime of every model, by name."""
    W = data["W"].transpose("density", "restart", "hidden", "feature").values.astype(float)
    finite = np.isfinite(W).all((-1, -2)) & np.isfinite(data["loss"].transpose("density", "restart").values)
    serves = analysis.service(gain(case, np.where(finite[..., None, None], W, 0))).serves
    flat = serves.reshape(-1, *serves.shape[-2:])
    patterns, which = np.unique(flat.reshape(len(flat), -1), axis=0, return_inverse=True)
    names = np.array([analysis.regime(pattern.reshape(flat.shape[1:])) for pattern in patterns], object)
    return np.where(finite, names[which.reshape(finite.shape)], "diverged")


def minima(case: Case, data: xr.Dataset) -> list[list[Minimum]]:
    """At every density the minima of different kinds, of lowest loss first.

    The best restarts of the best kinds are finished. What was not converged may become of another kind, and of the same
    as a better one: then it is left out.
    """
    every, importance = kinds(case, data), tuple(case.importance_vector())
    arrays = (data["W"].transpose("density", "restart", "hidden", "feature").values,
              data["b"].transpose("density", "restart", "feature").values)  # fmt: skip
    loss = data["loss"].transpose("density", "restart").values
    found = []
    for s, named, *models, order in zip(
        data["density"].values, every, *arrays, np.argsort(loss, axis=1, kind="stable"), strict=True
    ):
        first: dict[str, int] = {}  # the best restart of each kind
        for k in order[named[order] != "diverged"]:
            first.setdefault(named[k], int(k))
        tried = list(first.values())[:TRIED]
        found.append(_compared([(k, *(array[k] for array in models)) for k in tried], importance, float(s)))
    return found


def beside(case: Case, data: xr.Dataset, point: int, best: Minimum, kind: str) -> Minimum | None:
    """The lowest minimum of the best restarts of a kind at a density given by its number, compared with the best
    minimum there; None if no restart is of this kind or their minima are of others."""
    loss = data["loss"].transpose("density", "restart").values[point]
    named, order = kinds(case, data)[point], np.argsort(loss, kind="stable")
    restarts = order[named[order] == kind][:ASKED].tolist()
    arrays = (data["W"].transpose("density", "restart", "hidden", "feature").values[point],
              data["b"].transpose("density", "restart", "feature").values[point])  # fmt: skip
    found = _compared([(k, *(array[k] for array in arrays)) for k in (best.restart, *restarts)],
                      tuple(case.importance_vector()), float(data["density"].values[point]), ASKED)  # fmt: skip
    return next((one for one in found if one.kind == kind), None)


def _compared(models: list[tuple], importance: tuple[float, ...], density: float, most: int = SHOWN) -> list[Minimum]:
    """Minima from restarts (number, W and b), each kind once, at most so many."""
    if not models:
        return []
    finished = []
    for _, W, b in models:
        finished.append(_finish(W.tobytes(), b.tobytes(), W.shape, str(W.dtype), importance, density, POINTS))
        if len({analysis.regime(_serves(one)) for one, _ in finished}) > most:
            break
    pairs = [(W, b) for (_, W, b), _ in zip(models, finished, strict=False)] + finished
    rows = [hidden_losses.inputs(len(importance), density, WIDER * POINTS, seed + 1) for seed in range(REPLICAS)]
    every = np.stack([_losses(pairs, importance, given) for given in rows], axis=1)
    trained, loss = every[: len(finished)], every[len(finished) :]
    best = loss[loss.mean(1).argmin()]
    served = [_serves(W) for W, _ in finished]
    ends = [analysis.regime(serves) for serves in served]
    found: dict[str, Minimum] = {}
    for k in loss.mean(1).argsort(kind="stable"):
        nearest = min((j for j, end in enumerate(ends) if end == ends[k]), key=lambda j: trained[j].mean())
        error = float((loss[k] - best).std(ddof=1) / np.sqrt(REPLICAS))
        minimum = Minimum(ends[k], models[nearest][0], *finished[k], served[k], float(loss[k].mean()),
                          float(trained[nearest].mean()), error)  # fmt: skip
        found.setdefault(minimum.kind, minimum)
    return list(found.values())[:most]


def _serves(W: np.ndarray) -> np.ndarray:
    return analysis.service(analysis.gains(W, W.T)).serves


def _losses(models, importance: tuple[float, ...], given: hidden_losses.Inputs) -> np.ndarray:
    W, b = (np.stack(arrays).astype(float) for arrays in zip(*models, strict=True))
    return hidden_losses.losses(W, b, np.array(importance), given)


@lru_cache(maxsize=512)  # claims and figures ask for the same
def _finish(W: bytes, b: bytes, shape, dtype: str, importance: tuple[float, ...], density: float, points: int):
    arrays = np.frombuffer(W, dtype).reshape(shape).astype(float), np.frombuffer(b, dtype).astype(float)
    given = hidden_losses.inputs(len(importance), density, points)
    return hidden_losses.polish(*arrays, np.array(importance), given)


def crossing(
    dense: list[Minimum], sparse: list[Minimum], between: tuple[float, float], importance: tuple[float, ...]
) -> float:
    """The density between two at which the losses of two kinds cross, each the lowest of some minima that are followed
    from their own. Where those of one kind have become of another, this kind is taken to have lost; NaN where those of
    both have."""
    high, low = between
    for _ in range(BISECTIONS):
        middle, lowest = float(np.sqrt(high * low)), []
        given = hidden_losses.inputs(len(importance), middle, 2 * POINTS, 1)
        for side in (dense, sparse):
            starts = [(one.W.tobytes(), one.b.tobytes(), one.W.shape, str(one.W.dtype)) for one in side]
            models = [_finish(*start, importance, middle, POINTS) for start in starts]
            loss = _losses(models, importance, given)
            same = [analysis.regime(_serves(W)) == side[0].kind for W, _ in models]
            lowest.append(np.where(same, loss, np.inf).min())
            side[:] = [one._replace(W=W, b=b) if alike else one
                       for one, (W, b), alike in zip(side, models, same, strict=True)]  # fmt: skip
        if np.isinf(lowest).all():
            return np.nan
        high, low = (high, middle) if lowest[0] > lowest[1] else (middle, low)
    return float(np.sqrt(high * low))


class Boundary(NamedTuple):
    """Where the best solution changes; NaN if the losses were not seen to cross."""

    dense: str
    sparse: str
    density: float
    between: tuple[float, float]


def boundaries(case: Case, data: xr.Dataset, found: list[list[Minimum]]) -> list[Boundary]:
    """From dense to sparse."""
    density = data["density"].values
    order = [int(k) for k in np.argsort(-density) if found[k]]
    result = []
    for k, j in zip(order, order[1:], strict=False):
        first, second = found[k][0], found[j][0]
        if first.kind != second.kind:
            between = (float(density[k]), float(density[j]))
            dense, sparse = _started(case, data, j, first.kind), _started(case, data, k, second.kind)
            at = crossing([first, *dense], [second, *sparse], between, tuple(case.importance_vector()))
            result.append(Boundary(first.kind, second.kind, at, between))
    return result


def _started(case: Case, data: xr.Dataset, point: int, kind: str) -> list[Minimum]:
    """The best restarts of a kind at a density given by its number, as they were trained."""
    loss = data["loss"].transpose("density", "restart").values[point]
    named, order = kinds(case, data)[point], np.argsort(loss, kind="stable")
    W, b = (data[name].isel(density=point).transpose("restart", ..., "feature").values for name in ("W", "b"))
    found = []
    for k in order[named[order] == kind][:FOLLOWED].tolist():
        found.append(Minimum(kind, k, W[k], b[k], _serves(W[k]), float(loss[k]), float(loss[k]), 0.0))
    return found


def rotations(number: int, size: int) -> Float[np.ndarray, "number size size"]:
    """Random ones, the same at every call, uniform over all."""
    Q, R = np.linalg.qr(np.random.default_rng(0).normal(size=(number, size, size)))
    return Q * np.sign(np.diagonal(R, axis1=1, axis2=2))[:, None]  # without the signs they are not uniform


def turned(case: Case, W: np.ndarray, b: np.ndarray, density: float) -> Float[np.ndarray, " turns"]:
    """Loss of a model whose hidden space is turned at random, relative to its own."""
    turns, importance = rotations(TURNS, len(W)), np.array(case.importance_vector())
    given = hidden_losses.inputs(len(importance), density, POINTS // 4)
    models = np.concatenate([W[None], turns @ W]).astype(float)
    loss = hidden_losses.losses(models, np.tile(b.astype(float), (len(models), 1)), importance, given,
                                case.model.kind == "relu_hidden")  # fmt: skip
    return loss[1:] / loss[0]


def best_trained(case: Case, data: xr.Dataset) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """W, b and what the neurons serve of the restart of lowest stored loss at every density."""
    best = data.isel(restart=data["best"])
    W = best["W"].transpose("density", "hidden", "feature").values.astype(float)
    b = best["b"].transpose("density", "feature").values.astype(float)
    return list(zip(W, b, analysis.service(gain(case, W)).serves, strict=True))
