"""Learning in jumps: the dimensionality of every feature and the loss during training, and how an octahedron forms.

Paper, "Superposition and Learning Dynamics": in a uniform model that ends in digons features jump between levels of
dimensionality, and the loss drops as they do; with two sets of three correlated features in three dimensions the sets
separate, then become triangles, then the triangles an antiprism, each with a kink of the loss.
"""

from superjax.spec import Case, SweepError
from superjax.spec.snapshots import snapshot_steps
from superjax.studies.learning_dynamics.claims import claims
from superjax.studies.learning_dynamics.figures import figures
from superjax.studies.learning_dynamics.view import SET

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless it is one model during training: uniform, or of two sets of three in space."""
    if case.axes:
        raise SweepError("draws models during training: needs a sweep without axes")
    if sum(step > 0 for step in snapshot_steps(case.train)) < 3:
        raise SweepError("needs train.snapshots, 3 or more")
    if case.model.kind not in ("relu_output", "linear"):
        raise SweepError("draws tied models only (relu_output, linear)")
    if case.data.kind != "sets" and len(set(case.importance_vector())) > 1:
        raise SweepError("needs equal importances: draws one uniform model")
    if case.data.kind == "sets" and (case.n_features, case.n_hidden, case.data.set_size) != (2 * SET, 3, SET):
        raise SweepError(f"draws two sets of {SET} features in 3 dimensions: n_features = {2 * SET}, n_hidden = 3")
