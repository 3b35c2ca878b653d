"""Views of a phase diagram of two features in one dimension by the kind of superposition: opposite or one direction."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int8

from superjax import analysis
from superjax.spec import Phases
from superjax.studies.diagram import Boundary, Diagram
from superjax.studies.results import Results

ANTIPODAL, ONE_FEATURE, MERGED = -1, 0, 1


def slices(results: Results) -> Iterator[tuple[str, float, Diagram]]:
    """The phase diagrams of importance and density, one for every case and correlation."""
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        for k, rho in enumerate(data["correlation"].values):
            yield name, float(rho), Diagram(f"{name}, correlation {rho:g}", case, data.isel(correlation=k))


def kinds(W: Float[np.ndarray, "... 1 2"], phases: Phases) -> Int8[np.ndarray, "..."]:
    """The sign of W_1 W_2 where both features are represented, else 0: ANTIPODAL, MERGED or ONE_FEATURE."""
    both = (analysis.norm(W) >= phases.represented).all(-1)
    return np.where(both, np.sign(W[..., 0, 0] * W[..., 0, 1]), 0).astype(np.int8)


def optimum_kinds(diagram: Diagram) -> Int8[np.ndarray, "importance density"]:
    """The kind that the optimum is in every cell."""
    return kinds(_weights(diagram, "optimum_W"), diagram.case.phases)


def antipodal_boundary(diagram: Diagram) -> Boundary:
    """Where the optimum becomes antipodal, for every importance: where its loss falls below that of the kind beside, or
    the weaker norm passes the threshold."""
    phases = diagram.case.phases
    kind = [kinds(_weights(diagram, name), phases) for name in ("optimum_W", "optimum_other_W", "W")]
    every = np.concatenate([np.stack(kind[:2], axis=-1), kind[2]], axis=-1)
    _, loss = diagram.minima()
    weaker = diagram.data["optimum_norm"].min("feature").values
    return diagram.boundary_of(kind[0] == ANTIPODAL, every, loss, weaker - phases.represented)


def _weights(diagram: Diagram, name: str) -> np.ndarray:
    return diagram.data[name].transpose(..., "hidden", "feature").values
