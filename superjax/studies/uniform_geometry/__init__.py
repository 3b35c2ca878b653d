"""Many features that are alike in few dimensions: which polytopes they form as the data get sparser.

Paper, "Uniform Superposition": dimensions per feature stick at 1 and 1/2; the dimensionalities of single features
cluster at those of a few polytopes, of which the whole is a tegum product.
"""

from superjax.spec import Case, SweepError
from superjax.studies.uniform_geometry.claims import claims
from superjax.studies.uniform_geometry.figures import figures

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless the density is swept, if anything else then the start, and all features are alike."""
    fields = {name: axis.names for name, axis in case.axes.items()}
    if fields.pop("density", None) != ("data.density",) or fields not in ({}, {"start": ("model.init_std",)}):
        raise SweepError("needs the axis density (data.density), and beside it at most start (model.init_std)")
    if len(set(case.importance_vector())) > 1:
        raise SweepError("needs equal importances")
    if case.model.kind != "relu_output" or case.data.kind != "independent":
        raise SweepError('compares with exact losses: needs model.kind = "relu_output", data.kind = "independent"')
    if case.n_features < 2 * case.n_hidden:
        raise SweepError(f"needs n_features >= {2 * case.n_hidden}, for pairs in n_hidden = {case.n_hidden} dimensions")
