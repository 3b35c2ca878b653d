"""The order of a transition, from two branches of minima that are followed along a line from either end.

Where the branches differ each is a minimum that the other end does not lead to: hysteresis. Where their losses cross
there is a transition of first order, and its latent jump is the difference of their slopes there. Where a quantity
grows from 0 along a single branch the transition is continuous.

Coordinates are positive and increase along the last axis. Slopes are d ln(loss) / d ln(coordinate), so that a jump has
no unit: at 0.1, a coordinate that is larger by 1% changes the two losses by amounts that differ by 0.1% of the loss.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from superjax.analysis.boundary import crossings


class Coexistence(NamedTuple):
    """A part of a line on which the two branches are different minima.

    Attributes:
        first, last: numbers of its first and last point.
        position: where the losses cross; NaN if they do not.
        jump: the latent jump, how much steeper the rising branch is there; NaN as well.
        low: where the falling branch ceases to exist, the middle of the two points beside; NaN at the end of the line.
        high: where the rising one does.
    """

    first: int
    last: int
    position: float
    jump: float
    low: float
    high: float


class Onset(NamedTuple):
    """Where a quantity begins to grow from 0 along a line, about as |ln x - ln(position)|^exponent."""

    position: float
    exponent: float


def coexistences(
    coordinate: Float[np.ndarray, " points"],
    loss: Float[np.ndarray, "2 points"],
    slope: Float[np.ndarray, "2 points"],
    apart: Bool[np.ndarray, " points"],
) -> list[Coexistence]:
    """Every part of a line on which the branches differ.

    The rising branch is expected to be the better one at the lower end of such a part, and the falling one at the
    upper end. Where it becomes the better one again, one of them has changed to another minimum: there a part ends and
    the next begins. If a part is so short that no two points lie beside the crossing, it is found from the slopes.

    Args:
        loss: of the rising branch, which is followed with the coordinate, and of the falling one, which is followed
            against it; NaN where a branch is not known, as where it has just ceased to be a minimum.
        slope: d ln(loss) / d ln(coordinate) of both.
        apart: whether they are different minima.
    """
    x, known = np.log(coordinate), np.asarray(np.isfinite(loss).all(0))
    points = np.flatnonzero(known)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], apart[points], [False]]).astype(int)))
    found, better = [], loss[0, points] < loss[1, points]
    for begin, end in _parts(edges.reshape(-1, 2), better):
        part = points[begin:end]
        first, last = int(part[0]), int(part[-1])
        excess = np.log(loss[0, part]) - np.log(loss[1, part])
        steeper = slope[0, part] - slope[1, part]
        step = float(np.diff(x).max(initial=0.0))
        within = max(x[0], x[first] - step), min(x[-1], x[last] + step)
        position, jump = _crossing(x[part], excess, steeper, within)
        low = np.exp((x[first] + x[first - 1]) / 2) if begin > 0 else np.nan
        high = np.exp((x[last] + x[last + 1]) / 2) if end < len(points) else np.nan
        found.append(Coexistence(first, last, float(np.exp(position)), jump, float(low), float(high)))
    return found


def _parts(parts: Int[np.ndarray, "parts 2"], better: Bool[np.ndarray, " points"]) -> Iterator[tuple[int, int]]:
    """Parts, first point and the one beyond the last, divided where the rising branch becomes the better one again."""
    for begin, end in parts:
        again = begin + 1 + np.flatnonzero(~better[begin : end - 1] & better[begin + 1 : end])
        yield from itertools.pairwise([int(begin), *again.tolist(), int(end)])


def _crossing(
    x: Float[np.ndarray, " points"],
    excess: Float[np.ndarray, " points"],
    steeper: Float[np.ndarray, " points"],
    within: tuple[float, float],
) -> tuple[float, float]:
    """Where an excess changes from negative to positive, in points or `within` reach, and how much steeper the rising
    branch is there."""
    up = np.flatnonzero((excess[:-1] < 0) & (excess[1:] >= 0))
    if len(up):
        k = int(up[0])
        share = excess[k] / (excess[k] - excess[k + 1])
        return float(x[k] + share * (x[k + 1] - x[k])), float(steeper[k] + share * (steeper[k + 1] - steeper[k]))
    nearest = int(np.argmin(np.abs(excess)))
    with np.errstate(divide="ignore", invalid="ignore"):
        position = float(x[nearest] - excess[nearest] / steeper[nearest])
    near = within[0] <= position <= within[1] and steeper[nearest] > 0
    return (position, float(steeper[nearest])) if near else (np.nan, np.nan)


def onsets(
    coordinate: Float[np.ndarray, " points"],
    order: Float[np.ndarray, " points"],
    zero: float = 0.01,
    most: float = 0.3,
    fewest: int = 4,
) -> list[Onset]:
    """Where a quantity grows continuously from 0 along a line, in order of the coordinate.

    With a Landau expansion ln x is a series in the quantity: linear in it, in its square or in its fourth power at
    first, as the lowest power of the expansion that does not vanish has it. Such a series is fitted to the points at
    which the quantity is between `zero` and `most` and grows from one to the next. Fewer than `fewest` of them, or a
    series that is not 0 before the quantity is, or within a step, are no onset but a jump.
    """
    x, found = np.log(coordinate), []
    small = order <= zero
    for k in np.flatnonzero(small[:-1] != small[1:]):
        outwards = np.arange(k + 1, len(x)) if small[k] else np.arange(k, -1, -1)
        grows = (order[outwards] > zero) & (order[outwards] < most) & (np.diff(order[outwards], prepend=zero) > 0)
        points = outwards[: len(grows) if grows.all() else int(np.argmin(grows))]
        if len(points) < fewest:
            continue
        m = order[points]
        terms = np.stack([np.ones_like(m), m, m**2, m**4], axis=1)[:, : max(2, min(4, len(points) - 2))]
        begin = float(np.linalg.lstsq(terms, x[points], rcond=None)[0][0])
        back = np.arange(k, -1, -1) if small[k] else np.arange(k + 1, len(x))
        gone = np.flatnonzero(order[back] <= zero / 10)
        end = back[min(gone[0] + 1, len(back) - 1)] if len(gone) else back[-1]
        if not min(x[points[0]], x[end]) <= begin <= max(x[points[0]], x[end]):
            continue  # a jump, and growth that does not lead back to 0
        distance = np.abs(x[points] - begin)
        near = (m < most / 2) & (distance > 0)
        if near.sum() < 2:
            continue
        exponent = float(np.polyfit(np.log(distance[near]), np.log(m[near]), 1)[0])
        found.append(Onset(float(np.exp(begin)), exponent))
    return found


def jump_at(
    coordinate: Float[np.ndarray, " points"], slope: Float[np.ndarray, " points"], position: float, points: int = 4
) -> float:
    """By how much a slope jumps at a position, from above to below: straight lines through the nearest points on either
    side, at the position. About 0 if it only bends. NaN with fewer than two points on a side."""
    x, at = np.log(coordinate), np.log(position)
    ends = []
    for side in (x < at, x > at):
        known = np.flatnonzero(side & np.isfinite(slope))
        nearest = known[np.argsort(np.abs(x[known] - at))[:points]]
        if len(nearest) < 2:
            return np.nan
        ends.append(float(np.polyval(np.polyfit(x[nearest] - at, slope[nearest], 1), 0.0)))
    return ends[0] - ends[1]


def meeting(
    coordinate: Float[np.ndarray, " points"], difference: Float[np.ndarray, " points"], error: float = 0.0
) -> tuple[float, float]:
    """Where two curves meet, from their difference at some points, and its uncertainty: by how much a straight line
    through the four nearest points puts it elsewhere than one through the nearest two, and what an `error` of the
    difference does. NaN if they do not meet."""
    known = np.isfinite(difference)
    x, y = np.log(coordinate[known]), difference[known]
    found = np.log(crossings(coordinate[known], y))
    if not len(found):
        return np.nan, np.nan
    at = float(found[0])
    nearest = np.argsort(np.abs(x - at))[:4]
    slope, constant = np.polyfit(x[nearest] - at, y[nearest], 1)
    off = abs(constant / slope) + error / abs(slope)
    return float(np.exp(at)), float(np.exp(at) * off)
