"""The basic results: which features linear and ReLU models represent as data get sparser.

Paper, "Demonstrating Superposition": n = 20, m = 5, I = 0.7^i and n = 80, m = 20, I = 0.9^i at seven densities. Cases
are named GROUP_KIND; kinds are `linear` (model), `notebook` (the ReLU model by the published protocol) and `best` (by a
better optimiser). The best fit found of a group is the one of lowest loss of any ReLU case.
"""

from superjax.spec import Case, SweepError
from superjax.studies.basic_results.claims import claims
from superjax.studies.basic_results.figures import figures

__all__ = ["check", "claims", "figures"]


def check(case: Case) -> None:
    """Raise SweepError unless the only axis is the density of all features."""
    if [(name, axis.names) for name, axis in case.axes.items()] != [("density", ("data.density",))]:
        raise SweepError("needs exactly the axis density (data.density)")
    if case.model.kind not in ("linear", "relu_output"):
        raise SweepError("compares the models linear and relu_output only")
