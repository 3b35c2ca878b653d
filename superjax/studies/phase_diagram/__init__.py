"""The phase diagram: what happens to an extra feature as its importance and the density vary.

Paper, "Superposition as a Phase Change": n = 2 features in m = 1 dimension and n = 3 in m = 2; all features but the
last, the extra one, have importance 1.
"""

from superjax.studies.diagram import check
from superjax.studies.phase_diagram.claims import claims
from superjax.studies.phase_diagram.figures import figures

__all__ = ["check", "claims", "figures"]
