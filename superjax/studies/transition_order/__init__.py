"""The order of the phase change: both branches of minima followed from either end of a line across it.

Paper, "Superposition as a Phase Change": n = 2, m = 1. A case follows its minima along one of the axes `importance` and
`density`, as the families `rising` and `falling`, from the best solution at either end; the other axis has the lines.
"""

from superjax.spec import Case, SweepError
from superjax.studies.base import needs_array
from superjax.studies.diagram import check_plane, check_relative
from superjax.studies.transition_order.claims import claims
from superjax.studies.transition_order.figures import figures
from superjax.studies.transition_order.view import FAMILIES

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless a case has both axes, and both families that go along one of them from its ends."""
    check_plane(case)
    check_relative(case)
    if (case.n_features, case.n_hidden) != (2, 1):
        raise SweepError("needs n_features = 2 and n_hidden = 1")
    if case.model.kind != "relu_output" or case.terms:
        raise SweepError('needs the model "relu_output", and minimises the loss alone')
    needs_array(case, "b")
    if tuple(case.families) != FAMILIES:
        raise SweepError(f"needs the families {' and '.join(FAMILIES)}, in this order")
    along = {family.along for family in case.families.values()}
    if len(along) > 1:
        raise SweepError("needs both families along the same axis")
    values = case.axes[along.pop()].table()[:, 0]
    if values.min() <= 0:
        raise SweepError("needs an axis > 0 to follow the families along")
    rising, falling = (abs(values - family.start).argmin() for family in case.families.values())
    if (values[rising], values[falling]) != (values.min(), values.max()):
        raise SweepError("needs the family rising to start at the lowest value of its axis, and falling at the highest")
