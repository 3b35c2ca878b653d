"""What is claimed of the ways in which dictionaries fail: merged partners, the wrong width or K, hedging."""

import numpy as np

from superjax import analysis
from superjax.studies.claim import Claim, at_least, close, less_than, more_than
from superjax.studies.dictionary_learning.view import (
    FOUND,
    MERGED,
    RECOVERY,
    SPARSE,
    Dictionaries,
    active_features,
    comparable,
    dictionaries,
    hedged,
    of_true_width,
)
from superjax.studies.dictionary_learning.words import listed, numbers
from superjax.studies.results import Results

HEDGING = "feature hedging: Chanin, Dulka and Garriga-Alonso 2025, arXiv:2505.11756"


def failures(results: Results) -> list[Claim]:
    trained, start = of_true_width(results, "trained"), of_true_width(results, "true start")
    true = of_true_width(results, "true")
    found = _merged(trained) if trained else []
    if true and start and comparable(true, start):
        found += _from_the_true(true, start)
    return [*found, *_widths(results), *_fewer_missed(results), *_largest(results), *_hedging(results)]


def _merged(trained: Dictionaries) -> list[Claim]:
    """Where the model itself holds partners as one direction."""
    rows, columns = (trained.density >= 0.4) & (trained.density < 0.99), trained.correlation >= 0.75
    if not (rows.any() and columns.any()):
        return []
    cosine = trained.partner_cosine()[rows][:, columns]
    return [
        at_least(
            f"{trained.name}: cosine of partners in the model, correlations 0.75 and more, densities "
            f"{numbers(trained.density[rows])} (lowest)",
            "Correlated and Anticorrelated Features",
            MERGED,
            float(np.min(cosine)),
            kind="paper",
            note="dense correlated pairs collapse to one direction: no dictionary can tell them apart",
        )
    ]


def _from_the_true(true: Dictionaries, start: Dictionaries) -> list[Claim]:
    """What training on from the true directions gains over them: nothing of independent features, something of partners
    that are always active together, whose latents draw nearer to each other."""
    found, sparse = [], true.sparse(0.1)[:, None]
    ratio = start.best_measure("objective") / start.at_best(true.measure("objective"))
    cosine = start.best_measure("feature_cosine")
    alone, together = sparse & (true.correlation == 0), sparse & (true.correlation >= 0.99)
    words = f"{start.name}: what is minimised of {{}}, over that of the true directions, densities up to 0.1 ({{}})"
    if alone.any():
        furthest = ratio[alone][np.argmax(np.abs(ratio[alone] - 1))]
        found.append(
            close(
                words.format("independent features", "furthest from 1"),
                "the true directions are a minimum",
                1.0,
                float(furthest),
                absolute=0.02,
                note=f"mean max cosine of features {listed(start, alone, cosine)}",
            )
        )
    if together.any():
        found.append(
            less_than(
                words.format("partners always active together", "highest"),
                "latents between partners need a smaller sum for the same activations",
                1,
                float(np.max(ratio[together])),
                note=f"mean max cosine of features {listed(start, together, cosine)}",
            )
        )
    return found


def _widths(results: Results) -> list[Claim]:
    """Of independent features: too many latents find them too; too few find one each only with a strong penalty."""
    found = []
    for one in dictionaries(results, "trained"):
        cells = one.sparse(SPARSE)[:, None] & (one.correlation == 0)
        if one.width == one.case.n_features or not cells.any():
            continue
        latents = one.measure("latent_cosine")
        highest = np.max(latents, axis=-1)
        if one.width > one.case.n_features:
            back, dead = one.best_measure("latent_cosine"), one.best_measure("dead")
            found += [
                at_least(
                    f"{one.name}: mean max cosine of independent features at the best penalty, densities up to "
                    f"{SPARSE:g} (lowest)",
                    RECOVERY,
                    FOUND,
                    float(np.min(one.best_measure("feature_cosine")[cells])),
                    kind="paper",
                    note=f"mean max cosine of its latents {listed(one, cells, back)}, dead {listed(one, cells, dead)}: "
                    "most of the further latents have the direction of a feature too",
                ),
            ]
        else:
            weakest = latents[..., int(np.argmin(one.penalty))]
            found += [
                less_than(
                    f"{one.name}: mean max cosine of latents of independent features at the smallest penalty, "
                    f"densities up to {SPARSE:g} (highest): they mix",
                    RECOVERY,
                    0.9,
                    float(np.max(weakest[cells])),
                ),
                at_least(
                    f"{one.name}: the same at the penalty best for latents (lowest): one feature a latent",
                    RECOVERY,
                    0.9,
                    float(np.min(highest[cells])),
                    note=f"penalties {listed(one, cells, one.penalty[np.argmax(latents, -1)])}",
                ),
            ]
    return found


