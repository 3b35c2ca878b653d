"""What is claimed of learning in jumps: what the models end in, and what happens as the loss drops."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case
from superjax.studies.claim import Claim, close, equal, fraction, more_than
from superjax.studies.learning_dynamics.view import (
    ANTIPRISM,
    EVENTS,
    JUMP,
    LEVELS,
    ORTHOGONAL,
    SET,
    WITHIN,
    Course,
    Shape,
    courses,
    events,
    in_sets,
)
from superjax.studies.results import Results
from superjax.studies.solutions import names

SECTION = "Superposition and Learning Dynamics"
OCTAHEDRON = "3 digons"  # as a tegum product
_NEAR = 0.02  # of a level of dimensionality
_AT_A_LEVEL = 0.03  # of a level, beside a jump
_ANTIPODAL = -0.95  # cosine
_AT_ONCE = 1.25  # factor between two steps
_TYPICAL = "typical is the median of the snapshots"
_SEEDS = "the fraction in the packaged sweep with seeds 0 to 4 (2 to 4 with fewer restarts):"


def claims(results: Results) -> list[Claim]:
    found = []
    for name, data in results.datasets.items():
        if not courses(data):
            continue
        elif in_sets(results, name):
            found += _octahedron(name, results.sweep.cases[name], data)
        else:
            found += _energy_levels(name, data)
    return found


def _energy_levels(name: str, data: xr.Dataset) -> list[Claim]:
    digons = f"{data.attrs['n_hidden']} digons"
    solution = names(data)[data["solution"].values]
    represented = data["norm"].values >= data["phase"].attrs["represented"]
    near = np.abs(data["dimensionality"].values - 0.5)[represented] < _NEAR
    return [
        equal(f"{name}: what the best model ends in", SECTION, digons, solution[int(data["best"])],
              tolerance=analysis.TOLERANCE, kind="paper",
              note=f"so do {np.mean(solution == digons):.0%} of {len(solution)} restarts"),
        _share(f"{name}: represented features that end within {_NEAR} of dimensionality 1/2", near, 0.1,
               f"of {represented.size} features of all restarts {near.size} are represented"),
        _jumps(name, list(courses(data).values())),
        *_between_levels(name, list(courses(data).values())),
        *_at_drops(name, list(courses(data).values())),
        _replaced(name, data),
    ]  # fmt: skip


def _jumps(name: str, of: list[Course]) -> Claim:
    """Whether features jump, which smooth curves of the same ends do not."""
    found = [course.jumps() for course in of]
    real, smooth = np.concatenate([jumps.real for jumps in found]), np.concatenate([jumps.smooth for jumps in found])
    change = np.concatenate([jumps.change for jumps in found])
    others = []
    for factor in (1.25, 2.0):
        wider = [course.jumps(factor) for course in of]
        both = [np.mean(np.concatenate(values) >= JUMP)
                for values in zip(*((jumps.change, jumps.smooth) for jumps in wider), strict=True)]  # fmt: skip
        others.append(
            f"{both[0]:.2f} and {both[1]:.2f} within a factor of {factor:g} (difference {both[0] - both[1]:.2f})"
        )
    levels = np.concatenate([course.dimensionality[jumps.window[0] :].max(0) for course, jumps in
                             zip(of, found, strict=True)])  # fmt: skip
    return more_than(
        f"{name}: features that jump, less those that would if they went the same way smoothly (fraction)", SECTION,
        0.5, float(np.mean(real) - np.mean(smooth >= JUMP)), kind="paper",
        note=f"most do: {np.mean(real):.2f} of {len(real)} features, {np.mean(smooth >= JUMP):.2f} of smooth curves; a "
        f"jump is a change of D_i by {JUMP:g} (2/5 to 1/2) within a factor of {WITHIN:g} in steps, a smooth curve is "
        "logistic in ln(steps) from where learning begins to where all features have settled; the largest change is "
        f"{np.median(change):.3f} and {np.median(smooth):.3f} (medians); of features and of smooth curves jump "
        f"{', '.join(others)}: the factor was chosen of these three; "
        f"{np.mean(levels[~real] < 2 * JUMP):.2f} of the features that do not jump never have a "
        f"D_i of {2 * JUMP:g}",
    )  # fmt: skip


def _between_levels(name: str, of: list[Course]) -> list[Claim]:
    """Whether jumps lead from one level of dimensionality to another, and how near to levels features are anyway."""
    jumps = [course.jumps() for course in of]
    around = [course.around_jumps(found) for course, found in zip(of, jumps, strict=True)]
    before, after = (np.concatenate(ends) for ends in zip(*around, strict=True))
    if not len(before):
        return []
    learning = np.concatenate([course.dimensionality[slice(*found.window)].ravel() for course, found in
                               zip(of, jumps, strict=True)])  # fmt: skip
    levels = np.array(list(LEVELS))
    begin, end, anyway = (np.abs(D[:, None] - levels).min(1) < _AT_A_LEVEL for D in (before, after, learning))
    return [
        _share(f"{name}: jumps that lead from one level of dimensionality to another", begin & end, 0.1,
               f"{np.mean(begin):.2f} begin within {_AT_A_LEVEL} of a level, from {before.min():.2f} to "
               f"{before.max():.2f}; {np.mean(end):.2f} end there, {np.mean(np.abs(after) < _AT_A_LEVEL):.2f} at 0 and "
               f"{np.mean(np.abs(after - 0.5) < _AT_A_LEVEL):.2f} at 1/2; of all features and snapshots while the "
               f"models learn {np.mean(anyway):.2f} are as near to one: features jump to levels, not from them"),
        more_than(f"{name}: jumps that end at a level, less all snapshots that are at one (fraction)", SECTION, 0.1,
                  float(np.mean(end) - np.mean(anyway)), kind="paper",
                  note=f"levels: {', '.join(LEVELS.values())}; within {_AT_A_LEVEL}"),
    ]  # fmt: skip


def _at_drops(name: str, of: list[Course]) -> list[Claim]:
    """Whether features jump as the loss drops, from the first jump to the last."""
    slow: list[str] = []
    fast, moved, near_drop, chance, earlier = [], [], [], [], 0
    for course in of:
        jumps = course.jumps()
        at = jumps.at[jumps.real]
        if not at.size:
            continue
        first, last = int(at.min()), int(at.max())
        fast += list(course.falling[at] > course.typical(first, last))
        near_drop += list(course.near_drops(at, _AT_ONCE))
        chance.append(course.near_drops(np.arange(first, last + 1), _AT_ONCE).mean())
        moving = np.abs(analysis.speed(course.step, course.dimensionality)).mean(1)
        inside = course.drops[(course.drops >= first) & (course.drops <= last)]
        earlier += len(course.drops) - len(inside)
        quick = moving[inside] > np.median(moving[first : last + 1])
        moved += list(quick)
        slow += [f"{step:.0f}" for step in course.step[inside][~quick]]
    by_chance = float(np.mean(chance)) if chance else 0.0
    return [
        _share(f"{name}: jumps of features at which the loss falls faster than typical", fast, 0.1,
               f"{len(fast)} jumps; {_TYPICAL} from the first jump to the last, so that half of these are such; "
               f"{np.mean(near_drop or [0]):.2f} of the jumps are within a factor of {_AT_ONCE:g} in steps of a drop, "
               f"and {by_chance:.2f} of all snapshots there: features jump one after another, also "
               f"between drops; {_SEEDS} .55 to .68"),
        _share(f"{name}: drops of the loss at which features move faster than typical", moved, 0.1,
               f"{len(moved)} drops from the first jump to the last, where typical is the median; {earlier} others are "
               f"before or after; at steps {', '.join(slow) or 'none'} the loss drops and the dimensionalities change "
               f"slower than that; {_SEEDS} .50 to .75, the others mostly the first drop"),
    ]  # fmt: skip


def _replaced(name: str, data: xr.Dataset) -> Claim:
    threshold, counts = data["phase"].attrs["represented"], []
    for course in courses(data).values():
        norm = analysis.norm(course.W)
        counts.append(int(((norm.max(0) >= threshold) & (norm[-1] < threshold)).sum()))
    return fraction(
        f"{name}: restarts in which features lose their place to others (fraction)", "what is left out in the end",
        float(np.mean(np.array(counts) > 0)), 0.1,
        note=f"represented once and not in the end, by restart: {', '.join(map(str, counts))}",
    )  # fmt: skip


def _octahedron(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    solution = names(data)[data["solution"].values]
    best, density = int(data["best"]), np.array(case.density_vector())
    unit = float(np.prod(density[::SET]) * np.sum(case.importance_vector()) / 6)
    loss = float(data["loss"][best])
    others = [f"{word} ({(solution == word).sum()})" for word in sorted(set(solution) - {OCTAHEDRON})]
    found = [
        equal(f"{name}: what the best model ends in, an octahedron being 3 digons", SECTION, OCTAHEDRON, solution[best],
              tolerance=analysis.TOLERANCE, kind="paper",
              note=f"deviation from the ideal {float(data['solution_deviation'][best]):.3f}"),
        _share(f"{name}: restarts that end in the octahedron", solution == OCTAHEDRON, 0.1,
               f"others: {', '.join(others) or 'none'}"),
        close(f"{name}: loss of the best model", "octahedron of unit vectors without biases: s² Σ I_i / 6", unit, loss,
              relative=0.02,
              note=f"quadrature error of the stored losses up to {data['loss'].attrs['loss_error']:.1%}"),
    ]  # fmt: skip
    reached = [course for restart, course in courses(data).items() if solution[restart] == OCTAHEDRON]
    return found + (_stages(name, float(density.mean()), reached) if reached else [])


def _stages(name: str, density: float, reached: list[Course]) -> list[Claim]:
    """What happens on the way to the octahedron, in the models that end in it. That triangles come before the antiprism
    is measured by the turn: partners' cosines are those of a prism only once the triangles are parallel."""
    apart, fast, drops, steps, plateau_norm, plateau_loss, factors = [], [], [], [], [], [], []
    together, turns, partners_then, partners, gains = [], [], [], [], []
    for course in reached:
        at, shape = events(course), Shape.of(course.W)
        own, middle = np.array(at[: len(EVENTS)]), course.between(at.separate, at.opened)
        when = course.step[[at.separate, at.opened, at.triangles, at.antiprism]]
        steps.append(when)
        apart.append(bool((when[1:] > _AT_ONCE * when[:-1]).all()))
        factors.append(when[3] / when[2])
        fast.append(course.falling[own] > course.typical(at.separate, at.antiprism))
        drops += [bool(np.abs(np.log(course.step[own] / step)).min() <= np.log(_AT_ONCE))
                  for step in course.step[course.drops]]  # fmt: skip
        plateau_norm.append(analysis.norm(course.W[middle]).mean())
        plateau_loss.append(course.loss[middle])
        together.append(shape.within[middle].min())
        turns.append(shape.turn[at.triangles])
        partners_then.append(shape.partner[at.triangles].mean())
        partners.append(shape.partner[-1])
        left = course.loss[[middle, at.triangles, -1]]
        gains.append(1 - left[1:] / left[:-1])
    norm, loss, third = float(np.median(plateau_norm)), float(np.median(plateau_loss)), theory.mean_square(density)
    to_triangles, after = np.median(gains, axis=0)
    stages = zip(("separate", "open", "triangles", "antiprism"), np.median(steps, axis=0), strict=True)
    medians = ", ".join(f"{word} at step {step:.0f}" for word, step in stages)
    return [
        _share(f"{name}: restarts in which the sets separate, then open, then are triangles, then an antiprism", apart,
               0.1, f"each by a factor of {_AT_ONCE:g} in steps or more after the one before; {medians} (medians); "
               f"triangles: all cosines within sets below {ORTHOGONAL:g}; antiprism: one is turned against the other "
               f"by {ANTIPRISM:.0f} degrees of 60"),
        _share(f"{name}: restarts in which the triangles are not half turned when they are there", np.array(turns) < 30,
               0.1, f"of 60 degrees between prism and antiprism they are turned by {min(turns):.0f} to "
               f"{max(turns):.0f} (median {np.median(turns):.0f}), as chance left them; the mean cosine of partners, "
               f"-2/3 in a prism and -1 in an antiprism, is {min(partners_then):.2f} to {max(partners_then):.2f}; they "
               f"are an antiprism {min(factors):.1f} to {max(factors):.1f} times later in steps; {_SEEDS} .80 "
               "to 1: it is chance"),
        *(_share(f"{name}: {event}, and the loss falls faster than typical", quick, 0.1,
                 f"{_TYPICAL} from the separation to the antiprism; the loss falls by {to_triangles:.0%} from the "
                 f"separate sets to triangles, and by {after:.0%} after that (medians); "
                 f"{_SEEDS} {'.40 to 1: most of the loss is gone before the turn' if event == EVENTS[-1] else '1'}")
          for event, quick in zip(EVENTS, np.transpose(fast), strict=True)),
        _share(f"{name}: drops of the loss that are at one of these four", drops, 0.1,
               f"{len(drops)} drops; at is within a factor of {_AT_ONCE:g} in steps; {_SEEDS} "
               ".88 to .94, most of the others being where the last pairs open, before all cosines are as "
               f"low as {ORTHOGONAL:g}"),
        close(f"{name}: cosine of features of the same set when the sets are separate (lowest of all)", SECTION, 1.0,
              float(min(together)), absolute=0.05, note="halfway to their opening", kind="paper"),
        close(f"{name}: norm of the features then (median)", "least squares, one direction a set: 1/√3", 3**-0.5, norm,
              relative=0.02),
        close(f"{name}: loss then (median)", "least squares, two orthogonal directions: s/3", third, loss,
              relative=0.05),
        _share(f"{name}: features that end antipodal to one of the other set", np.array(partners) < _ANTIPODAL, 0.02,
               f"cosine below {_ANTIPODAL:g}; the highest is {np.max(partners):.3f}"),
    ]  # fmt: skip


def _share(claim: str, which: ArrayLike, tolerance: float, note: str) -> Claim:
    """A claim of the paper that all of some things are so; the measured fraction is 0 if there are none."""
    share = float(np.mean(which)) if np.size(which) else 0.0
    return fraction(f"{claim} (fraction)", SECTION, share, tolerance, note=note, kind="paper")
