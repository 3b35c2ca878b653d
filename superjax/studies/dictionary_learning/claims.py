"""What is claimed of dictionaries: where they find the features, and what chance gives."""

import numpy as np

from superjax.studies.claim import Claim, at_least, close, fraction, less_than, more_than
from superjax.studies.dictionary_learning.failures import failures
from superjax.studies.dictionary_learning.view import (
    FOUND,
    RECOVERY,
    SAME,
    SPARSE,
    Dictionaries,
    active_features,
    chance_cosine,
    chance_found,
    comparable,
    is_minimum,
    of_true_width,
)
from superjax.studies.dictionary_learning.words import list_of, listed, numbers
from superjax.studies.results import Results

ITS_MINIMA = (
    "among the minima: training that starts from the true dictionary, with the same penalty, ends with a mean max "
    f"cosine of {FOUND:g} or more and no more than {SAME:.0%} above what random starts reach of what is minimised"
)


def claims(results: Results) -> list[Claim]:
    trained, start = of_true_width(results, "trained"), of_true_width(results, "true start")
    true, random = of_true_width(results, "true"), of_true_width(results, "random")
    found = []
    if trained:
        found += _found(trained, start) if start and comparable(trained, start) else []
        found += _beside_true(trained, true) if true and comparable(trained, true) else []
        found += _beside_random(trained, random) if random and comparable(trained, random) else []
        found += _penalties(trained)
    return [*found, *failures(results)]


def _found(trained: Dictionaries, start: Dictionaries) -> list[Claim]:
    """Whether features are found wherever the true dictionary is among the minima."""
    found, cosine = [], trained.best_measure("feature_cosine")
    back, minimum = trained.best_measure("latent_cosine"), is_minimum(trained, start)
    sparse = trained.sparse(SPARSE)
    if not sparse.any():
        return []
    ratio = trained.at_best(start.measure("objective")) / trained.best_measure("objective")
    for words, columns in (
        ("independent features", trained.correlation == 0),
        ("correlated partners", trained.correlation > 0),
    ):
        cells = sparse[:, None] & columns
        if not cells.any():
            continue
        where = cells & minimum
        found.append(
            at_least(
                f"{trained.name}: mean max cosine of features, of {words}, at the best penalty, in the cells of "
                f"density up to {SPARSE:g} where the true dictionary is among the minima (lowest)",
                RECOVERY,
                FOUND,
                _least(cosine[where]),
                kind="paper",
                note=f"{where.sum()} of {cells.sum()} cells; by cell {listed(trained, where, cosine)}; of latents "
                f"{_least(back[where]):.3f} or more; what is minimised ends {listed(trained, where, ratio)} times "
                "as high from the true start: where features are missed, random starts end in higher local minima, "
                f"with latents between features; {ITS_MINIMA}",
            )
        )
        found += _all_recovered(trained, start, where, words)
    return found + [
        fraction(
            f"{trained.name}: the true dictionary is among the minima at densities up to {SPARSE:g} (fraction of "
            "cells)",
            "what training from it ends in",
            float(minimum[sparse].mean()),
            note=f"it is not where what is minimised ends {left} times as high from the true start"
            if (left := listed(trained, sparse[:, None] & ~minimum, ratio))
            else f"it is in all {minimum[sparse].size}; {ITS_MINIMA}",
        ),
    ]


def _all_recovered(trained: Dictionaries, start: Dictionaries, where: np.ndarray, words: str) -> list[Claim]:
    """Whether every single dictionary recovers all features: a mean max cosine of 0.95 leaves room for missing some."""
    if not where.any():
        return []
    share, missed = trained.of_restarts("recovered"), trained.missed()
    high = trained.of_restarts("objective") / trained.at_best(start.values("autoencoder_objective"))
    some, counts = where[..., None] & (missed > 0), 1.0 * (missed == 0).sum(-1)
    return [
        fraction(
            f"{trained.name}: features recovered, with a cosine above 0.9 to some latent, of {words} in those cells "
            "(fraction, lowest of all restarts)",
            RECOVERY,
            float(share[where].min()),
            note=f"dictionaries that recover all, of {share.shape[-1]} by cell: {listed(trained, where, counts)}"
            + (
                f"; the others miss {missed[some].min():g} to {missed[some].max():g}, and what they minimise is "
                f"{high[some].min() - 1:.1%} to {high[some].max() - 1:.1%} higher than from the true start"
                if some.any()
                else ""
            ),
        )
    ]


