"""An L1 penalty of the hidden activations against density: where superposition disappears, and at what loss.

Paper, "The Strategic Picture of Superposition": a penalty on activations removes superposition, at a higher loss.
"""

from superjax.spec import Case, SweepError
from superjax.studies.l1_penalty.claims import claims
from superjax.studies.l1_penalty.figures import figures
from superjax.studies.l1_penalty.view import AXES

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless the case spans the strength of an L1 penalty and the density, of more features than
    dimensions in a ReLU output model."""
    axes = {name: axis.names for name, axis in case.axes.items()}
    if list(axes.items()) != list(AXES.items()):
        wanted = ", ".join(f"{name} ({path})" for name, (path,) in AXES.items())
        raise SweepError(f"needs exactly the axes {wanted}, in this order")
    if any(len(case.axes[name].table()) < 3 for name in AXES):
        raise SweepError("needs at least 3 points on both axes")
    if case.axes["penalty"].scale != "linear":
        raise SweepError("needs a linear axis penalty, which may begin at 0")
    if case.term_kinds() != {"squared": "squared", "l1": "l1"} or case.target.kind != "identity":
        raise SweepError("needs the squared error of returning the input, the term l1 and no other")
    if case.model.kind != "relu_output" or case.model.activation not in (None, "relu"):
        raise SweepError('needs model.kind = "relu_output"')
    if case.data.kind != "independent":
        raise SweepError('needs data.kind = "independent"')
    if case.n_features <= case.n_hidden:
        raise SweepError("needs more features than dimensions")
