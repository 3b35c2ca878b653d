"""What is claimed of other protocols: how far they reach the optimum of the exact loss."""

import numpy as np

from superjax import analysis
from superjax.studies.claim import Claim, fraction, vanishes
from superjax.studies.diagram import Diagram, diagrams
from superjax.studies.results import Results


def claims(results: Results) -> list[Claim]:
    return [claim for diagram in diagrams(results) for claim in _agreement(diagram)]


def _agreement(diagram: Diagram) -> list[Claim]:
    """Phases of all features: best of restarts against the optimum, and single restarts on average."""
    importance, density = diagram.numbers()
    optimum = analysis.phase_signature(diagram.data["optimum_phase"].values, importance, density)
    best = analysis.phase_signature(diagram.best("phase"), importance, density)
    differ = optimum != best
    alike = float(1 - differ.mean())
    excess = diagram.data["loss"].min("restart").values / diagram.data["optimum_loss"].values - 1
    source = f"{diagram.case.train.objective}, {diagram.case.train.optimizer}, {diagram.case.train.steps} steps"
    return [
        fraction(
            f"{diagram.name}: phases of all features, best of restarts = optimum (fraction of cells)",
            source, alike, 0.05,
            note=f"single restarts: {float(diagram.data['agreement'].mean()):.3f} of all models; "
            f"{_where(diagram, differ)}",
        ),
        vanishes(
            f"{diagram.name}: loss of the best restart above the optimum's (median over cells, relative)",
            source, float(np.median(excess)), 0.01,
            note=f"largest {excess.max():.2g}, median in the sparsest tenth of the rows "
            f"{_sparsest(diagram, excess):.2g}",
        ),
    ]  # fmt: skip


def _sparsest(diagram: Diagram, values: np.ndarray) -> float:
    rows = np.argsort(diagram.density)[: max(1, len(diagram.density) // 10)]
    return float(np.median(values[:, rows]))


def _where(diagram: Diagram, differ: np.ndarray) -> str:
    """Where phases differ, and how many samples of a batch there show two given features at once."""
    if not differ.any():
        return "no cell differs"
    density = np.broadcast_to(diagram.density, differ.shape)
    gap = diagram.data["gap"].values[differ]
    text = f"{differ.sum()} cells differ, at densities {density[differ].min():.3g} to {density[differ].max():.3g}"
    if np.isfinite(gap).any():
        text += f", with a median gap to other phases of {np.nanmedian(gap):.2g}"
    if diagram.case.train.objective != "minibatch":
        return text
    together = diagram.case.train.batch * density**2
    return (
        f"{text}; the median number of samples in a batch with two given features active is "
        f"{np.median(together[differ]):.2g} there, {np.median(together):.2g} over all cells"
    )
