"""What is claimed of other protocols: how far their restarts, one or the best of many, reach the optimum."""

import numpy as np

from superjax import analysis
from superjax.reference import boundaries
from superjax.studies.claim import Claim, agreement, close, fraction
from superjax.studies.diagram import Diagram, diagrams
from superjax.studies.results import Results

SECTION = "Superposition as a Phase Change"
_SHOWS = 0.1  # norm from which a feature that does not count as represented is on a side
WITHOUT = "they end in other minima, or stay near a point at which the gradient vanishes"


def claims(results: Results) -> list[Claim]:
    found = []
    for diagram in diagrams(results):
        found += [_best(diagram), *_typical(diagram), *_single_restarts(diagram)]
    return found


def _source(diagram: Diagram) -> str:
    train = diagram.case.train
    return f"{train.objective}, {train.optimizer}, {train.steps} steps"


def _best(diagram: Diagram) -> Claim:
    """Phases of all features, best of restarts against the optimum."""
    importance, density = diagram.numbers()
    optimum = analysis.phase_signature(diagram.data["optimum_phase"].values, importance, density)
    differ = optimum != analysis.phase_signature(diagram.best("phase"), importance, density)
    excess = diagram.data["loss"].min("restart").values / diagram.data["optimum_loss"].values - 1
    return fraction(
        f"{diagram.name}: phases of all features, best of restarts = optimum (fraction of cells)",
        _source(diagram), float(1 - differ.mean()), 0.01,
        note=f"single restarts: {diagram.success_in_words()} of all models are within {analysis.REACHED:.0%} of the "
        f"optimum's loss; {_where(diagram, differ)}; loss of the best restart above the optimum's: median "
        f"{np.median(excess):.2g}, largest {excess.max():.2g}, median in the sparsest tenth of the rows "
        f"{_sparsest(diagram, excess):.2g}",
    )  # fmt: skip


def _typical(diagram: Diagram) -> list[Claim]:
    """The phase that most restarts give the extra feature, against the paper's theory and the optimum."""
    typical, reached = diagram.typical_phase(), diagram.data["agreement"].values
    found = []
    for name, phase, kind in (
        ("theory", diagram.theory_phase(), "paper"),
        ("optimum", diagram.extra("optimum_phase"), "derived"),
    ):
        differ = phase != typical
        note = ""
        if differ.any():
            r, s = diagram.importance[differ.nonzero()[0]], diagram.density[differ.nonzero()[1]]
            note = (
                f", at importance {r.min():.2g} to {r.max():.2g}, density {s.min():.2g} to {s.max():.2g}; there "
                f"{reached[differ].mean():.0%} of the restarts have the optimum's phases, against "
                f"{reached.mean():.0%} of all"
            )
        found.append(
            agreement(
                f"{diagram.name}: phase of the extra feature, {name} = that of most restarts (cells)",
                f"{SECTION}; {_source(diagram)}", phase, typical, 0.05, note=note, kind=kind,
            )
        )  # fmt: skip
    return found


def _single_restarts(diagram: Diagram) -> list[Claim]:
    """Where single restarts begin to have superposition, as their median, against the optimum's reference."""
    case = diagram.case
    if case.phases.represented != boundaries.REPRESENTED:
        return []
    streams, found = diagram.stream_boundaries(), []
    for r, expected in boundaries.SUPERPOSED[case.n_features, case.n_hidden].items():
        column = diagram.column(r)
        beside = abs(float(np.log(diagram.importance[column] / r)))
        known = streams[:, column][np.isfinite(streams[:, column])]
        if expected is None or beside > diagram.step or not known.size:
            continue
        low, high = (float(end[column]) for end in analysis.band(streams))
        error = 1.2533 * known.std(ddof=1) / np.sqrt(known.size) if known.size > 1 else np.nan
        allowed = np.exp(diagram.step + beside) - 1
        found.append(
            close(
                f"{diagram.name}: density at which a single restart begins to have superposition (median), relative "
                f"importance {r:g}",
                f"float64 reference of the optimum; {_source(diagram)}", expected, float(np.median(known)),
                relative=allowed, tolerance=f"{allowed:.0%}: one cell, and the column beside",
                note=f"{known.size} of {case.restarts} restarts have a boundary, the central 80% from {low:.3g} to "
                f"{high:.3g}; standard error of the median about {error:.2g}"
                + (f", {abs(np.median(known) - expected) / error:.1f} of which it is off" if error > 0 else "")
                + metastable(diagram, column, expected),
            )
        )  # fmt: skip
    return found


def metastable(diagram: Diagram, column: int, expected: float) -> str:
    """For a note: how many restarts stay without superposition where the optimum has it, in the next e-fold of
    density."""
    s = diagram.density
    sparser = (s < expected) & (s > expected / np.e)
    if not sparser.any():
        return ""
    inside = analysis.has_superposition(diagram.data["phase"].values[column], diagram.case.n_hidden)[sparser]
    without = f"{1 - inside.mean():.0%} of the models have none: {WITHOUT}"
    if diagram.case.n_features == 2 and not inside.all():
        W = diagram.data["W"].transpose(..., "hidden", "feature").values[column][sparser][~inside]
        weaker, same = analysis.norm(W).min(-1), W.prod(-1)[:, 0] > 0
        without += (
            f"; in {np.mean(same & (weaker > _SHOWS)):.0%} of these both features are on the same side, the weaker "
        )
        without += f"of norm above {_SHOWS:g}"
    return f"; at densities from it down to {1 / np.e:.2f} of it {without}"


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
