"""What is claimed of the order: where it changes, and that branches, crossings and jumps are those of the reference."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from superjax import analysis
from superjax.analysis import Coexistence
from superjax.reference import branches, oracle, theory
from superjax.studies.claim import Claim, at_least, close, equal, vanishes
from superjax.studies.results import Results, known
from superjax.studies.transition_order.view import APART, CONVERGED, FAMILIES, NEGLIGIBLE, Line, View, views

REFERENCE = "float64 reference"
SAMPLE = 300  # points of branches that are compared with the reference
PAIRED = 0.5  # norm of the weaker feature from which both are represented
FIRST = 0.02  # norm of the weaker feature up to which one feature is represented alone
RESOLVED = 4  # points of a coexistence whose ends are compared with the reference
LEAVES = 0.05  # change of an entry of WᵀW by which a solution has left


def claims(results: Results) -> list[Claim]:
    results, found = known(results), []
    shown = views(results)
    for view in shown:
        found += [*_branches(view), *_crossings(view), *_ends(view), *_restarts(view), *_symmetry(view)]
        if view.along == "density":
            found += [*_first_order(view), *_onsets(view), *_critical_end(view), *_equal(view)]
        else:
            found += _exchange(view)
    return [*found, *_both_ways(shown)]


# --- agreement with the reference ------------------------------------------------------------------------------------


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
    every = [(line, k, point) for line in view.lines for k in (0, 1) for point in np.flatnonzero(np.isfinite(line.loss[k]))]
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


# --- the order -------------------------------------------------------------------------------------------------------


def _importances(lines: Sequence[Line], most: int = 8) -> str:
    """In words, the importances of some lines."""
    values = [f"{line.at:.3g}" for line in lines]
    return ", ".join(values) if len(values) <= most else f"{values[0]} ... {values[-1]} ({len(values)})"


def _first_order(view: View) -> list[Claim]:
    """Every line has a transition of first order to the pair."""
    with_it = [line for line in view.lines if line.main is not None]
    if not with_it:
        return []
    least = min(with_it, key=lambda line: _jump(line))
    norms = {line.at: line.beside(line.main, line.weaker) for line in with_it if line.main}
    dense, sparse = ([pair[k] for pair in norms.values()] for k in (1, 0))
    return [
        equal(f"{view.name}: importances with a transition of first order, of {len(view.lines)}", "hysteresis",
              len(view.lines), len(with_it)),
        at_least(f"{view.name}: latent jump of that transition, d ln(loss) / d ln(density) (smallest)", "hysteresis",
                 NEGLIGIBLE, _jump(least),
                 note=f"at importance {least.at:.3g}; the largest is {max(map(_jump, with_it)):.3f}. The norm of the weaker "
                 f"feature jumps from {min(dense):.2f} ... {max(dense):.2f} to {min(sparse):.2f} ... {max(sparse):.2f}"),
        at_least(f"{view.name}: norm of the weaker feature on the sparse side of it (smallest)", "hysteresis", PAIRED,
                 min(sparse)),
    ]  # fmt: skip


def _jump(line: Line) -> float:
    assert line.main is not None
    return line.main.jump


def _onsets(view: View) -> list[Claim]:
    """Where the weaker feature begins without a jump: where, and how continuous."""
    found = [(line, begin) for line in view.lines for begin in line.onsets]
    small = [(line, change) for line in view.lines for change in line.changes if change is not line.main]
    if not found:
        return []
    off = [abs(np.log(branches.onset_importance(begin.position) / min(line.at, 1 / line.at))) for line, begin in found]
    jumps = [abs(line.jump_at_onset(begin)) for line, begin in found]
    exponents = [begin.exponent for _, begin in found]
    lowest = min(min(line.at, 1 / line.at) for line, _ in found)
    weak = sorted({round(min(line.at, 1 / line.at), 3) for line, change in small})
    (low, _), (high, _) = branches.tricritical_points()
    return [
        vanishes(f"{view.name}: importance at which a feature begins to be represented, at the density of its onset "
                 "(largest deviation, relative)", "closed form", float(np.max(off)), 5e-3,
                 note=f"{len(found)} lines, from importance {lowest:.3g} on"),
        vanishes(f"{view.name}: latent jump at an onset, d ln(loss) / d ln(density) (largest)", "hysteresis",
                 float(np.nanmax([*jumps, *(change.jump for _, change in small)])), NEGLIGIBLE,
                 note=f"{len(found)} lines on which the norm grows from 0 along one branch, with effective exponents "
                 f"{min(exponents):.2f} to {max(exponents):.2f}; {len(small)} transitions of first order with a small jump besides "
                 f"(importances {', '.join(map(str, weak)) or 'none'}). The cubic coefficient, in closed form, is positive "
                 f"between importances {low:.4f} and {high:.4f}: there the onset is continuous, outside of it the norm jumps, by little"),
    ]  # fmt: skip


def _critical_end(view: View) -> list[Claim]:
    """The importance from which on the first departure from one feature alone has no latent jump."""
    lines = [line for line in view.lines if line.at <= 1 and line.main is not None]
    if len(lines) < 4:
        return []
    position = np.array([line.main.position for line in lines if line.main])
    begins = np.array([_onset_of_dense(line) for line in lines])
    at = np.array([line.at for line in lines])
    step = max(line.step for line in lines)
    importance, error = analysis.meeting(at, np.log(begins / position), step / 10)
    jumps = [(line.at, _departure(line)) for line in lines]
    with_jump = [r for r, jump in jumps if jump >= NEGLIGIBLE]
    without = [r for r, jump in jumps if jump < NEGLIGIBLE]
    expected, density = branches.CRITICAL_END
    note = (
        f"± {error:.2g}: where the onset, at which one feature alone ceases to be a minimum, meets the transition to the "
        f"pair (density {density:g}); the latent jump of the first departure, coming from dense data, is "
        f"{NEGLIGIBLE:g} or more up to importance {max(with_jump, default=np.nan):.3g}, and less from "
        f"{min(without, default=np.nan):.3g} on"
    )
    apart = bool(with_jump and without) and max(with_jump) < min(without)
    found = [
        close(f"{view.name}: importance at which the first departure from one feature alone changes its order",
              REFERENCE, expected, importance, relative=5e-3, note=note, also=apart)
    ]  # fmt: skip
    return found


def _onset_of_dense(line: Line) -> float:
    """The density at which the falling branch leaves one feature alone: continuously, or as it ceases to exist."""
    begins = analysis.onsets(line.x, line.weaker[1])
    return begins[-1].position if begins else line.main.low if line.main else np.nan


def _departure(line: Line) -> float:
    """The latent jump of the first transition, coming from dense data, from one feature alone."""
    begins = [(begin.position, abs(line.jump_at_onset(begin))) for begin in line.onsets]
    begins += [(change.position, change.jump) for change in line.changes if line.beside(change, line.weaker)[1] < FIRST]
    return max(begins, default=(np.nan, 0.0))[1]


def _equal(view: View) -> list[Claim]:
    """Importance 1: features may be exchanged. Dense data leave one of them weaker, sparse data do not."""
    if not view.has_line(1.0) or (main := (line := view.line(1.0)).main) is None:
        return []
    dense = np.abs(np.diff(line.norm[1, main.first : main.last + 1], axis=-1)).min()
    sparse = np.abs(np.diff(line.norm[0, main.first : main.last + 1], axis=-1)).max()
    beyond = line.x > main.high
    everywhere = np.abs(np.diff(line.norm[1, beyond], axis=-1)).min() if beyond.any() else np.nan
    return [
        at_least(f"{view.name}: importance 1, difference of both norms on the dense side (smallest)", "symmetry", 0.1,
                 float(dense), note="either feature may be the weaker one: the solution breaks the symmetry of the "
                 f"problem, at every density from there on ({everywhere:.2f} at least)"),
        vanishes(f"{view.name}: importance 1, difference of both norms on the sparse side (largest)", "symmetry",
                 float(sparse), 0.01, note="the pair is symmetric, so that the transition restores the symmetry; its "
                 f"latent jump is {main.jump:.3f}, at density {main.position:.4f}"),
    ]  # fmt: skip


def _symmetry(view: View) -> list[Claim]:
    """Features change roles: what happens at importance r happens at 1/r, with losses that are 1/r times as large."""
    if view.along == "density":
        pairs = [(line, view.line(1 / line.at)) for line in view.lines if line.at < 0.999 and view.has_line(1 / line.at)]
        off = [np.log(one.main.position / other.main.position) for one, other in pairs if one.main and other.main]
    else:
        mirrored = [np.sort([np.log(change.position) for change in line.changes]) for line in view.lines]
        off = [value for found in mirrored for value in found + found[::-1]]
    if not len(off):
        return []
    return [
        vanishes(f"{view.name}: transitions at importances r and 1/r (largest deviation, relative)", "symmetry",
                 float(np.abs(off).max()), 1e-3, note=f"{len(off)} of them")
    ]  # fmt: skip


def _exchange(view: View) -> list[Claim]:
    """Along importance, at dense data, there is one transition at importance 1: the features change roles."""
    _, triple = _where_exchange_ends(view)
    dense = [line for line in view.lines if line.at > triple]
    single = [line for line in dense if len(_large(line)) == 1]
    sparse = [line for line in view.lines if line.at < triple]
    two = [line for line in sparse if len(_large(line)) == 2]
    found = []
    if dense:
        densest = max(dense, key=lambda line: line.at)
        jump = max((change.jump for change in densest.changes), default=np.nan)
        off = [abs(np.log(change.position)) for line in dense for change in _large(line)]
        found += [
            equal(f"{view.name}: densities above {triple:.3f} with a single transition of first order, of {len(dense)}",
                  "hysteresis", len(dense), len(single)),
            vanishes(f"{view.name}: its importance is 1 (largest deviation, relative)", "symmetry",
                     float(np.max(off, initial=0.0)), 1e-3,
                     note=f"the latent jump, d ln(loss) / d ln(importance), is {jump:.3f} at density {densest.at:.3g}; "
                     "of a linear model it is 1, though nothing coexists: its loss is v min(1, r)"),
        ]  # fmt: skip
    if sparse:
        found.append(
            equal(f"{view.name}: densities below {triple:.3f} with two transitions of first order, of {len(sparse)}",
                  "hysteresis", len(sparse), len(two))
        )  # fmt: skip
    return found


def _where_exchange_ends(view: View) -> tuple[float, float]:
    """Importance and density of the triple point, at which the two uneven solutions and the pair have equal losses: by
    bisection with the reference."""
    dense, sparse = 0.9, 0.5
    for _ in range(20):
        middle = (dense + sparse) / 2
        numbers = np.ones((2, 2)), np.full((2, 2), middle)
        W, b = np.array([[[0.93, -0.47]], [[0.75, -0.75]]]), middle * np.array([[0.25, 0.6], [0.4, 0.4]])
        uneven, pair = branches.relaxed(W, b, *numbers).loss
        dense, sparse = (dense, middle) if pair < uneven else (middle, sparse)
    return 1.0, dense


def _large(line: Line) -> list[Coexistence]:
    return [change for change in line.changes if change.jump >= NEGLIGIBLE]


def _both_ways(shown: Sequence[View]) -> list[Claim]:
    """The transitions along importance are those along density."""
    by_density, by_importance = ([view for view in shown if view.along == along] for along in ("density", "importance"))
    if not by_density or not by_importance:
        return []
    lines = [line for line in by_density[0].lines if line.main and line.at <= 1]
    if len(lines) < 4:
        return []
    r, s = np.array([line.at for line in lines]), np.array([line.main.position for line in lines if line.main])
    off = []
    for line in by_importance[0].lines:
        for change in _large(line):
            if change.position < 0.999 and s.min() < line.at < s.max():
                off.append(np.log(change.position) - np.interp(np.log(line.at), np.log(s), np.log(r)))
    if not off:
        return []
    bend = max(np.diff(np.log(r))) ** 2
    return [
        vanishes("along importance the transition is where it is along density (largest deviation of the importance, "
                 "relative)", "hysteresis", float(np.abs(off).max()), max(2e-3, float(bend)),
                 note=f"{len(off)} transitions, between the lines of the other case interpolated as straight")
    ]  # fmt: skip
