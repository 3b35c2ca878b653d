"""Whether branches, crossings, jumps and ends are those of the float64 reference, and no restart is better."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from superjax.analysis import Coexistence
from superjax.reference import oracle
from superjax.studies.claim import Claim, at_least, vanishes
from superjax.studies.transition_order.view import APART, CONVERGED, Line, View

REFERENCE = "float64 reference"
SAMPLE = 300  # points of branches that are compared with the reference
RESOLVED = 4  # points of a coexistence whose ends are compared with the reference
LEAVES = 0.05  # change of an entry of WᵀW by which a solution has left
MOVED = 1e-3  # weaker feature, towards the antipode, where it is to be seen whether a solution stays
_STEP = 1e-4  # in ln(x), of a slope of the reference


def agreements(view: View) -> list[Claim]:
    return [*_branches(view), *_crossings(view), *_ends(view), *_restarts(view)]


class Point(NamedTuple):
    """Weights of a family at the point of a line that has a number, to be tried at a coordinate."""

    line: Line
    family: int
    number: int
    x: float


def _relaxed(view: View, points: Sequence[Point], move: float = 0.0) -> oracle.Relaxed:
    """What the weights of points fall to in float64, if the weaker feature is moved at first."""
    W, b = _weights(points)
    weaker, models = np.abs(W[:, 0]).argmin(-1), np.arange(len(W))
    W[models, 0, weaker] -= move * np.sign(W[models, 0, 1 - weaker])
    importance = np.array([[1.0, view.importance(point.line, point.x)] for point in points])
    density = np.array([[min(view.density(point.line, point.x), 1.0)] * 2 for point in points])
    return oracle.relaxed(W, b, importance, density)


def _weights(points: Sequence[Point]) -> tuple[Float[np.ndarray, "points hidden features"], np.ndarray]:
    W = [point.line.W[point.family, point.number] for point in points]
    b = [point.line.b[point.family, point.number] for point in points]
    return np.stack(W).astype(float), np.stack(b).astype(float)


def _change(minima: oracle.Relaxed, points: Sequence[Point]) -> Float[np.ndarray, " points"]:
    """The largest change of an entry of WᵀW from the weights of the points."""
    one, other = (np.einsum("phi,phj->pij", W, W) for W in (minima.W, _weights(points)[0]))
    return np.abs(one - other).max((-1, -2))


def _branches(view: View) -> list[Claim]:
    """A sample of all points of both branches against the minimum that their weights fall to in float64."""
    every = [
        Point(line, k, int(number), float(line.x[number]))
        for line in view.lines
        for k in (0, 1)
        for number in np.flatnonzero(np.isfinite(line.loss[k]))
    ]
    if not every:
        return []
    share = len(every) / sum(line.loss.size for line in view.lines)
    chosen = np.random.default_rng(view.case.seed).choice(len(every), min(SAMPLE, len(every)), replace=False)
    points = [every[number] for number in chosen]
    true, loss = _relaxed(view, points), np.array([point.line.loss[point.family, point.number] for point in points])
    change = _change(true, points)
    words = (
        f"{len(points)} points of both branches, of those that are converged ({share:.1%} of all: gradient at most "
        f"{CONVERGED:g} of the loss)"
    )
    return [
        vanishes(
            f"{view.name}: loss of a branch against that of the minimum it falls to (largest deviation, relative)",
            REFERENCE, float(np.abs(loss / true.loss - 1).max()), 1e-4, note=words,
        ),
        vanishes(
            f"{view.name}: weights of a branch against that minimum (99% of points: entries of WᵀW)", REFERENCE,
            float(np.quantile(change, 0.99)), APART,
            note=f"{words}; {change.max():.2g} at most, {np.median(change):.1g} "
            "as median: the loss is flat where a branch begins or ends",
        ),
    ]  # fmt: skip


class Crossing(NamedTuple):
    """A transition as it was measured, and as the reference has it: where, the latent jump, and the norm of the weaker
    feature on both branches."""

    line: Line
    change: Coexistence
    position: float
    jump: float
    weaker: Float[np.ndarray, "2"]


def crossings(view: View) -> list[Crossing]:
    """Every transition with a latent jump anew: at the measured crossing the branches' weights fall in float64, and
    losses and slopes say how far from it the losses cross."""
    found = [(line, change) for line in view.lines for change in line.large]
    if not found:
        return []
    points = []
    for line, change in found:
        own = np.arange(change.first, change.last + 1)
        nearest = int(own[np.abs(np.log(line.x[own] / change.position)).argmin()])
        points += [Point(line, k, nearest, change.position) for k in (0, 1)]
    below, here, above = (
        _relaxed(view, [point._replace(x=point.x * float(np.exp(by))) for point in points]) for by in (-_STEP, 0, _STEP)
    )
    slope = (np.log(above.loss / below.loss) / (2 * _STEP)).reshape(-1, 2)
    jump, excess = slope[:, 0] - slope[:, 1], np.log(here.loss).reshape(-1, 2) @ np.array([1.0, -1.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        off = -excess / jump
    weaker = np.abs(here.W[:, 0]).min(-1).reshape(-1, 2)
    return [
        Crossing(line, change, change.position * float(np.exp(by)), float(steeper), norms)
        for (line, change), by, steeper, norms in zip(found, off, jump, weaker, strict=True)
    ]


def _crossings(view: View) -> list[Claim]:
    if not (found := crossings(view)):
        return []
    off = [abs(np.log(one.change.position / one.position)) for one in found]
    jumps = [abs(one.change.jump - one.jump) for one in found]
    norms = [np.abs(np.subtract(one.line.beside(one.change, one.line.weaker), one.weaker)).max() for one in found]
    known = [one.jump for one in found]
    note = f"{len(found)} transitions on {len(view.lines)} lines, whose steps are {_step(view):.2%}"
    return [
        vanishes(
            f"{view.name}: {view.along} at which the losses cross (largest deviation, relative)", REFERENCE,
            float(np.max(off)), 1e-3, note=note,
        ),
        vanishes(
            f"{view.name}: latent jump there, d ln(loss) / d ln({view.along}) (largest deviation)", REFERENCE,
            float(np.max(jumps)), 0.02, note=f"{note}; jumps from {min(known):.3f} to {max(known):.3f}",
        ),
        vanishes(
            f"{view.name}: norm of the weaker feature on either side of it (largest deviation)", REFERENCE,
            float(np.max(norms)), 0.02, note=note,
        ),
    ]  # fmt: skip


def _step(view: View) -> float:
    return max(line.step for line in view.lines)


def _ends(view: View) -> list[Claim]:
    """A branch ceases to be a minimum at about the last point that it was followed to: between the points before and
    beyond."""
    inside, beyond = [], []
    for line in view.lines:
        for change in line.large:
            if change.last - change.first + 1 < RESOLVED:
                continue
            for k, last, way, end in ((0, change.last, 1, change.high), (1, change.first, -1, change.low)):
                if np.isfinite(end) and 0 <= last + 2 * way < len(line.x):
                    inside.append(Point(line, k, last - way, float(line.x[last - way])))
                    beyond.append(Point(line, k, last, float(line.x[last + 2 * way])))
    if not inside:
        return []
    stays = _change(_relaxed(view, inside), inside) < LEAVES
    leaves = _change(_relaxed(view, beyond, MOVED), beyond) > LEAVES
    return [
        at_least(
            f"{view.name}: branches that are a minimum a step before their last point and none two steps on (fraction)",
            REFERENCE, 0.95, float((stays & leaves).mean()),
            note=f"{len(inside)} ends of coexistences of {RESOLVED} points or more; {(~stays).sum()} are none "
            f"there, {(~leaves).sum()} still one two steps of {_step(view):.2%} on, weights moved by {MOVED:g}",
        )
    ]  # fmt: skip


def _restarts(view: View) -> list[Claim]:
    """No restart of any cell is clearly better than both branches."""
    excess, at = [], []
    for line in view.lines:
        lowest = np.fmin(*line.loss)
        where = np.isfinite(lowest) & np.isfinite(line.fits)
        excess += (lowest / line.fits - 1)[where].tolist()
        at += [(view.importance(line, x), view.density(line, x)) for x in line.x[where]]
    if not excess:
        return []
    r, s = at[int(np.argmax(excess))]
    return [
        vanishes(
            f"{view.name}: loss of the better branch above the lowest of the restarts (largest, relative)",
            "restarts against branches", max(excess), 1e-3,
            note=f"{len(excess):,} cells of {view.case.restarts} restarts; at importance {r:.3g}, density {s:.3g}",
        )
    ]  # fmt: skip