def _beside_true(trained: Dictionaries, true: Dictionaries) -> list[Claim]:
    """How many latents are active, and what becomes of dense features, beside the true directions."""
    found, column = [], trained.correlation == 0
    sparse, dense = trained.sparse(SPARSE), trained.density >= 0.99
    ratio = trained.best_measure("objective") / trained.at_best(true.measure("objective"))
    if column.any() and sparse.any():
        density = trained.density[sparse]
        at = f"densities {numbers(density)}"
        expected = active_features(trained.case.n_features, density, np.zeros_like(density))
        found += [
            close(
                f"{trained.name}: active latents of independent features at the best penalty, {at}",
                "active features, where some is: n s / (1 - (1 - s)^n)",
                list_of(expected),
                list_of(trained.best_measure("l0")[sparse][:, column]),
                relative=0.15,
                note="of the true directions "
                f"{numbers(trained.at_best(true.measure('l0'))[sparse][:, column].ravel())}: the penalty keeps small "
                "features below the threshold of their latent; variance unexplained "
                f"{numbers(trained.best_measure('fvu')[sparse][:, column].ravel())}, the price of the penalty",
            ),
        ]
    if dense.any():
        cosine = trained.best_measure("feature_cosine")[dense]
        found += [
            less_than(
                f"{trained.name}: mean max cosine of features of density 1 (highest)",
                "dense features: activations are no few directions at a time",
                FOUND,
                float(np.max(cosine)),
            ),
            less_than(
                f"{trained.name}: what is minimised at density 1, over that of the true directions (highest)",
                "dense features: other dictionaries are better",
                1,
                float(np.max(ratio[dense])),
            ),
        ]
    return found


def _beside_random(trained: Dictionaries, random: Dictionaries) -> list[Claim]:
    """How much of this is chance."""
    n, m = random.width, random.case.n_hidden
    cosine, recovered = float(random.measure("feature_cosine").mean()), float(random.measure("recovered").mean())
    found = [
        close(
            f"{random.name}: mean max cosine of features",
            f"closed form: largest cosine of {n} directions in {m} dimensions",
            chance_cosine(n, m),
            cosine,
            absolute=0.08,
            note=f"recovered {recovered:.3f}, closed form {chance_found(n, m):.3f}; one draw of {n} directions",
        )
    ]
    cells = trained.sparse(SPARSE)[:, None] & (trained.correlation == 0)
    if cells.any():
        gain = trained.best_measure("recovered") - random.best_measure("recovered")
        found.append(
            more_than(
                f"{trained.name}: fraction of independent features that are recovered, less that of random "
                f"directions, at densities up to {SPARSE:g} (lowest)",
                RECOVERY,
                0.5,
                float(np.min(gain[cells])),
                kind="paper",
                note=f"variance unexplained {listed(trained, cells, trained.best_measure('fvu'))}, of "
                f"random directions {listed(trained, cells, trained.at_best(random.measure('fvu')))}",
            )
        )
    return found


def _penalties(trained: Dictionaries) -> list[Claim]:
    """A dictionary that explains most is not the one that finds most."""
    cells = trained.sparse(SPARSE)[:, None] & (trained.correlation == 0)
    if len(trained.penalty) < 2 or not cells.any():
        return []
    smallest, recovered = int(np.argmin(trained.penalty)), trained.measure("recovered")
    fvu = trained.measure("fvu")[..., smallest]
    gain = trained.at_best(recovered) - recovered[..., smallest]
    return [
        more_than(
            f"{trained.name}: independent features recovered at the best penalty, less those at the smallest, "
            f"{trained.penalty[smallest]:g}, at densities up to {SPARSE:g} (fraction, lowest)",
            "an error near 0 is no sign of the features",
            0.1,
            float(np.min(gain[cells])),
            note=f"best penalties {listed(trained, cells, trained.penalty[trained.best()])}; variance unexplained "
            f"at the smallest {listed(trained, cells, fvu)}, at the best "
            f"{listed(trained, cells, trained.best_measure('fvu'))}",
        )
    ]


def _least(values: np.ndarray) -> float:
    return float(np.min(values)) if values.size else np.nan