def _fewer_missed(results: Results) -> list[Claim]:
    """More latents than features miss fewer of them than one each: they end in fewer local minima."""
    trained = of_true_width(results, "trained")
    wide = [one for one in dictionaries(results, "trained") if one.width > one.case.n_features]
    if not (trained and wide and comparable(trained, wide[-1])):
        return []
    apart = trained.sparse(SPARSE)[:, None] & (trained.partner_cosine() < MERGED)
    if not apart.any():
        return []
    few, many = (one.best_measure("recovered") for one in (trained, wide[-1]))
    return [
        more_than(
            f"{wide[-1].name}: features recovered, less those with one latent each, at densities up to {SPARSE:g} "
            "(mean fraction)",
            "local minima: one latent each can be missing where two lie between others",
            0,
            float((many - few)[apart].mean()),
            note=f"{listed(wide[-1], apart, many)}; with one each {listed(trained, apart, few)} (by correlation)",
        )
    ]


def _largest(results: Results) -> list[Claim]:
    """Too many latents kept at once find fewer features."""
    every = [one for one in dictionaries(results, "top K") if one.width == one.case.n_features]
    cells = [one.sparse(SPARSE)[:, None] & (one.correlation == 0) for one in every]
    if len(every) < 2 or not all(where.any() for where in cells):
        return []
    recovered = [float(one.best_measure("recovered")[where].mean()) for one, where in zip(every, cells, strict=True)]
    ks = [one.case.autoencoder.k for one in every if one.case.autoencoder]
    few, many = recovered[int(np.argmin(ks))], recovered[int(np.argmax(ks))]
    density = every[0].density[every[0].sparse(SPARSE)]
    active = active_features(every[0].case.n_features, density, 0 * density)
    return [
        more_than(
            f"TopK: independent features recovered with K = {min(ks)}, less those with K = {max(ks)}, at densities "
            f"up to {SPARSE:g} (fraction)",
            "K beyond the number of active features",
            0.1,
            few - many,
            note="; ".join(f"K = {k}: {share:.3f}" for k, share in zip(ks, recovered, strict=True))
            + f"; active features {numbers(active)} at densities {numbers(density)}",
        )
    ]


def _hedging(results: Results) -> list[Claim]:
    """Whether latents mix partners, more so the more correlated these are and the fewer latents there are."""
    found = []
    every = [(one, *hedged(results, one)) for one in dictionaries(results, "trained")]
    every = [(one, sums, others) for one, sums, others in every if len(sums)]
    shares = {
        one.width: sums[:, one.correlation >= 0.99].mean() for one, sums, _ in every if (one.correlation >= 0.99).any()
    }
    for one, sums, others in every:
        if one.width >= one.case.n_features:
            continue
        together, alone = one.correlation >= 0.99, one.correlation == 0
        chance = "sums of as many other features"
        if together.any():
            found.append(
                more_than(
                    f"{one.name}: latents nearest to a sum of partners, of features and sums, less those nearest to "
                    f"{chance}, partners always active together (fraction)",
                    HEDGING,
                    0.25,
                    float((sums - others)[:, together].mean()),
                    kind="paper",
                    note=f"{sums[:, together].mean():.3f} and {others[:, together].mean():.3f}; densities up to 0.1",
                )
            )
        if alone.any():
            found.append(
                close(
                    f"{one.name}: the same of independent features (fraction)",
                    HEDGING,
                    0.0,
                    float((sums - others)[:, alone].mean()),
                    absolute=0.15,
                    kind="paper",
                    note=f"{sums[:, alone].mean():.3f} and {others[:, alone].mean():.3f}",
                )
            )
        if len(one.correlation) > 2:
            found.append(
                at_least(
                    f"{one.name}: latents nearest to a sum of partners, rank correlation with ρ over all models",
                    HEDGING,
                    0.5,
                    analysis.rank_correlation_of_finite(np.broadcast_to(one.correlation, sums.shape), sums),
                    kind="paper",
                    note=f"means {numbers(sums.mean(0))} at ρ = {numbers(one.correlation)}",
                )
            )
    if len(shares) > 1:
        widths = sorted(shares)
        found.append(
            more_than(
                f"latents nearest to a sum of partners always active together: {widths[0]} latents, less "
                f"{widths[-1]} (fraction)",
                f"{HEDGING}: worse the narrower",
                0.1,
                float(shares[widths[0]] - shares[widths[-1]]),
                kind="paper",
                note="; ".join(f"{width} latents: {shares[width]:.3f}" for width in widths),
            )
        )
    return found
