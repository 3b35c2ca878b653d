"""One of five features is made sparser or denser: where a pentagon gives way to two digons.

Paper, "Non-Uniform Superposition": n = 5, m = 2, equal importances, many fits, of which those of lowest loss are kept
and turned to a canonical position. The change is a crossing of the losses of two kinds of solution, each of which goes
on as a local minimum beyond it; they are followed as the families `pentagon` and `digons` of the sweep.
"""

from superjax.spec import Case, SweepError
from superjax.studies.base import needs_array
from superjax.studies.perturbed_feature.claims import claims
from superjax.studies.perturbed_feature.figures import figures
from superjax.studies.perturbed_feature.view import FAMILIES, perturbed

__all__ = ["check", "claims", "figures"]


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
