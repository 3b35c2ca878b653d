"""One of five features is made sparser or denser: where a pentagon gives way to two digons.

Paper, "Non-Uniform Superposition": n = 5, m = 2, equal importances, many fits, of which those of lowest loss are kept
and turned to a canonical position. The change is a crossing of the losses of two kinds of solution, each of which goes
on as a local minimum beyond it; they are followed as the families `pentagon` and `digons` of the sweep.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from superjax import analysis
from superjax.plots.perturbed_feature import perturbed_feature
from superjax.reference import oracle
from superjax.spec import Case, SweepError
from superjax.spec.grid import Grid
from superjax.studies import Claim, Results, needs_array
from superjax.studies._known import known
from superjax.studies._solutions import best, best_names, names

SECTION = "Non-Uniform Superposition"
FAMILIES = ("pentagon", "digons")
DIGONS = "2 digons"
CROSSINGS = {0.05: 3.7, 0.09: 2.5}  # how many times sparser the perturbed feature is there, by baseline density
PAPER_CROSSING = 2.5
UNPERTURBED = {"norm": 1.134, "bias": -0.246, "pentagon": 0.008917, "digons": 0.017705}  # at density 0.05
KEPT = 0.01  # fits are kept whose loss is at most this fraction above the lowest


class View(NamedTuple):
    """One case: a baseline density, and the density of the perturbed feature along the axis."""

    name: str
    case: Case
    data: xr.Dataset

    @property
    def feature(self) -> int:
        """The number of the perturbed feature."""
        return perturbed(self.case)

    @property
    def density(self) -> np.ndarray:
        """Of the perturbed feature."""
        return self.data[next(iter(self.case.axes))].values

    @property
    def baseline(self) -> float:
        """Density of the others."""
        return self.case.density_vector()[self.feature - 1]

    def loss(self, family: str) -> np.ndarray:
        return self.data["family_loss"].sel(family=family).values

    def own_loss(self, family: str) -> np.ndarray:
        """The loss of a family as far as it is one; NaN where it has fallen to the other."""
        solution = names(self.data, "family_solution")[self.data["family_solution"].sel(family=family).values]
        return np.where((solution == DIGONS) == (family == "digons"), self.loss(family), np.nan)

    def crossing(self) -> float:
        """Density of the perturbed feature at which the losses of the families cross; NaN if they do not."""
        found = analysis.crossings(self.density, _gap(self))
        return float(found[-1]) if len(found) else float("nan")

    @property
    def step(self) -> float:
        """The largest step between two densities, in ln(density); 0 if there is one density only."""
        return float(np.abs(np.diff(np.log(np.sort(self.density)))).max(initial=0.0))

    def at(self, density: float) -> int | None:
        """The point of the axis at a density, if there is one."""
        distance = np.abs(np.log(self.density / density))
        return int(np.argmin(distance)) if distance.min() < 0.01 else None


def _gap(view: View) -> np.ndarray:
    """By how much the digons are worse; NaN where one of the families has fallen to the other."""
    pentagon, digons = (view.own_loss(family) for family in FAMILIES)
    return digons - pentagon


def perturbed(case: Case) -> int:
    """The number of the perturbed feature, the one whose density the axis sets."""
    ((*_, feature),) = case.swept()
    return int(feature)


def check(case: Case) -> None:
    """Raise SweepError unless the density of one feature is swept and both families are followed, in the plane."""
    locations = list(case.swept())
    if len(locations) != 1 or locations[0][:2] != ("data", "density") or len(locations[0]) != 3:
        raise SweepError("needs exactly one axis, the density of one feature, as data.density[-1]")
    if case.n_hidden != 2:
        raise SweepError("draws n_hidden = 2 only")
    needs_array(case, "b")
    if tuple(case.families) != FAMILIES:
        raise SweepError(f"needs the families {' and '.join(FAMILIES)}, in this order")
    if any(value != 1 for value in case.importance_vector()):
        raise SweepError("needs importance 1 of all features")
    others = [value for k, value in enumerate(case.density_vector()) if k != perturbed(case)]
    if len(set(others)) > 1:
        raise SweepError("needs the same density of all other features")


def views(results: Results) -> list[View]:
    return [View(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]


def figures(results: Results) -> dict[str, Figure]:
    results = known(results)
    shown = views(results)
    return {"perturbed_feature": perturbed_feature(results, shown)} if shown else {}


def claims(results: Results) -> list[Claim]:
    results = known(results)
    found = []
    shown = views(results)
    ratios = {view.baseline: view.baseline / view.crossing() for view in shown}
    for view in shown:
        found += [*_crossing(view, ratios), *_sides(view), *_best(view)]
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
    holds = bool(abs(measured / expected - 1) <= near)
    note = f"at density {view.crossing():.4g}" if np.isfinite(measured) else "the losses do not cross within the sweep"
    found = [Claim(what, "exact loss, derived", expected, measured, f"{near:.0%}", holds, note)]
    if np.isclose(view.baseline, 0.05):
        like_paper = [f"{b:g}: {r:.2f}" for b, r in sorted(ratios.items())]
        found.append(
            Claim(what, SECTION, PAPER_CROSSING, measured, f"{paper:.0%}",
                  bool(abs(measured / PAPER_CROSSING - 1) <= paper),
                  "the losses cross elsewhere at the paper's baseline density; measured ratios by baseline density are "
                  f"{', '.join(like_paper)}, so that the paper's belongs to a denser baseline")
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
                Claim(f"{view.name}: {region} all features are represented (smallest norm)", SECTION,
                      f">= {view.case.phases.represented:g}", float(least[where].min()), 0,
                      bool(all_five[where].all()), note)
            )  # fmt: skip
    sparser = density < 0.95 * crossing
    if sparser.any():
        largest = float(absent[sparser].max())
        found.append(
            Claim(f"{view.name}: sparser than the crossing the perturbed feature is left out (largest norm)", SECTION,
                  "< 0.1", largest, 0, largest < 0.1,
                  f"densities {density[sparser].min():.3g} to {density[sparser].max():.3g}")
        )  # fmt: skip
    return found


def _best(view: View) -> list[Claim]:
    """Whether the lower of the two families is the best there is, between the crossing and the baseline and sparser."""
    families = view.data["family_loss"].min("family").values
    fits = view.data["loss"].min("restart").values
    where = view.density <= view.baseline
    if not where.any():
        return []
    excess = (families / fits - 1)[where]
    at = view.density[where][int(np.argmax(excess))]
    return [
        Claim(f"{view.name}: loss of the better family above the lowest of all fits, up to the baseline (largest, "
              "relative)", "restarts against families", 0.0, float(excess.max()), 5e-3, bool(excess.max() <= 5e-3),
              f"at density {at:.3g}; below by at most {-excess.min():.2%} (restarts that missed it)")
    ]  # fmt: skip


def _unperturbed(view: View) -> list[Claim]:
    """At the baseline: norm, bias and loss of the pentagon, loss of the digons, and how norm and bias are related."""
    point = view.at(view.baseline)
    if point is None or view.case.n_features > oracle.MAX_FEATURES:
        return []
    data, source = view.data.isel({next(iter(view.case.axes)): point}), "exact loss, derived"
    pentagon = data.sel(family="pentagon")
    norm, bias = (float(pentagon[name].mean("feature")) for name in ("family_norm", "family_b"))
    density = Grid(view.case).numbers()["density"][[point]]
    W, b = (data[name].sel(family=list(FAMILIES)).values.astype(float) for name in ("family_W", "family_b"))
    true = oracle.expected_loss(W, b, np.ones((2, view.case.n_features)), np.repeat(density, 2, axis=0))
    stored = [float(data["family_loss"].sel(family=family)) for family in FAMILIES]
    found = [
        Claim(f"{view.name}: norm of the features of the pentagon, none perturbed", source, UNPERTURBED["norm"], norm,
              5e-3, abs(norm - UNPERTURBED["norm"]) <= 5e-3),
        Claim(f"{view.name}: their bias", source, UNPERTURBED["bias"], bias, 5e-3,
              abs(bias - UNPERTURBED["bias"]) <= 5e-3),
    ]  # fmt: skip
    for family, loss, reference in zip(FAMILIES, stored, true, strict=True):
        expected = UNPERTURBED[family]
        found.append(
            Claim(f"{view.name}: loss of the {family}, none perturbed", source, expected, loss, "0.3%",
                  bool(abs(loss / expected - 1) <= 3e-3), f"its weights in float64, exactly: {reference:.6f}")
        )  # fmt: skip
    paper, ours = (float(np.divide(1, 1 + sign * bias)) for sign in (-1, 1))
    found += [
        Claim(f"{view.name}: norm = 1 / (1 - b) in the pentagon", SECTION, paper, norm, "5%",
              bool(abs(norm / paper - 1) <= 0.05),
              f"b = {bias:.3f} is negative, so that this is below 1, where the norm is above: a feature alone is "
              "reproduced as norm² x + b, which must be longer than x to make up for b"),
        Claim(f"{view.name}: norm² = 1 / (1 + b) in the pentagon", source, ours, norm**2, "5%",
              bool(abs(norm**2 / ours - 1) <= 0.05)),
    ]  # fmt: skip
    return found
