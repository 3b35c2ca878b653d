"""The boundaries of the phase diagram, searched to a fraction of a percent without training the plane.

Paper, "Superposition as a Phase Change": n = 2 features in m = 1 dimension and n = 3 in m = 2; all features but the
last, the extra one, have importance 1.
"""

from superjax.spec import Case, SweepError
from superjax.studies.diagram import check_plane, check_relative
from superjax.studies.phase_boundary.claims import claims
from superjax.studies.phase_boundary.figures import figures

OF = ("superposition", "phases")


def check(case: Case) -> None:
    """Raise SweepError unless the case searches boundaries of the optimum in the plane of the phase diagram."""
    check_plane(case)
    check_relative(case)
    if case.boundary is None or case.boundary.of not in OF or case.boundary.by != "optimum":
        raise SweepError(f'needs [boundary] with of = "{OF[0]}" or "{OF[1]}" and by = "optimum"')
    if case.plane != ("importance", "density"):
        raise SweepError("needs the boundary over importance and density, in this order")


__all__ = ["check", "claims", "figures"]
