"""Whether branches, crossings, jumps and ends are those of the float64 reference, and no restart is better."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from superjax.analysis import Coexistence
from superjax.reference import branches
from superjax.studies.claim import Claim, at_least, vanishes
from superjax.studies.transition_order.view import APART, CONVERGED, NEGLIGIBLE, Line, View

REFERENCE = "float64 reference"
SAMPLE = 300  # points of branches that are compared with the reference
RESOLVED = 4  # points of a coexistence whose ends are compared with the reference
LEAVES = 0.05  # change of an entry of WᵀW by which a solution has left


def agreements(view: View) -> list[Claim]:
    return [*_branches(view), *_crossings(view), *_ends(view), *_restarts(view)]


def _numbers(view: View, line: Line, x: float) -> tuple[list[float], list[float]]:
    """Importance and density of both features at a point of a line."""
    return [1.0, view.importance(line, x)], [view.density(line, x)] * 2


def _relaxed(view: View, points: Sequence[tuple[Line, int, float, int]], kick: float = 0.0) -> branches.Minima:
    """What the weights of branches fall to in float64: of a line, a family, a coordinate, and the number of the point
    that the weights are taken from; moved by `kick` towards the antipode at first."""
    W = np.stack([line.W[family, k] for line, family, _, k in points]).astype(float)
    b = np.stack([line.b[family, k] for line, family, _, k in points]).astype(float)
    numbers = [_numbers(view, line, x) for line, _, x, _ in points]
    importance, density = (np.array(values) for values in zip(*numbers, strict=True))
    return branches.relaxed(W + kick * _towards_antipode(W), b, importance, density)


def _towards_antipode(W: np.ndarray) -> np.ndarray:
    """A unit move of the weaker feature away from the stronger one, (models, 1, 2)."""
    weaker = np.abs(W[:, 0]).argmin(-1)
    models, move = np.arange(len(W)), np.zeros_like(W)
    move[models, 0, weaker] = -np.sign(W[models, 0, 1 - weaker])
    return move


def _gram(W: np.ndarray) -> np.ndarray:
    return np.einsum("...hi,...hj->...ij", W, W)


def _branches(view: View) -> list[Claim]:
    """A sample of all points of both branches against the minimum that their weights fall to in float64."""
    every = [
        (line, k, point) for line in view.lines for k in (0, 1) for point in np.flatnonzero(np.isfinite(line.loss[k]))
    ]
    share = len(every) / max(1, sum(line.loss.size for line in view.lines))
    if not every:
        return []
    chosen = np.random.default_rng(view.case.seed).choice(len(every), min(SAMPLE, len(every)), replace=False)
    sample = [every[number] for number in chosen]
    true = _relaxed(view, [(line, k, float(line.x[point]), int(point)) for line, k, point in sample])
    loss = np.array([line.loss[k, point] for line, k, point in sample])
    moved = np.abs(_gram(true.W) - _gram(np.stack([line.W[k, point] for line, k, point in sample]))).max((-1, -2))
    words = f"{len(sample)} points of both branches, where they are converged (gradient at most {CONVERGED:.0%} of the loss: {share:.1%} of all)"
    return [
        vanishes(f"{view.name}: loss of a branch above that of the minimum it falls to (largest, relative)", REFERENCE,
                 float((loss / true.loss - 1).max()), 1e-4, note=words),
        vanishes(f"{view.name}: weights of a branch against that minimum (99% of points: an entry of WᵀW)", REFERENCE,
                 float(np.quantile(moved, 0.99)), APART, note=f"{words}; {moved.max():.2g} at most, {np.median(moved):.1g} "
                 "as median: the loss is flat where a branch begins or ends"),
    ]  # fmt: skip


class _Crossing(NamedTuple):
    """A transition as it was measured and as the reference has it."""

    line: Line
    change: Coexistence
    position: float
    jump: float
    weaker: np.ndarray  # norms (2,)


def _reference(view: View) -> list[_Crossing]:
    """Every transition anew: the branches' weights fall in float64 at the measured crossing, and losses and slopes say
    how far from it the losses cross."""
    found = [(line, change) for line in view.lines for change in line.changes]
    if not found:
        return []
    points = []
    for line, change in found:
        own = np.arange(change.first, change.last + 1)
        nearest = int(own[np.abs(np.log(line.x[own] / change.position)).argmin()])
        points += [(line, k, change.position, nearest) for k in (0, 1)]
    step = 1e-4
    here, *beside = (
        _relaxed(view, [(line, k, x * np.exp(by), at) for line, k, x, at in points]) for by in (0.0, -step, step)
    )
    before, after = (np.log(minima.loss) for minima in beside)
    slope, loss = ((after - before) / (2 * step)).reshape(-1, 2), np.log(here.loss).reshape(-1, 2)
    jump = slope[:, 0] - slope[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = (loss[:, 1] - loss[:, 0]) / jump
    norms = np.abs(here.W[:, 0]).min(-1).reshape(-1, 2)
    return [
        _Crossing(line, change, change.position * float(np.exp(by)), float(steeper), norm)
        for (line, change), by, steeper, norm in zip(found, off, jump, norms, strict=True)
    ]


def _crossings(view: View) -> list[Claim]:
    found = [one for one in _reference(view) if one.change.jump >= NEGLIGIBLE]
    if not found:
        return []
    off = [abs(np.log(one.change.position / one.position)) for one in found]
    jumps = [abs(one.change.jump - one.jump) for one in found]
    norms = [np.abs(np.subtract(one.line.beside(one.change, one.line.weaker), one.weaker)).max() for one in found]
    note = f"{len(found)} transitions of {len(view.lines)} lines, steps of {max(line.step for line in view.lines):.2%}"
    return [
        vanishes(f"{view.name}: {view.along} at which the losses cross (largest deviation, relative)", REFERENCE,
                 float(np.max(off)), 1e-3, note=note),
        vanishes(f"{view.name}: latent jump there, d ln(loss) / d ln({view.along}) (largest deviation)", REFERENCE,
                 float(np.max(jumps)), 0.01, note=f"{note}; jumps from {min(one.jump for one in found):.3f} to "
                 f"{max(one.jump for one in found):.3f}"),
        vanishes(f"{view.name}: norm of the weaker feature on either side of it (largest deviation)", REFERENCE,
                 float(np.max(norms)), 0.02, note=note),
    ]  # fmt: skip


def _ends(view: View) -> list[Claim]:
    """A branch ceases to be a minimum between the last point that it was followed to and the one beyond."""
    inside, beyond, lines = [], [], 0
    for line in view.lines:
        for change in line.changes:
            if change.last - change.first + 1 < RESOLVED or change.jump < NEGLIGIBLE:
                continue
            lines += 1
            for k, last, by, end in ((0, change.last, 2, change.high), (1, change.first, -2, change.low)):
                if np.isfinite(end) and 0 <= last + by < len(line.x):
                    inside.append((line, k, float(line.x[last]), last))
                    beyond.append((line, k, float(line.x[last + by]), last))
    if not inside:
        return []
    stays, leaves = (
        np.abs(_gram(_relaxed(view, points, kick).W) - _gram(np.stack([line.W[k, at] for line, k, _, at in points]))).max((-1, -2))
        < LEAVES for points, kick in ((inside, 0.0), (beyond, 1e-3))
    )  # fmt: skip
    share = float((stays & ~leaves).mean())
    return [
        at_least(f"{view.name}: branches that are a minimum at their last point and none two steps on (fraction)",
                 REFERENCE, 0.95, share,
                 note=f"{len(inside)} ends of {lines} coexistences of {RESOLVED} points or more; {(~stays).sum()} are none "
                 f"at their last point, {leaves.sum()} still one two steps of {max(line.step for line in view.lines):.2%} on, "
                 "moved by 0.001 at first")
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
    worst = int(np.argmax(excess))
    return [
        vanishes(f"{view.name}: loss of the better branch above the lowest of the restarts (largest, relative)",
                 "restarts against branches", float(excess[worst]), 1e-3,
                 note=f"{len(excess):,} cells of {view.case.restarts} restarts; at importance {at[worst][0]:.3g}, density "
                 f"{at[worst][1]:.3g}")
    ]  # fmt: skip
