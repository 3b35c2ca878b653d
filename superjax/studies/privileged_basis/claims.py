"""What is claimed of a privileged basis: the paper's regimes, that they are minima, and the control without a basis."""

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.spec import Case
from superjax.studies.claim import Claim, at_least, close, equal, fraction, more_than, vanishes
from superjax.studies.privileged_basis.view import (
    ASKED,
    PAPER,
    REPLICAS,
    TURNS,
    Minimum,
    beside,
    best_trained,
    boundaries,
    gain,
    is_paper,
    kinds,
    minima,
    rotations,
    turned,
)
from superjax.studies.results import Results, known

SECTION = "Superposition in a Privileged Basis"
RULE = f"a neuron serves a feature if its gain is at least {analysis.SHARE:g} of the feature's largest"
_CONVERGED = 0.02  # of its loss, by which the best restart may be above its minimum
_MARGIN = 1.25  # factor by which the share of a rule may be another one


def claims(results: Results) -> list[Claim]:
    results = known(results)
    found = []
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        if case.model.kind == "relu_hidden":
            found += _relu(name, case, data)
        else:
            found += _linear(name, case, data)
    return found


def _relu(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    by_density = minima(case, data)
    points = [int(k) for k in np.argsort(-data["density"].values) if by_density[k]]
    if not points:
        return []
    density, found = data["density"].values[points], [by_density[k] for k in points]
    every = kinds(case, data)[points]
    best = [minima[0] for minima in found]
    return [
        *(_regimes(name, case, data, density, found, every) if is_paper(case) else []),
        *_counts(name, density, best),
        *_certain(name, density, found, every),
        _heard(name, density, best),
        _turned(name, case, density, [(one.W, one.b) for one in best]),
    ]  # fmt: skip


def _regimes(name: str, case: Case, data: xr.Dataset, density, found, every) -> list[Claim]:
    """What the paper's figure shows, density by density."""
    claims = []
    changes = boundaries(case, data, minima(case, data))
    for low, high, regime in PAPER:
        here = [k for k, s in enumerate(density) if low <= s * 1.0001 and s <= high * 1.0001]
        if not here:
            continue
        rivals = "; ".join(f"density {density[k]:g}: {_in_words(found[k], every[k])}" for k in here)
        ends = "; ".join(f"{c.dense} gives way to {c.sparse} at density {c.density:.3g}" for c in changes
                         if regime in (c.dense, c.sparse) and np.isfinite(c.density))  # fmt: skip
        measured = [found[k][0].kind for k in here]
        note = f"{rivals}. {ends + ' (float64). ' if ends else ''}"
        for k in here:
            if found[k][0].kind != regime:
                point = int(np.argmin(np.abs(data["density"].values - density[k])))
                own = beside(case, data, point, found[k][0], regime)
                note += f"At density {density[k]:g} " + (
                    f"the lowest minimum of the paper's kind, of its {ASKED} best restarts, is "
                    f"{own.loss / found[k][0].loss - 1:.2%} ± "
                    f"{own.error / found[k][0].loss:.2%} above the best, both finished in float64 and compared on the "
                    f"same inputs; {(every[k] == regime).sum()} of {every[k].size} restarts end in the paper's kind. "
                    if own else "no restart has a minimum of the paper's kind. "
                )  # fmt: skip
        claims.append(
            equal(f"{name}: the best solution at {_densities(density[here])}: features in neurons", SECTION,
                  [regime] * len(here), measured, tolerance=RULE, note=note.strip(), kind="paper")
        )  # fmt: skip
        if regime == "10 in 5":
            claims.append(
                equal(f"{name}: features that are a pair of neurons of their own at {_densities(density[here])}",
                      SECTION, [10] * len(here), [_pairs(found[k][0]) for k in here],
                      note="a feature counts if two neurons serve it, and no other feature the same two", kind="paper")
            )  # fmt: skip
    return claims


def _pairs(one: Minimum) -> int:
    """Features that two neurons serve, and these two no other feature alone."""
    columns = [tuple(column) for column in one.serves.T.tolist() if sum(column) == 2]
    return sum(columns.count(column) == 1 for column in columns)


def _in_words(found: list[Minimum], every: np.ndarray) -> str:
    """The two best kinds, their losses and how many restarts end in each."""
    words = [f"{found[0].kind} (loss {found[0].loss:.5g}, {(every == found[0].kind).sum()} of {every.size} restarts)"]
    words += [f"{other.kind} ({other.loss / found[0].loss - 1:.2%} ± {other.error / found[0].loss:.2%} above, "
              f"{(every == other.kind).sum()} restarts)" for other in found[1:]]  # fmt: skip
    return ", then ".join(words)


def _densities(density: np.ndarray) -> str:
    return f"densit{'y' if len(density) == 1 else 'ies'} {', '.join(f'{s:g}' for s in density)}"


def _counts(name: str, density: np.ndarray, best: list[Minimum]) -> list[Claim]:
    numbers = [one.polysemantic for one in best]
    margins = [float(analysis.service(analysis.gains(one.W, one.W.T)).margin.min()) for one in best]
    told = [analysis.own_sets(one.serves) - int(one.serves.any(0).sum()) for one in best]
    found = [
        at_least(f"{name}: margin of what neurons serve (least factor between a gain and what decides it)",
                 "the rule's own margin", _MARGIN, min(margins), kind="check",
                 note="; ".join(f"{s:g}: {m:.2f}" for s, m in zip(density, margins, strict=True))),
        equal(f"{name}: represented features that are the same set of neurons as another (by density)",
              "two such features could not be told apart", [0] * len(best), [-k for k in told]),
    ]  # fmt: skip
    if len(density) > 1:
        found.insert(0, equal(
            f"{name}: polysemantic neurons of the best solution, from dense to sparse: never fewer", SECTION,
            sorted(numbers), numbers, note=f"{_densities(density)}; features represented: "
            f"{', '.join(str(int(one.serves.any(0).sum())) for one in best)}", kind="paper"))  # fmt: skip
    return found


def _certain(name: str, density: np.ndarray, found: list[list[Minimum]], every: np.ndarray) -> list[Claim]:
    """Whether the best kind is told from the next, and the best restarts are near their minima and of their kind."""
    excess = [one[0].trained / one[0].loss - 1 for one in found]
    same = [named[one[0].restart] == one[0].kind for one, named in zip(found, every, strict=True)]
    claims = [
        vanishes(f"{name}: loss of the best restart above that of its minimum (largest, relative)",
                 "L-BFGS in float64, sets of active features enumerated", max(excess), _CONVERGED, kind="check",
                 note="; ".join(f"{s:g}: {e:.2%}" for s, e in zip(density, excess, strict=True))
                 + ": how far training stops short, for which reason minima are finished; below 0 by their sample"),
        fraction(f"{name}: the best restart is of the kind of its minimum (fraction of densities)",
                 "L-BFGS in float64, sets of active features enumerated", float(np.mean(same)), kind="check",
                 note="; ".join(f"{s:g}: {named[one[0].restart]} as it was trained, {one[0].kind} once it is finished"
                                for s, one, named, alike in zip(density, found, every, same, strict=True)
                                if not alike)),
    ]  # fmt: skip
    pairs = [(s, *one) for s, one in zip(density, found, strict=True) if len(one) > 1]
    if pairs:
        sure = [min((b.loss - a.loss) / max(b.error, 1e-12 * a.loss), 1000.0) for _, a, b in pairs]
        claims.append(
            at_least(f"{name}: standard errors by which the best kind is better than the next (least of any density)",
                     f"minima on the same inputs; {REPLICAS} samples", 3, min(sure), kind="check",
                     note="; ".join(f"{s:g}: {b.loss / a.loss - 1:.2%} ± {b.error / a.loss:.2%}" for s, a, b in pairs))
        )  # fmt: skip
    return claims


def _heard(name: str, density: np.ndarray, best: list[Minimum]) -> Claim:
    """An output that stays 0 has no gradient: a solution with such outputs would be one that training is stuck in."""
    alone = [np.einsum("hi,hi->i", one.W, np.maximum(one.W, 0)) + one.b for one in best]
    return equal(f"{name}: outputs of the best solutions that stay 0 where their feature alone is 1 (by density)",
                 "such an output has no gradient", [0] * len(best), [int((y <= 0).sum()) for y in alone],
                 kind="check", note=f"{_densities(density)}")  # fmt: skip


def _turned(name: str, case: Case, density: np.ndarray, models) -> Claim:
    ratios = [float(np.median(turned(case, W, b, float(s)))) for s, (W, b) in zip(density, models, strict=True)]
    return more_than(
        f"{name}: loss of the best solution when its hidden space is turned, relative to its own (least)",
        f"{SECTION}: the basis is privileged", 1.05, min(ratios), kind="paper",
        note=f"median of {TURNS} random rotations; "
        + "; ".join(f"{s:g}: {r:.3g}" for s, r in zip(density, ratios, strict=True)),
    )  # fmt: skip


def _linear(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    density, best = data["density"].values, best_trained(case, data)
    change = max(float(np.abs(turned(case, W, b, float(s)) - 1).max())
                 for s, (W, b, _) in zip(density, best, strict=True))  # fmt: skip
    W = data["W"].values.astype(float)
    W = W[np.isfinite(W).all((-1, -2))]
    own, random = (
        (analysis.service(gain(case, w)).serves.sum(-1) == 1).mean(-1).reshape(-1, len(W)).mean(0)
        for w in (W, (rotations(TURNS, W.shape[1])[:, None] @ W).reshape(-1, *W.shape[1:]))
    )
    error = float((own - random).std(ddof=1) / np.sqrt(len(W)))
    return [
        vanishes(f"{name}: change of the loss when the hidden space is turned (largest, relative)",
                 "a linear hidden layer: no basis is privileged", change, 1e-9,
                 note=f"{TURNS} random rotations of the best restart at every density"),
        close(f"{name}: monosemantic neurons (fraction), as many as after random rotations",
              f"{SECTION}: no basis is privileged", float(random.mean()), float(own.mean()), absolute=3 * error,
              kind="paper", note=f"of all {len(W)} models, each beside itself after {TURNS} random rotations; "
              f"tolerance: three standard errors of the difference; {RULE}"),
    ]  # fmt: skip
