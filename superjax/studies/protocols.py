"""Fresh minibatches and the authors' notebook beside the optimum of the exact loss, on the phase diagram's axes."""

import numpy as np
from matplotlib.figure import Figure

from superjax import analysis
from superjax.plots.phase_diagram import protocols
from superjax.studies import Claim, Results
from superjax.studies._diagram import Diagram, diagrams


def figures(results: Results) -> dict[str, Figure]:
    return {"protocols": protocols(results)}


def claims(results: Results) -> list[Claim]:
    return [claim for diagram in diagrams(results) for claim in _agreement(diagram)]


def _agreement(diagram: Diagram) -> list[Claim]:
    """Phases of all features: best of restarts against the optimum, and single restarts on average."""
    importance, density = diagram.numbers()
    optimum = analysis.phase_signature(diagram.data["optimum_phase"].values, importance, density)
    best = analysis.phase_signature(diagram.best("phase"), importance, density)
    differ = optimum != best
    fraction = float(1 - differ.mean())
    single = float(diagram.data["agreement"].mean())
    excess = diagram.data["loss"].min("restart").values / diagram.data["optimum_loss"].values - 1
    protocol = f"{diagram.case.train.optimizer}, {diagram.case.train.steps} steps of {diagram.case.train.batch} samples"
    return [
        Claim(
            f"{diagram.name}: phases of all features, best of restarts = optimum (fraction of cells)",
            protocol, 1.0, fraction, 0.05, fraction >= 0.95, _where(diagram, differ),
        ),
        Claim(
            f"{diagram.name}: phases of all features, single restart = optimum (fraction of models)",
            protocol, None, single, None, True, "reported: a single model, as most replications train it",
        ),
        Claim(
            f"{diagram.name}: loss of the best restart above the optimum's (median over cells, relative)",
            protocol, 0.0, float(np.median(excess)), 0.01, bool(np.median(excess) <= 0.01),
            f"largest {excess.max():.2g}: gradient noise, and weight decay where there is any, shift the minimum",
        ),
    ]  # fmt: skip


def _where(diagram: Diagram, differ: np.ndarray) -> str:
    if not differ.any():
        return "no cell differs"
    both = diagram.case.train.batch * np.median(diagram.density[np.nonzero(differ)[1]]) ** 2
    low, high = diagram.density[np.nonzero(differ)[1]].min(), diagram.density[np.nonzero(differ)[1]].max()
    return (
        f"{differ.sum()} cells differ, at densities {low:.3g} to {high:.3g}; a batch there has about {both:.2g} "
        "samples in which two given features are active together, which is all that tells their interference"
    )
