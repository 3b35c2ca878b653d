"""Five features in two dimensions: what the best solution is as the data get sparser.

Paper, introduction: at S = 0 two orthogonal features, at S = 0.8 two antipodal pairs, at S = 0.9 a pentagon; drawn as
the five columns of W in the plane, coloured by importance.
"""

from superjax.spec import Case, SweepError
from superjax.studies.five_features.claims import claims
from superjax.studies.five_features.figures import figures

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless the only axis is the density of all features, in the plane."""
    if [axis.names for axis in case.axes.values()] != [("data.density",)] or "density" not in case.axes:
        raise SweepError("needs exactly the axis density (data.density)")
    if case.n_hidden != 2:
        raise SweepError("draws n_hidden = 2 only")
