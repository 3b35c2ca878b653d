"""The optimum of a coarse phase diagram against the float64 reference in every cell, for all features. Minutes.

    python -m tests.heavy [POINTS_N2 POINTS_N3]

Exits with 1 unless the phases agree in at least 99% of the cells whose gap exceeds 1e-3, all differences lie within one
cell of a boundary, no loss is more than 1e-3 above the true minimum, and the measured boundary is the true one.
"""

import sys

import jax
import numpy as np
from scipy import ndimage

import superjax
from superjax import analysis
from superjax.reference import oracle
from superjax.studies.diagram import Diagram

RESTARTS = 64


def check(diagram: Diagram) -> bool:
    importance, density = diagram.numbers()
    shape, n = importance.shape[:2], importance.shape[2]
    true = oracle.minimum(importance.reshape(-1, n), density.reshape(-1, n), diagram.case.n_hidden, restarts=RESTARTS)
    true_phase = analysis.classify(true.W)[0].reshape(*shape, n)
    true_signature = analysis.phase_signature(true_phase, importance, density)
    ours = analysis.phase_signature(diagram.data["optimum_phase"].values, importance, density)
    best = analysis.phase_signature(diagram.best("phase"), importance, density)

    differ = ours != true_signature
    gap = diagram.data["gap"].values
    clear = np.isnan(gap) | (gap > 1e-3)
    agreement = 1 - differ[clear].mean()
    _, kinds = np.unique(true_phase.reshape(-1, n), axis=0, return_inverse=True)
    kinds = kinds.reshape(shape)
    at_boundary = ndimage.maximum_filter(kinds, 3) != ndimage.minimum_filter(kinds, 3)
    excess = diagram.data["optimum_loss"].values / true.loss.reshape(shape) - 1

    true_boundary = analysis.boundary(diagram.density, analysis.has_superposition(true_phase, diagram.case.n_hidden))
    step = abs(np.log(diagram.density[1] / diagram.density[0]))
    off = np.abs(np.log(diagram.boundary().position() / true_boundary)) / step
    print(
        f"{diagram.name}: {shape[0]} x {shape[1]} cells, reference with {RESTARTS} restarts each\n"
        f"  phases equal the true optimum's: {agreement:.4f} of {clear.sum()} cells with a gap above 1e-3, "
        f"{1 - differ.mean():.4f} of all\n"
        f"  differences away from a boundary: {(differ & ~at_boundary).sum()}\n"
        f"  best of restarts alone: {(best == true_signature).mean():.4f} of all\n"
        f"  relative excess of the loss: largest {excess.max():.2e}, lowest {excess.min():.2e}\n"
        f"  boundary off by at most {np.nanmax(off):.2f} cells"
    )
    return bool(
        agreement >= 0.99 and not (differ & ~at_boundary).any() and excess.max() <= 1e-3 and np.nanmax(off) <= 1
    )


def optimum(n2: int = 40, n3: int = 24) -> int:
    jax.config.update("jax_num_cpu_devices", 2)
    overrides = [
        f"case.{case}.axes.{axis}.points={size}"
        for case, size in (("n2_m1", n2), ("n3_m2", n3))
        for axis in ("importance", "density")
    ]
    sweep = superjax.load("phase_diagram", *overrides)
    datasets = superjax.run(sweep)
    return 0 if all([check(Diagram(name, sweep.cases[name], data)) for name, data in datasets.items()]) else 1


if __name__ == "__main__":
    sys.exit(optimum(*map(int, sys.argv[1:])))
