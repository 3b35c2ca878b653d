"""What is claimed of the order of the transitions: where it changes, and how the features change roles."""

from collections.abc import Sequence

import numpy as np

from superjax import analysis
from superjax.analysis import Coexistence
from superjax.reference import branches
from superjax.studies.claim import Claim, at_least, close, equal, vanishes
from superjax.studies.results import Results, known
from superjax.studies.transition_order.agreement import REFERENCE, agreements
from superjax.studies.transition_order.view import NEGLIGIBLE, Line, View, views

PAIRED = 0.5  # norm of the weaker feature from which both are represented
FIRST = 0.02  # norm of the weaker feature up to which one feature is represented alone


def claims(results: Results) -> list[Claim]:
    shown, found = views(known(results)), []
    for view in shown:
        found += [*agreements(view), *_symmetry(view)]
        if view.along == "density":
            found += [*_first_order(view), *_onsets(view), *_critical_end(view), *_equal(view)]
        else:
            found += _exchange(view)
    return [*found, *_both_ways(shown)]


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
        pairs = [
            (line, view.line(1 / line.at)) for line in view.lines if line.at < 0.999 and view.has_line(1 / line.at)
        ]
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
