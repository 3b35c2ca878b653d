"""Computation in superposition: the absolute value through a ReLU hidden layer.

Paper, "Computation in Superposition": n = 3, m = 6, where every feature has two neurons; n = 100, m = 40, I = 0.8^i,
whose neurons become polysemantic as data get sparser, those of the least important features first; and the asymmetric
motif, a neuron with input weights 2 and -1/2 and output weights 1/2 and 2, beside one that inhibits.
"""

from superjax.spec import Case, SweepError
from superjax.studies.absolute_value.claims import claims
from superjax.studies.absolute_value.figures import figures

__all__ = ["ARRAYS", "check", "claims", "figures"]

ARRAYS = ("W1", "W2")


def check(case: Case) -> None:
    """Raise SweepError unless a model of two layers computes the absolute value, at several densities."""
    if [(name, axis.names) for name, axis in case.axes.items()] != [("density", ("data.density",))]:
        raise SweepError("needs exactly the axis density (data.density)")
    if case.model.kind != "two_layer" or case.target.kind != "absolute" or case.data.kind != "signed" or case.terms:
        raise SweepError(
            'needs model.kind = "two_layer", target.kind = "absolute", data.kind = "signed" and no other terms'
        )
