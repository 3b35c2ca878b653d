"""Fresh minibatches and the authors' notebook beside the optimum of the exact loss, on the phase diagram's axes."""

from superjax.studies.diagram import check
from superjax.studies.protocols.claims import claims
from superjax.studies.protocols.figures import figures

__all__ = ["check", "claims", "figures"]
