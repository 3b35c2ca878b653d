"""How many features a model represents, against its hidden dimensions and the density.

Compressed sensing bounds how many dimensions n features of density 1 - S need: m = Ω(-n (1 - S) log(1 - S)) (paper,
"Strategy and appendices"). Turned round, so many dimensions hold some m / (-(1 - S) log(1 - S)) features.
"""

from superjax.spec import Case, SweepError
from superjax.studies.features_and_dimensions.claims import claims
from superjax.studies.features_and_dimensions.figures import figures
from superjax.studies.features_and_dimensions.view import AXES

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless the case spans the hidden dimensions and the density of features that are alike."""
    axes = {name: axis.names for name, axis in case.axes.items()}
    if list(axes.items()) != list(AXES.items()):
        wanted = ", ".join(f"{name} ({path})" for name, (path,) in AXES.items())
        raise SweepError(f"needs exactly the axes {wanted}, in this order")
    if len(set(case.importance_vector())) > 1:
        raise SweepError("needs features of one importance: they are alike in everything")
    if case.data.kind != "independent":
        raise SweepError('knows data.kind = "independent" only')
