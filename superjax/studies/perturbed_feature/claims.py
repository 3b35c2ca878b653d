"""What is claimed of a perturbed feature: how the pentagon deforms, where the families cross, and what the best fit is
on either side."""

import numpy as np

from superjax import analysis
from superjax.reference import oracle
from superjax.spec.grid import Grid
from superjax.studies.claim import Claim, at_least, close, equal, less_than, more_than, vanishes
from superjax.studies.perturbed_feature.view import FAMILIES, View, views
from superjax.studies.results import Results, known
from superjax.studies.solutions import best, best_names

SECTION = "Non-Uniform Superposition"
CROSSINGS = {0.05: 3.7, 0.09: 2.5}  # how many times sparser the perturbed feature is there, by baseline density
PAPER_CROSSING = 2.5
SAME = 5e-3  # relative difference of losses up to which they are those of one solution
REGULAR = 72.0  # degrees between neighbours in a regular pentagon
UNPERTURBED = {"norm": 1.134, "bias": -0.246, "pentagon": 0.008904, "digons": 0.017705}  # at density 0.05


def claims(results: Results) -> list[Claim]:
    results = known(results)
    found = []
    shown = views(results)
    ratios = {view.baseline: view.baseline / view.crossing() for view in shown}
    for view in shown:
        found += [*_crossing(view, ratios), *_first_order(view), *_deformation(view), *_sides(view), *_best(view)]
        if np.isclose(view.baseline, 0.05):
            found += _unperturbed(view)
    ratios = {baseline: ratio for baseline, ratio in ratios.items() if np.isfinite(ratio)}
    if len(ratios) > 1:
        in_order = [ratios[baseline] for baseline in sorted(ratios)]
        found.append(
            Claim("the sparser the baseline, the sparser the perturbed feature must be, relative to it",
                  "exact loss", "decreasing with the baseline density", in_order, 0,
                  bool(np.all(np.diff(in_order) < 0)), f"at baselines {sorted(ratios)}")
        )  # fmt: skip
    return found


def _crossing(view: View, ratios: dict[float, float]) -> list[Claim]:
    """Where the two loss curves cross, beside the derived value and the paper's."""
    expected = next((ratio for baseline, ratio in CROSSINGS.items() if np.isclose(baseline, view.baseline)), None)
    if expected is None:
        return []
    measured = ratios[view.baseline]
    what = f"{view.name}: how many times sparser than the others the feature is where pentagon and digons cross"
    # interpolated between two points whose losses cross
    near, paper = (max(tolerance, view.step / 4) for tolerance in (0.05, 0.1))
    note = f"at density {view.crossing():.4g}" if np.isfinite(measured) else "the losses do not cross within the sweep"
    found = [close(what, "exact loss, derived", expected, measured, relative=near, tolerance=f"{near:.0%}", note=note)]
    if np.isclose(view.baseline, 0.05):
        like_paper = [f"{b:g}: {r:.2f}" for b, r in sorted(ratios.items())]
        found.append(
            close(what, SECTION, PAPER_CROSSING, measured, relative=paper, tolerance=f"{paper:.0%}",
                  note="the losses cross elsewhere at the paper's baseline density; measured ratios by baseline "
                  f"density are {', '.join(like_paper)}, so that the paper's belongs to a denser baseline",
                  kind="paper")
        )  # fmt: skip
    return found


def _first_order(view: View) -> list[Claim]:
    """The solutions change because the losses of two minima cross: both are there, and the order changes once."""
    losses = np.array([view.own_loss(family) for family in FAMILIES])
    both = np.asarray(np.isfinite(losses).all(0))
    if both.sum() < 2:
        return []
    order = np.argsort(view.density)
    order = order[both[order]]  # from sparse to dense
    lower = losses[:, order].argmin(0)
    sides = np.split(order, np.flatnonzero(np.diff(lower)) + 1)
    found = [FAMILIES[losses[:, points[0]].argmin()] for points in sides]
    ends = [f"{view.density[points[0]]:.3g} to {view.density[points[-1]]:.3g}" for points in sides]
    slopes = analysis.speed(view.density[order], np.log(losses[:, order].T))
    pentagon, digons = slopes[int(np.argmin(np.abs(losses[1, order] / losses[0, order] - 1)))]
    return [
        equal(f"{view.name}: where both are minima, the lower one from sparse to dense: the losses cross once",
              SECTION, ["digons", "pentagon"], found, kind="paper",
              note=f"at densities {', '.join(f'{end} {family}' for end, family in zip(ends, found, strict=True))}; "
              f"where they cross d ln(loss) / d ln(density) is {digons:.2f} of the digons and {pentagon:.2f} of the "
              "pentagon, so that the slope of the lowest loss jumps: a transition of first order")
    ]  # fmt: skip


