"""What is claimed of learning in jumps: what the models end in, and what happens as the loss drops."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case
from superjax.studies.claim import Claim, close, equal, fraction, more_than, vanishes
from superjax.studies.learning_dynamics.view import EVENTS, ORTHOGONAL, SET, Course, Shape, courses, events, in_sets
from superjax.studies.results import Results
from superjax.studies.solutions import names

SECTION = "Superposition and Learning Dynamics"
OCTAHEDRON = "3 digons"  # as a tegum product
_NEAR = 0.02  # of a level of dimensionality
_ANTIPODAL = -0.95  # cosine
_AT_ONCE = 1.25  # factor between two steps
_TYPICAL = "typical is the median over all snapshots"


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
    threshold = data["phase"].attrs["represented"]
    digons = f"{data.attrs['n_hidden']} digons"
    solution = names(data)[data["solution"].values]
    best = solution[int(data["best"])]
    represented = data["norm"].values >= threshold
    near = np.abs(data["dimensionality"].values - 0.5)[represented] < _NEAR
    slow: list[str] = []
    fast, others, moved, replaced, by_chance, near_drop = [], [], [], [], [], []
    for course in courses(data).values():
        fast += list(course.falls_fast(course.jumps))
        by_chance += list(course.falls_fast(np.arange(course.jumps.min(), course.jumps.max() + 1)))
        near_drop += list(course.near_drops(course.jumps, _AT_ONCE))
        apart = np.abs(np.subtract.outer(*[np.log(course.step[course.jumps])] * 2))
        others += list((apart <= np.log(_AT_ONCE)).sum(0) - 1)
        moving = np.abs(analysis.speed(course.step, course.dimensionality)).mean(1)
        moved += list(moving[course.drops] > np.median(moving))
        slow += [f"{step:.0f}" for step in course.step[course.drops][moving[course.drops] <= np.median(moving)]]
        norm = analysis.norm(course.W)
        replaced.append(int(((norm.max(0) >= threshold) & (norm[-1] < threshold)).sum()))
    return [
        equal(f"{name}: what the best model ends in", SECTION, digons, best, tolerance=analysis.TOLERANCE,
              note=f"so do {np.mean(solution == digons):.0%} of {len(solution)} restarts"),
        _share(f"{name}: represented features that end within {_NEAR} of dimensionality 1/2", near, 0.1,
               f"of {represented.size} features of all restarts {near.size} are represented"),
        _share(f"{name}: jumps of features at which the loss falls faster than typical", fast, 0.1,
               f"{np.mean(by_chance):.2f} of all snapshots between first and last jump are such, and "
               f"{np.mean(near_drop):.2f} of the jumps are within a factor of {_AT_ONCE:g} in steps of a drop; "
               f"{len(fast)} jumps, a feature's being where its dimensionality changes fastest; {_TYPICAL}; within a "
               f"factor of {_AT_ONCE:g} in steps {_median(others, fast)} others jump, "
               f"{_median(others, ~np.array(fast))} where the loss does not fall so fast (medians)"),
        _share(f"{name}: drops of the loss at which features move faster than typical", moved, 0.1,
               f"{len(moved)} drops; {_TYPICAL}; at steps {', '.join(slow) or 'none'} the loss drops by norms and "
               "biases, the dimensionalities changing slower than that"),
        more_than(f"{name}: restarts in which features lose their place to others", SECTION, 0,
                  sum(count > 0 for count in replaced),
                  note=f"represented once and not in the end, by restart: {', '.join(map(str, replaced))}"),
    ]  # fmt: skip


def _octahedron(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    solution = names(data)[data["solution"].values]
    best, density = int(data["best"]), np.array(case.density_vector())
    unit = float(np.prod(density[::SET]) * np.sum(case.importance_vector()) / 6)
    loss = float(data["loss"][best])
    others = [f"{word} ({(solution == word).sum()})" for word in sorted(set(solution) - {OCTAHEDRON})]
    found = [
        equal(f"{name}: what the best model ends in, an octahedron being 3 digons", SECTION, OCTAHEDRON, solution[best],
              tolerance=analysis.TOLERANCE,
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
    """What happens on the way to the octahedron, in the models that end in it."""
    ordered, fast, drops, steps, plateau_norm, plateau_loss, by_chance = [], [], [], [], [], [], []
    together, uneven, triangles_first, partners = [], [], [], []
    for course in reached:
        at = events(course)
        own = course.step[list(at[: len(EVENTS)])]
        shape, middle = Shape.of(course.W), course.between(at.separate, at.opened)
        steps.append(own)
        ordered.append(bool((np.diff(own) > 0).all()))
        fast.append(course.falls_fast(np.array(at[: len(EVENTS)])))
        by_chance += list(course.falls_fast(np.arange(min(at[: len(EVENTS)]), max(at[: len(EVENTS)]) + 1)))
        drops += [bool(np.abs(np.log(own / step)).min() <= np.log(_AT_ONCE)) for step in course.step[course.drops]]
        plateau_norm.append(analysis.norm(course.W[middle]).mean())
        plateau_loss.append(course.loss[middle])
        together.append(shape.within[middle].min())
        uneven.append(np.ptp(shape.within[at.turned]))
        triangles_first.append(shape.partner[at.triangles].mean() > _ANTIPODAL)
        partners.append(shape.partner[-1])
    norm, loss, third = float(np.median(plateau_norm)), float(np.median(plateau_loss)), theory.mean_square(density)
    when = [f"{event} at step {step:.0f}" for event, step in zip(EVENTS, np.median(steps, axis=0), strict=True)]
    return [
        _share(f"{name}: restarts in which the sets separate, then open, then are triangles, then turn", ordered, 0.1,
               f"{', '.join(when)} (medians)"),
        *(_share(f"{name}: {event}, and the loss falls faster than typical", quick, 0.1, _TYPICAL)
          for event, quick in zip(EVENTS, np.transpose(fast), strict=True)),
        _share(f"{name}: drops of the loss that are at one of these four", drops, 0.1,
               f"{len(drops)} drops; at is within a factor of {_AT_ONCE:g} in steps; {np.mean(by_chance):.2f} of all "
               "snapshots from the first to the last of the four fall faster than typical"),
        close(f"{name}: cosine of features of the same set when the sets are separate (lowest of all)", SECTION, 1.0,
              float(min(together)), absolute=0.05, note="halfway to their opening"),
        close(f"{name}: norm of the features then (median)", "least squares, one direction a set: 1/√3", 3**-0.5, norm,
              relative=0.02),
        close(f"{name}: loss then (median)", "least squares, two orthogonal directions: s/3", third, loss,
              relative=0.05),
        vanishes(f"{name}: largest difference of two cosines within sets when the triangles turn (of any restart)",
                 SECTION, float(max(uneven)), ORTHOGONAL,
                 note=f"equal cosines make equilateral triangles; median {np.median(uneven):.2f}, above {ORTHOGONAL:g} "
                 f"in {np.sum(np.array(uneven) > ORTHOGONAL)} of {len(uneven)} restarts, which turn before the "
                 "triangles are quite complete"),
        _share(f"{name}: restarts in which triangles are there before the octahedron", triangles_first, 0.1,
               f"mean cosine of partners above {_ANTIPODAL:g} when all cosines within sets first fall below "
               f"{ORTHOGONAL:g}"),
        _share(f"{name}: features that end antipodal to one of the other set", np.array(partners) < _ANTIPODAL, 0.02,
               f"cosine below {_ANTIPODAL:g}; the highest is {np.max(partners):.3f}"),
    ]  # fmt: skip


def _share(claim: str, which: ArrayLike, tolerance: float, note: str) -> Claim:
    """A claim that all of some things are so; the measured fraction is 0 if there are none."""
    share = float(np.mean(which)) if np.size(which) else 0.0
    return fraction(f"{claim} (fraction)", SECTION, share, tolerance, note=note)


def _median(values: ArrayLike, which: ArrayLike) -> str:
    chosen = np.asarray(values)[np.asarray(which, bool)]
    return f"{np.median(chosen):g}" if len(chosen) else "no"
