"""What is claimed of the order of the transitions: where it changes, and how the features change roles."""

from collections.abc import Sequence

import numpy as np
from scipy import interpolate

from superjax import analysis
from superjax.reference import branches
from superjax.studies.claim import Claim, at_least, close, equal, vanishes
from superjax.studies.results import Results, known
from superjax.studies.transition_order.agreement import REFERENCE, agreements
from superjax.studies.transition_order.view import NEGLIGIBLE, Line, View, views

SOURCE = "hysteresis"
PAIRED = 0.5  # norm of the weaker feature from which both are represented
FIRST = 0.02  # norm of the weaker feature up to which one feature is represented alone
DENSE = 0.71  # density above which the optimum at importance 1 is uneven, and below which it is even: 0.7066


def claims(results: Results) -> list[Claim]:
    shown, found = views(known(results)), []
    for view in shown:
        found += [*agreements(view), *_symmetry(view)]
        if view.along == "density":
            found += [*_first_order(view), *_onsets(view), *_critical_end(view), *_equal(view)]
        else:
            found += _exchange(view)
    return [*found, *_both_ways(shown)]


def _less(line: Line) -> float:
    """The importance of a line along density, or one over it: of the less important feature, relative to the other."""
    return min(line.at, 1 / line.at)


def _first_order(view: View) -> list[Claim]:
    """Every line has a transition of first order, to a pair of features that are both represented."""
    with_it = [line for line in view.lines if line.large]
    found = [
        equal(f"{view.name}: importances with a transition of first order, of {len(view.lines)}", SOURCE,
              len(view.lines), len(with_it), note=f"with a latent jump of {NEGLIGIBLE:g} or more")
    ]  # fmt: skip
    if not with_it:
        return found
    jumps = {line.main.jump: line.at for line in with_it if line.main}
    sparse, dense = zip(*(line.beside(line.main, line.weaker) for line in with_it if line.main), strict=True)
    return [
        *found,
        at_least(f"{view.name}: latent jump of that transition, d ln(loss) / d ln(density) (smallest)", SOURCE,
                 NEGLIGIBLE, min(jumps),
                 note=f"at importance {jumps[min(jumps)]:.3g}; the largest is {max(jumps):.3f}, at "
                 f"{jumps[max(jumps)]:.3g}"),
        at_least(f"{view.name}: norm of the weaker feature on the sparse side of it (smallest)", SOURCE, PAIRED,
                 min(sparse), note=f"it jumps from {min(dense):.2f} ... {max(dense):.2f} to {min(sparse):.2f} ... "
                 f"{max(sparse):.2f}"),
    ]  # fmt: skip


def _onsets(view: View) -> list[Claim]:
    """Where the weaker feature begins to be represented without a latent jump: where, and how continuously."""
    begins = [(line, begin) for line in view.lines for begin in line.onsets]
    weak = [(line, change) for line in view.lines for change in line.changes if change.jump < NEGLIGIBLE]
    if not begins:
        return []
    off = [abs(np.log(branches.onset_importance(begin.position) / _less(line))) for line, begin in begins]
    jumps = [abs(line.jump_at_onset(begin)) for line, begin in begins] + [change.jump for _, change in weak]
    exponents = [begin.exponent for _, begin in begins]
    which = ", ".join(f"{r:.3g}" for r in sorted({round(_less(line), 4) for line, _ in weak})) or "none"
    (low, _), (high, _) = branches.tricritical_points()
    return [
        vanishes(f"{view.name}: importance at which a feature begins to be represented, at the density of its onset "
                 "(largest deviation, relative)", "closed form", max(off), 5e-3,
                 note=f"{len(begins)} lines, from importance {min(_less(line) for line, _ in begins):.3g} on"),
        vanishes(f"{view.name}: latent jump at an onset, d ln(loss) / d ln(density) (largest)", SOURCE,
                 float(np.nanmax(jumps)), NEGLIGIBLE,
                 note=f"the norm grows from 0 on {len(begins)} lines, with effective exponents {min(exponents):.2f} to "
                 f"{max(exponents):.2f}; {len(weak)} transitions of first order with a small jump besides (importances "
                 f"{which}). In closed form the onset is continuous between importances {low:.4f} and {high:.4f}, and "
                 "outside of them the norm jumps, by little"),
    ]  # fmt: skip


def _critical_end(view: View) -> list[Claim]:
    """The importance from which on the first departure from one feature alone has no latent jump."""
    lines = [line for line in view.lines if line.at <= 1.001 and line.large]
    if len(lines) < 4:
        return []
    at, position = np.array([(line.at, line.main.position) for line in lines if line.main]).T
    begins = np.array([_begins(line) for line in lines])
    error = max(line.step for line in lines) / 2
    importance, off = analysis.meeting(at, np.log(begins / position), error)
    jumps = np.array([_departure(line) for line in lines])
    with_jump, without = at[jumps >= NEGLIGIBLE], at[jumps < NEGLIGIBLE]
    expected, density = branches.CRITICAL_END
    parted = bool(len(with_jump) and len(without) and with_jump.max() < without.min())
    ends = f"{with_jump.max(initial=0):.3g} and from {without.min(initial=np.inf):.3g} on"
    return [
        close(f"{view.name}: importance at which the first departure from one feature alone changes its order",
              REFERENCE, expected, importance, relative=max(5e-3, 2 * off / expected), also=parted,
              note=f"± {off:.1g}: where the onset, at which one feature alone ceases to be a minimum, meets the "
              f"transition to the pair (reference: density {density:g}). "
              f"Coming from dense data, the first departure has a latent "
              f"jump of {NEGLIGIBLE:g} or more up to importance {ends} a smaller one")
    ]  # fmt: skip


