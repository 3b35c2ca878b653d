"""The phase diagram of two features in one dimension, with their correlation as a third axis.

n = 2, m = 1 of "Superposition as a Phase Change", the two features being one set (paper, "Correlated and Anticorrelated
Features"). Superposition is of two kinds: antipodal, which interferes where both features are active, and merged, both
in one direction, which can tell only their sum.
"""

from superjax.spec import Case, SweepError
from superjax.studies.correlated_phase_diagram.claims import claims
from superjax.studies.correlated_phase_diagram.figures import figures
from superjax.studies.diagram import check_optimum

__all__ = ["check", "claims", "figures"]

AXES = {"importance": ("importance[-1]",), "density": ("data.density",), "correlation": ("data.correlation",)}


def check(case: Case) -> None:
    """Raise SweepError unless the case spans importance, density and correlation of two features in one dimension."""
    if list((name, axis.names) for name, axis in case.axes.items()) != list(AXES.items()):
        wanted = ", ".join(f"{name} ({path})" for name, (path,) in AXES.items())
        raise SweepError(f"needs exactly the axes {wanted}, in this order")
    if (case.n_features, case.n_hidden, case.data.set_size) != (2, 1, 2):
        raise SweepError("needs n_features = 2, n_hidden = 1 and data.set_size = 2")
    check_optimum(case)
