"""One model during training: how fast its loss falls, and when its features jump or its sets change their shape."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from superjax import analysis
from superjax.studies.results import Results

SET = 3  # features in each of two sets
EVENTS = ("the sets separate", "the sets open", "they are triangles", "the triangles turn")
ORTHOGONAL = 0.1  # cosine of the features of a set up to which they form a triangle


class Course(NamedTuple):
    """One model at its snapshots after step 0."""

    step: Int[np.ndarray, " snapshots"]
    W: Float[np.ndarray, "snapshots n_hidden n_features"]
    loss: Float[np.ndarray, " snapshots"]

    @property
    def falling(self) -> Float[np.ndarray, " snapshots"]:
        """-d ln(loss) / d ln(step)."""
        return -analysis.speed(self.step, np.log(self.loss))

    @property
    def drops(self) -> Int[np.ndarray, " drops"]:
        """The snapshots at which the loss drops."""
        return analysis.drops(self.step, self.loss)

    @property
    def dimensionality(self) -> Float[np.ndarray, "snapshots n_features"]:
        return analysis.dimensionality(self.W)

    @property
    def jumps(self) -> Int[np.ndarray, " n_features"]:
        """The snapshot at which the dimensionality of each feature changes fastest."""
        return np.argmax(np.abs(analysis.speed(self.step, self.dimensionality)), axis=0)

    def falls_fast(self, at: Int[np.ndarray, " some"]) -> Bool[np.ndarray, " some"]:
        """Whether the loss falls faster at these snapshots than at half of all."""
        return self.falling[at] > np.median(self.falling)

    def near_drops(self, at: Int[np.ndarray, " some"], factor: float) -> Bool[np.ndarray, " some"]:
        """Whether a drop of the loss is within a factor in steps of these snapshots."""
        if not self.drops.size:
            return np.zeros(len(at), bool)
        apart = np.abs(np.log(self.step[at][:, None] / self.step[self.drops]))
        return np.asarray(apart.min(1) <= np.log(factor))

    def between(self, first: int, second: int) -> int:
        """The snapshot halfway between two, on the logarithmic scale of steps."""
        return int(np.argmin(np.abs(np.log(self.step**2.0 / (self.step[first] * self.step[second])))))


def courses(data: xr.Dataset) -> dict[int, Course]:
    """The courses of the restarts that did not diverge."""
    data = data.isel(snapshot=data["step"].values > 0)
    W = data["W_snapshots"].transpose("restart", "snapshot", "hidden", "feature").values
    loss = data["loss_snapshots"].transpose("restart", "snapshot").values
    finite = np.isfinite(W).all((1, 2, 3)) & np.isfinite(loss).all(1)
    return {int(r): Course(data["step"].values, W[r], loss[r]) for r in np.flatnonzero(finite)}


def cosines(W: Float[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "... n_features n_features"]:
    """Ŵ_i·Ŵ_j of all pairs; 0 where a norm is 0."""
    lengths = analysis.norm(W)
    units = W / np.where(lengths == 0, 1, lengths)[..., None, :]
    return np.einsum("...hi,...hj->...ij", units, units)


class Shape(NamedTuple):
    """What two sets look like: the distance of their means, the cosines of all pairs in the same set, and the lowest
    cosine of every feature with one of the other set, its partner."""

    distance: Float[np.ndarray, "..."]
    within: Float[np.ndarray, "... pairs"]
    partner: Float[np.ndarray, "... n_features"]

    @classmethod
    def of(cls, W: Float[np.ndarray, "... n_hidden n_features"]) -> "Shape":
        pairs, (i, j) = cosines(W), np.triu_indices(SET, 1)
        across = pairs[..., :SET, SET:]
        return cls(
            np.linalg.norm(W[..., :SET].mean(-1) - W[..., SET:].mean(-1), axis=-1),
            np.concatenate([pairs[..., i, j], pairs[..., i + SET, j + SET]], axis=-1),
            np.concatenate([across.min(-1), across.min(-2)], axis=-1),
        )

    @property
    def triangles(self) -> Bool[np.ndarray, "..."]:
        """Whether the features of each set are as good as orthogonal to each other."""
        return np.asarray(np.abs(self.within).max(-1) < ORTHOGONAL)


class Events(NamedTuple):
    """The snapshots of EVENTS, and from where on both sets are triangles."""

    separate: int
    opened: int
    complete: int
    turned: int
    triangles: int


def events(course: Course) -> Events:
    """The means of the sets move apart fastest; from there on the lowest cosine within sets, then the highest one, fall
    fastest; and once both sets are triangles those of partners do."""
    shape = Shape.of(course.W)

    def fastest(values: Float[np.ndarray, " snapshots"], after: int = 0) -> int:
        return after + int(np.argmax(analysis.speed(course.step, values)[after:]))

    separate = fastest(shape.distance)
    opened, complete = (fastest(-cosine, separate) for cosine in (shape.within.min(-1), shape.within.max(-1)))
    triangles = complete + int(np.argmax(shape.triangles[complete:]))
    return Events(separate, opened, complete, fastest(-shape.partner.mean(-1), triangles), triangles)


def in_sets(results: Results, name: str) -> bool:
    return results.sweep.cases[name].data.kind == "sets"