def _begins(line: Line) -> float:
    """The density at which the falling branch leaves one feature alone: its onset, or the middle of two points. NaN if
    it is never alone."""
    alone = line.weaker[1] <= FIRST
    if not alone[-1] or alone.all():
        return np.nan
    last = int(np.flatnonzero(~alone)[-1])
    middle = float(np.sqrt(line.x[last] * line.x[last + 1]))
    begins = [begin.position for begin in analysis.onsets(line.x, line.weaker[1])]
    return min(begins, key=lambda begin: abs(np.log(begin / middle)), default=middle)


def _departure(line: Line) -> float:
    """The latent jump of the first transition, coming from dense data, from one feature alone, 0 without."""
    found = [(begin.position, abs(line.jump_at_onset(begin))) for begin in line.onsets]
    found += [(change.position, change.jump) for change in line.changes if line.beside(change, line.weaker)[1] < FIRST]
    return max(found, default=(np.nan, 0.0))[1]


def _equal(view: View) -> list[Claim]:
    """Importance 1: features may be exchanged. Dense data leave one of them weaker, sparse data do not."""
    if not view.has_line(1.0) or not (line := view.line(1.0)).large or (main := line.main) is None:
        return []
    part = slice(main.first, main.last + 1)
    sparse, dense = (np.abs(np.diff(line.norm[k], axis=-1))[:, 0] for k in (0, 1))
    return [
        at_least(f"{view.name}: importance 1, difference of both norms on the dense side of the transition", "symmetry",
                 0.1, float(dense[part].min()), note="either feature may be the weaker one: the solution breaks the "
                 "symmetry of the problem, and does so at all densities from there on (by "
                 f"{dense[main.first :].min():.2f} or more)"),
        vanishes(f"{view.name}: importance 1, difference of both norms on the sparse side", "symmetry",
                 float(sparse[part].max()), 0.02, note="the pair is even: the transition restores the symmetry, and is "
                 f"of first order, with a latent jump of {main.jump:.3f} at density {main.position:.4f}"),
    ]  # fmt: skip


def _symmetry(view: View) -> list[Claim]:
    """Features change roles: what happens at importance r happens at 1/r."""
    if view.along == "density":
        less = [line for line in view.lines if line.at < 0.999 and view.has_line(1 / line.at)]
        pairs = [(line.main, view.line(1 / line.at).main) for line in less]
        off = [np.log(one.position / other.position) for one, other in pairs if one and other]
    else:
        mirrored = [np.sort([np.log(change.position) for change in line.large]) for line in view.lines]
        off = [value for found in mirrored for value in found + found[::-1]]
    if not off:
        return []
    return [
        vanishes(f"{view.name}: transitions at importances r and 1/r (largest deviation, relative)", "symmetry",
                 float(np.abs(off).max()), 1e-3, note=f"{len(off)} compared")
    ]  # fmt: skip


def _exchange(view: View) -> list[Claim]:
    """Along importance: where data are dense one transition, at which the features change roles; where they are sparse
    two, to the pair and from it."""
    found = []
    for words, lines, count in (
        (f"above {DENSE:g} with one transition", [line for line in view.lines if line.at > DENSE], 1),
        (f"below {DENSE - 0.01:g} with two transitions", [line for line in view.lines if line.at < DENSE - 0.01], 2),
    ):
        if lines:
            right = [line for line in lines if len(line.large) == count]
            found.append(
                equal(f"{view.name}: densities {words} of first order along importance, of {len(lines)}",
                      SOURCE, len(lines), len(right))
            )  # fmt: skip
    dense = [(line, change) for line in view.lines if line.at > DENSE for change in line.large]
    if dense:
        line, change = max(dense, key=lambda pair: pair[0].at)
        found.append(
            vanishes(f"{view.name}: the single one is at importance 1 (largest deviation, relative)", "symmetry",
                     max(abs(np.log(change.position)) for _, change in dense), 1e-3,
                     note="there the features change roles: the latent jump, d ln(loss) / d ln(importance), is "
                     f"{change.jump:.3f} at density {line.at:.3g}. In a linear model it is 1 without any hysteresis: "
                     "its loss is v min(1, r), and at importance 1 every direction is as good")
        )  # fmt: skip
    return found


def _both_ways(shown: Sequence[View]) -> list[Claim]:
    """The transitions along importance are those along density."""
    ways = {view.along: view for view in shown}
    if len(ways) < 2:
        return []
    known = [
        (line.at, line.main.position) for line in ways["density"].lines if line.large and line.main and line.at <= 1.001
    ]
    if len(known) < 4:
        return []
    r, s = np.log(np.array(known)).T
    between = interpolate.PchipInterpolator(s, r)
    off = [
        np.log(change.position) - float(between(np.log(line.at)))
        for line in ways["importance"].lines
        for change in line.large
        if change.position < 0.999 and s.min() < np.log(line.at) < s.max()
    ]
    if not off:
        return []
    allowed = max(2e-3, float(np.diff(r).max()) ** 2 / 2)
    return [
        vanishes("transitions along importance are where they are along density (largest deviation of the importance, "
                 "relative)", SOURCE, float(np.abs(off).max()), allowed,
                 note=f"{len(off)} transitions, "
                 "between the importances of the other case interpolated by cubics")
    ]  # fmt: skip
