"""Where dictionaries find the features of a toy model, and how they fail.

Sparse autoencoders are trained on the hidden activations of toy models of every density of features and every
correlation of pairs, beside a dictionary of random directions and the true one (paper, "The Strategic Picture of
Superposition"; measures: Sharkey, Braun and Millidge 2022, "Taking features out of superposition with sparse
autoencoders"; correlated features: Chanin, Dulka and Garriga-Alonso 2025, arXiv:2505.11756).
"""

from superjax.spec import Case, SweepError
from superjax.studies.dictionary_learning.claims import claims
from superjax.studies.dictionary_learning.figures import figures

__all__ = ["check", "claims", "figures"]

AXES = {"density": ("data.density",), "correlation": ("data.correlation",), "penalty": ("autoencoder.penalty",)}


def check(case: Case) -> None:
    """Raise SweepError unless the case has dictionaries of pairs, over density, correlation and the L1 penalty, if it
    has one."""
    if case.autoencoder is None:
        raise SweepError("draws dictionaries: needs [autoencoder]")
    wanted = list(AXES)[: 3 if case.autoencoder.kind == "l1" else 2]
    if {name: axis.names for name, axis in case.axes.items()} != {name: AXES[name] for name in wanted}:
        named = ", ".join(f"{name} ({AXES[name][0]})" for name in wanted)
        raise SweepError(f'needs exactly the axes {named} with autoencoder.kind = "{case.autoencoder.kind}"')
    if case.data.kind != "sets" or case.data.set_size != 2:
        raise SweepError('draws pairs of features: needs data.kind = "sets" and data.set_size = 2')