def _deformation(view: View) -> list[Claim]:
    """How the pentagon makes room: neighbours come nearer to a sparser feature, and draw back from a denser one."""
    angle, density = view.neighbours(), view.density
    lowest = np.fmin(view.data["loss"].min("restart").values, view.own_loss("digons"))
    best = np.isfinite(angle) & (view.loss("pentagon") <= lowest * (1 + SAME))
    norm = view.data["family_norm"].sel(family="pentagon").values
    own, others = norm[:, view.feature], np.delete(norm, view.feature, axis=-1).mean(-1)
    found = []
    for what, where, compare, extreme in (
        ("sparser: its neighbours crowd it (largest angle to them, degrees)", density < 0.999 * view.baseline,
         less_than, np.max),
        ("denser: its neighbours draw back (smallest angle to them, degrees)", density > 1.001 * view.baseline,
         more_than, np.min),
    ):  # fmt: skip
        points = np.flatnonzero(where & best)
        points = points[np.argsort(density[points])]
        if not points.size:
            continue
        ends = " to ".join(f"{angle[k]:.1f}" for k in points[[0, -1]])
        widest = points[int(np.argmax(angle[points]))]
        also = f", widest at {density[widest]:.3g} ({angle[widest]:.1f})" if widest not in points[[0, -1]] else ""
        ratio = " to ".join(f"{own[k]:.3f} and {others[k]:.3f}" for k in points[[0, -1]])
        found.append(
            compare(f"{view.name}: the pentagon while the perturbed feature is {what}", SECTION, REGULAR,
                    float(extreme(angle[points])), kind="paper",
                    note=f"from density {density[points[0]]:.3g} to {density[points[-1]]:.3g} {ends}{also}; norms of "
                    f"the perturbed feature and of the others (mean) go from {ratio}: a sparser feature has less of "
                    "the circle and a longer vector; where the claim fails the neighbours turn back, as at the "
                    "widest angle")
        )  # fmt: skip
    return found


def _sides(view: View) -> list[Claim]:
    """What the best fit is: sparser than the crossing, from there to the baseline, and denser than that."""
    crossing, feature, density = view.crossing(), view.feature, view.density
    norm = best(view.data, "norm").values
    least, absent = norm.min(-1), norm[:, feature]
    all_five = least >= view.case.phases.represented
    found = []
    for region, where in (
        ("from the crossing up to the baseline", (density > 1.05 * crossing) & (density <= view.baseline)),
        ("denser than the baseline", density > view.baseline * 1.001),
    ):
        if where.any():
            lost = density[where & ~all_five]
            note = f"densities {density[where].min():.3g} to {density[where].max():.3g}"
            if lost.size:
                kinds = ", ".join(sorted(set(best_names(view.data)[where & ~all_five])))
                note += (
                    f"; at {', '.join(f'{s:.3g}' for s in lost)} the best fit is {kinds}, which leaves out one of the "
                    "sparser features"
                )
            found.append(
                at_least(f"{view.name}: {region} all features are represented (smallest norm)", SECTION,
                         view.case.phases.represented, float(least[where].min()), note=note, kind="paper")
            )  # fmt: skip
    sparser = density < 0.95 * crossing
    if sparser.any():
        largest = float(absent[sparser].max())
        found.append(
            less_than(f"{view.name}: sparser than the crossing the perturbed feature is left out (largest norm)",
                      SECTION, 0.1, largest,
                      note=f"densities {density[sparser].min():.3g} to {density[sparser].max():.3g}", kind="paper")
        )  # fmt: skip
    return found


def _best(view: View) -> list[Claim]:
    """Whether the lower of the two families is the best there is, between the crossing and the baseline and sparser."""
    families = np.fmin(*(view.own_loss(family) for family in FAMILIES))
    fits = view.data["loss"].min("restart").values
    where = (view.density <= view.baseline) & np.isfinite(families)
    if not where.any():
        return []
    excess = (families / fits - 1)[where]
    at = view.density[where][int(np.argmax(excess))]
    return [
        vanishes(f"{view.name}: loss of the better family above the lowest of all fits, up to the baseline (largest, "
                 "relative)", "restarts against families", float(excess.max()), SAME,
                 note=f"at density {at:.3g}; below by at most {-excess.min():.2%} (restarts that missed it)")
    ]  # fmt: skip


def _unperturbed(view: View) -> list[Claim]:
    """At the baseline: norm, bias and loss of the pentagon, loss of the digons, and how norm and bias are related."""
    point = view.at(view.baseline)
    if point is None or view.case.n_features > oracle.MAX_FEATURES:
        return []
    data, source = view.data.isel({next(iter(view.case.axes)): point}), "exact loss, derived"
    pentagon = data.sel(family="pentagon")
    norm, bias = (float(pentagon[name].mean("feature")) for name in ("family_norm", "family_b"))
    density = Grid(view.case).numbers()["data.density"][[point]]
    W, b = (data[name].sel(family=list(FAMILIES)).values.astype(float) for name in ("family_W", "family_b"))
    true = oracle.expected_loss(W, b, np.ones((2, view.case.n_features)), np.repeat(density, 2, axis=0))
    stored = [float(data["family_loss"].sel(family=family)) for family in FAMILIES]
    found = [
        close(f"{view.name}: norm of the features of the pentagon, none perturbed", source, UNPERTURBED["norm"], norm,
              absolute=5e-3),
        close(f"{view.name}: their bias", source, UNPERTURBED["bias"], bias, absolute=5e-3),
    ]  # fmt: skip
    for family, loss, reference in zip(FAMILIES, stored, true, strict=True):
        found.append(
            close(f"{view.name}: loss of the {family}, none perturbed", source, UNPERTURBED[family], loss,
                  relative=0.001, note=f"its weights in float64, exactly: {reference:.6f}")
        )  # fmt: skip
    paper, ours = (float(np.divide(1, 1 + sign * bias)) for sign in (-1, 1))
    found += [
        close(f"{view.name}: norm = 1 / (1 - b) in the pentagon", SECTION, paper, norm, relative=0.05,
              note=f"b = {bias:.3f} is negative, so that this is below 1, where the norm is above: a feature alone is "
              "reproduced as norm² x + b, which must be longer than x to make up for b", kind="paper"),
        close(f"{view.name}: norm² = 1 / (1 + b) in the pentagon", source, ours, norm**2, relative=0.05),
    ]  # fmt: skip
    return found
