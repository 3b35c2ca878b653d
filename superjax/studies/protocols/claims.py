"""What is claimed of other protocols: how far their restarts, one or the best of many, reach the optimum."""

import numpy as np

from superjax import analysis
from superjax.reference import boundaries
from superjax.studies.claim import Claim, agreement, close, fraction
from superjax.studies.diagram import TOO_COARSE, Diagram, diagrams
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
                f"{diagram.name}: phase of the extra feature, {name} = that of most restarts (Cohen's kappa)",
                f"{SECTION}; {_source(diagram)}", phase, typical, 0.05, note=note, kind=kind,
            )
        )  # fmt: skip
    return found


def _single_restarts(diagram: Diagram) -> list[Claim]:
    """Where half of the single restarts have superposition, against the optimum's reference."""
    case = diagram.case
    if case.phases.represented != boundaries.REPRESENTED:
        return []
    found = []
    for r, expected in boundaries.SUPERPOSED[case.n_features, case.n_hidden].items():
        column = diagram.column(r)
        beside = abs(float(np.log(diagram.importance[column] / r)))
        if expected is None or beside > diagram.step:
            continue
        allowed = np.exp(diagram.step + beside) - 1
        if allowed > TOO_COARSE:
            continue
        half, words = half_of_restarts(diagram, column, expected)
        found.append(
            close(
                f"{diagram.name}: density at which half of the single restarts have superposition, relative "
                f"importance {r:g}",
                f"float64 reference of the optimum; {_source(diagram)}", expected, half,
                relative=allowed, tolerance=f"{allowed:.0%}: one cell, and the column beside", note=words,
            )
        )  # fmt: skip
    return found


def half_of_restarts(diagram: Diagram, column: int, expected: float) -> tuple[float, str]:
    """The density at which half of the single restarts have superposition, and a note: its error, where a tenth and
    nine tenths have it, and what those do that differ from the optimum, which begins at `expected`."""
    shares, restarts = diagram.shares()[column], diagram.case.restarts
    tenth, half, most = diagram.single_restarts()[:, column]
    words = (
        "half of them never have it; " if np.isnan(half) else
        f"{error_of_half(diagram.density, shares, restarts)}; "
    )  # fmt: skip
    ends = (f"{of} {'at no density' if np.isnan(at) else f'at {at:.3g}'}"
            for of, at in (("a tenth have it", tenth), ("nine tenths", most)))  # fmt: skip
    return float(half), words + ", ".join(ends) + early(diagram, column, expected) + metastable(
        diagram, column, expected
    )


def error_of_half(density: np.ndarray, shares: np.ndarray, restarts: int) -> str:
    """For a note: the standard error of the density at which half of the restarts have superposition."""
    error = analysis.share_error(density, shares, 0.5, restarts)
    return f"standard error about {error:.2g}" if error > 1e-9 else "all restarts agree on the cell"


def early(diagram: Diagram, column: int, expected: float) -> str:
    """For a note: how many restarts have superposition where the optimum has none yet, in the next e-fold of density,
    and what that costs them."""
    s = diagram.density
    denser = (s > expected) & (s < expected * np.e)
    inside = analysis.has_superposition(diagram.data["phase"].values[column], diagram.case.n_hidden)[denser]
    if not inside.any():
        return ""
    what = diagram.minimised
    excess = diagram.data[what].values[column] / diagram.data[f"optimum_{what}"].values[column][:, None] - 1
    return (
        f"; at densities from the optimum's up to {np.e:.2f} times it {inside.mean():.0%} of the models have "
        f"superposition already, a median of {np.nanmedian(excess[denser][inside]):.2g} above the optimum"
    )


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
    return f"; at densities from the optimum's down to {1 / np.e:.2f} of it {without}"


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
