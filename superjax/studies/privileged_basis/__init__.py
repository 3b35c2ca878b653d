"""A privileged basis: which features the neurons of a ReLU hidden layer serve as data get sparser.

Paper, "Superposition in a Privileged Basis": n = 10, m = 5, I = 0.75^i, the best of 1000 models at each of ten
densities, W and its neurons as stacked bars; from a neuron a feature to all ten pairs of five neurons. Beside it, the
same with a linear hidden layer.
"""

from superjax.reference.hidden_losses import MAX_FEATURES
from superjax.spec import Case, SweepError
from superjax.studies.base import needs_array
from superjax.studies.privileged_basis.claims import claims
from superjax.studies.privileged_basis.figures import figures

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless it is one of both models against the density of all features."""
    if [(name, axis.names) for name, axis in case.axes.items()] != [("density", ("data.density",))]:
        raise SweepError("needs exactly the axis density (data.density)")
    if case.model.kind not in ("relu_hidden", "relu_output") or case.model.activation:
        raise SweepError("compares the models relu_hidden and relu_output only")
    if case.data.kind != "independent" or case.target.kind != "identity" or case.terms:
        raise SweepError("needs independent features, which are reproduced, and the squared error alone")
    if case.n_features > MAX_FEATURES:
        raise SweepError(f"enumerates the sets of active features: n_features <= {MAX_FEATURES}")
    needs_array(case, "b")
