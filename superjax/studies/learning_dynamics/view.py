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
ANTIPRISM = 60 - float(np.degrees(np.arcsin(ORTHOGONAL)))  # degrees from which two triangles form one, as near as that
JUMP = 0.1  # change of dimensionality: from the level of pentagons, 2/5, to that of digons, 1/2
WITHIN = 1.5  # factor of steps in which a jump is made
LEVELS = {
    3 / 4: "3/4 tetrahedron", 2 / 3: "2/3 triangle", 1 / 2: "1/2 digon", 2 / 5: "2/5 pentagon",
    3 / 8: "3/8 square antiprism", 0.0: "0 not represented",
}  # fmt: skip
_SETTLED = 0.02  # difference of dimensionalities up to which they are as good as the same


class Jumps(NamedTuple):
    """Of every feature the largest change of its dimensionality within a factor of steps while the model learns, the
    snapshot in the middle of it, and the largest change of a smooth curve of the same ends over the same steps.
    `window` are the snapshots at which learning begins and all features have settled."""

    change: Float[np.ndarray, " n_features"]
    at: Int[np.ndarray, " n_features"]
    smooth: Float[np.ndarray, " n_features"]
    window: tuple[int, int]

    @property
    def real(self) -> Bool[np.ndarray, " n_features"]:
        """Which features change by as much as a jump is."""
        return self.change >= JUMP


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

    def jumps(self, factor: float = WITHIN) -> Jumps:
        """Within a factor of steps. Learning begins where the mean dimensionality, that of random directions at first,
        has fallen as low as it gets."""
        D = self.dimensionality
        last = int(np.flatnonzero(np.abs(D - D[-1]).max(-1) > _SETTLED).max(initial=0)) + 1
        last = max(2, min(last, len(D) - 1))
        mean = D[: last - 1].mean(-1)
        first = int(np.argmax(mean <= mean.min() + _SETTLED))
        learning = slice(first, last + 1)
        change, at = analysis.largest_change(self.step[learning], D[learning], factor)
        curves = analysis.smooth(self.step[learning], D[first], D[last])
        return Jumps(change, first + at, analysis.largest_change(self.step[learning], curves, factor)[0], (first, last))

    def around_jumps(self, jumps: Jumps) -> tuple[Float[np.ndarray, " jumps"], Float[np.ndarray, " jumps"]]:
        """The dimensionality of every feature that jumps before and after its jump."""
        x, half, which = np.log(self.step), np.log(WITHIN) / 2, np.flatnonzero(jumps.real)
        ends = [[np.interp(x[jumps.at[i]] + side, x, self.dimensionality[:, i]) for i in which]
                for side in (-half, half)]  # fmt: skip
        return np.array(ends[0]), np.array(ends[1])

    def typical(self, first: int, last: int) -> float:
        """The median of `falling` from one snapshot to another, both included."""
        return float(np.median(self.falling[first : last + 1]))

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
    units = analysis.units(W)
    return np.einsum("...hi,...hj->...ij", units, units)


class Shape(NamedTuple):
    """What two sets look like: the distance of their means, the cosines of all pairs in the same set, the lowest cosine
    of every feature with one of the other set, its partner, and by how many degrees the second triangle is turned
    against the first around their common axis: 0 in a prism, 60 in an antiprism."""

    distance: Float[np.ndarray, "..."]
    within: Float[np.ndarray, "... pairs"]
    partner: Float[np.ndarray, "... n_features"]
    turn: Float[np.ndarray, "..."]

    @classmethod
    def of(cls, W: Float[np.ndarray, "... n_hidden n_features"]) -> "Shape":
        pairs, (i, j) = cosines(W), np.triu_indices(SET, 1)
        across = pairs[..., :SET, SET:]
        return cls(
            np.linalg.norm(W[..., :SET].mean(-1) - W[..., SET:].mean(-1), axis=-1),
            np.concatenate([pairs[..., i, j], pairs[..., i + SET, j + SET]], axis=-1),
            np.concatenate([across.min(-1), across.min(-2)], axis=-1),
            _turn(W),
        )

    @property
    def triangles(self) -> Bool[np.ndarray, "..."]:
        """Whether the features of each set are as good as orthogonal to each other."""
        return np.asarray(np.abs(self.within).max(-1) < ORTHOGONAL)


def _turn(W: Float[np.ndarray, "... 3 n_features"]) -> Float[np.ndarray, "..."]:
    """By how many degrees the second set is turned against the first. Three equal angles apart, the third powers of the
    directions seen along the axis agree."""
    units = W / np.maximum(analysis.norm(W), 1e-30)[..., None, :]
    axis = units[..., :SET].mean(-1) - units[..., SET:].mean(-1)
    axis = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-30)
    seen = units - axis[..., None] * np.einsum("...h,...hi->...i", axis, units)[..., None, :]
    across = np.cross(axis, seen[..., 0])
    direction = np.einsum("...h,...hi->...i", seen[..., 0], seen) + 1j * np.einsum("...h,...hi->...i", across, seen)
    first, second = (np.sum(direction[..., part] ** 3, axis=-1) for part in (slice(SET), slice(SET, 2 * SET)))
    return np.asarray(np.abs(np.degrees(np.angle(second * first.conj()))) / 3)


class Events(NamedTuple):
    """The snapshots of EVENTS, and from where on the model is an antiprism."""

    separate: int
    opened: int
    triangles: int
    turned: int
    antiprism: int


def events(course: Course) -> Events:
    """The means of the sets move apart fastest; from there on the lowest cosine within sets falls fastest; from some
    snapshot on all cosines within sets are near 0; after it one triangle turns fastest against the other, until they
    are an antiprism."""
    shape = Shape.of(course.W)
    separate = int(np.argmax(analysis.speed(course.step, shape.distance)))
    opened = separate + int(np.argmax(analysis.speed(course.step, -shape.within.min(-1))[separate:]))
    triangles = _from_then_on(shape.triangles)
    turned = triangles + int(np.argmax(analysis.speed(course.step, shape.turn)[triangles:]))
    return Events(separate, opened, triangles, turned, _from_then_on(shape.triangles & (shape.turn >= ANTIPRISM)))


def _from_then_on(true: Bool[np.ndarray, " snapshots"]) -> int:
    """The first snapshot from which on all are true, or the last one."""
    return min(int(np.flatnonzero(~true).max(initial=-1)) + 1, len(true) - 1)


def in_sets(results: Results, name: str) -> bool:
    return results.sweep.cases[name].data.kind == "sets"
