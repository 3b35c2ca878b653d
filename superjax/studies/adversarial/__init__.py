"""L2 attacks on models with and without superposition: how vulnerable they are, beside their features per dimension.

Paper, "Relationship to Adversarial Robustness": vulnerability, relative to the model without superposition, rises by
more than 3x as superposition forms, and closely tracks the number of features per dimension.
"""

from superjax.spec import Case, SweepError
from superjax.studies.adversarial.claims import claims
from superjax.studies.adversarial.figures import figures

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless models of several densities are attacked."""
    if {name: axis.names for name, axis in case.axes.items()} != {"density": ("data.density",)}:
        raise SweepError("needs exactly the axis density (data.density)")
    if case.attack is None:
        raise SweepError("draws attacks: needs [attack]")
