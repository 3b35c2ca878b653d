"""Correlated and anticorrelated features: partners side by side, opposite each other, or merged into one.

Paper, "Correlated and Anticorrelated Features": pairs in the plane (n = 4 and 6, m = 2); as the data get denser pairs
of correlated features collapse, one after another, to their principal component (a + b)/√2; and two sets of ten
features in ten dimensions, each an almost orthogonal basis.
"""

from superjax.spec import Case, SweepError
from superjax.studies.base import needs_array
from superjax.studies.correlated_features.claims import claims
from superjax.studies.correlated_features.figures import figures
from superjax.studies.correlated_features.view import in_plane

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless the case is pairs in the plane against density, or larger sets against density and
    correlation."""
    axes = {name: axis.names for name, axis in case.axes.items()}
    density, correlation = {"density": ("data.density",)}, {"correlation": ("data.correlation",)}
    if case.data.kind != "sets" or case.data.set_size < 2:
        raise SweepError('needs data.kind = "sets" with data.set_size >= 2')
    if in_plane(case) and axes != density:
        raise SweepError("needs exactly the axis density (data.density) where pairs are drawn in the plane")
    if not in_plane(case) and list(axes.items()) != [*density.items(), *correlation.items()]:
        raise SweepError(
            "needs the axes density (data.density) and correlation (data.correlation), in this order, unless "
            "data.set_size = n_hidden = 2"
        )
    if not in_plane(case) and case.n_features < 2 * case.data.set_size:
        raise SweepError("needs at least two sets of features")
    if not in_plane(case):
        needs_array(case, "b")
    if len(set(case.importance_vector())) > 1:
        raise SweepError("needs features of equal importance: principal components are those of the data alone")
