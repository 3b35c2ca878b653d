"""The phase diagram of two features in one dimension with other activation functions of the output, x' = f(WᵀWx + b).

n = 2, m = 1 of "Superposition as a Phase Change", a case for every function. A comment on replications of the paper
says that the function changes the diagram a lot.
"""

from superjax.spec import Case, SweepError
from superjax.studies import diagram
from superjax.studies.activation_functions.claims import claims
from superjax.studies.activation_functions.figures import figures
from superjax.studies.activation_functions.view import MODELS

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless the case is a phase diagram of two features in one dimension, of a model that has an
    activation function of the output."""
    diagram.check(case)
    if (case.n_features, case.n_hidden) != (2, 1):
        raise SweepError("needs n_features = 2 and n_hidden = 1")
    if case.model.kind not in MODELS:
        raise SweepError(f"knows model.kind = {' and '.join(MODELS)} only, with any model.activation")
    if case.terms or case.target.kind != "identity":
        raise SweepError("compares the paper's loss of returning the input: it takes neither terms nor another target")
