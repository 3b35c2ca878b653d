"""How well the directions of a dictionary are those of features: cosines in both directions, and one by one.

`W` has shape (..., n_hidden, n_features), `directions` (..., n_hidden, n_latents). Features that are not represented
have no direction to be found, and latents that are never active are no part of the dictionary.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from superjax.analysis.phases import units

FOUND = 0.9  # a feature is recovered if some latent's cosine with it is above this


class Recovery(NamedTuple):
    """How far features and latents agree, each (...); NaN where there is no feature or no latent to compare.

    Attributes:
        feature_cosine: mean over features of the largest cosine with a latent (mean max cosine similarity).
        latent_cosine: mean over latents of the largest cosine with a feature.
        matched_cosine: mean cosine of the best assignment of features to latents, one each; of fewer latents than
            features the best of them.
        recovered: fraction of the features whose largest cosine is above 0.9.
    """

    feature_cosine: Float[np.ndarray, "..."]
    latent_cosine: Float[np.ndarray, "..."]
    matched_cosine: Float[np.ndarray, "..."]
    recovered: Float[np.ndarray, "..."]


def recovery(
    W: Float[np.ndarray, "... n_hidden n_features"],
    directions: Float[np.ndarray, "... n_hidden n_latents"],
    represented: Bool[np.ndarray, "... n_features"],
    alive: Bool[np.ndarray, "... n_latents"],
) -> Recovery:
    """Compare the directions of `represented` features with those of latents that are `alive`."""
    from scipy.optimize import linear_sum_assignment  # a third of a second to import

    def of_one(cosine: Float[np.ndarray, "features latents"]) -> tuple[float, float, float, float]:
        if not cosine.size or not np.isfinite(cosine).all():
            return np.nan, np.nan, np.nan, np.nan
        best, back = cosine.max(axis=1), cosine.max(axis=0)
        matched = cosine[linear_sum_assignment(-cosine)]
        return float(best.mean()), float(back.mean()), float(matched.mean()), float((best > FOUND).mean())

    cosines = np.einsum("...hf,...hl->...fl", units(W), units(directions))
    shape = cosines.shape[:-2]
    rows = zip(
        cosines.reshape(-1, *cosines.shape[-2:]),
        np.broadcast_to(represented, (*shape, W.shape[-1])).reshape(-1, W.shape[-1]),
        np.broadcast_to(alive, (*shape, directions.shape[-1])).reshape(-1, directions.shape[-1]),
        strict=True,
    )
    found = np.array([of_one(cosine[features][:, latents]) for cosine, features, latents in rows], np.float32)
    return Recovery(*(column.reshape(shape) for column in found.reshape(-1, len(Recovery._fields)).T))


class Mixing(NamedTuple):
    """How latents lie to pairs of features.

    Attributes:
        nearest: the largest cosine of each latent with a feature, (..., latents); NaN where the latent is dead.
        partner: its cosine with the partner of that feature; NaN where it has none.
        sums: fraction of the latents nearest to a sum of partners, (...), of all features, sums of partners and
            as many sums of other features; NaN without a pair.
        others: fraction of those nearest to a sum of others: what is so by chance.
    """

    nearest: Float[np.ndarray, "... n_latents"]
    partner: Float[np.ndarray, "... n_latents"]
    sums: Float[np.ndarray, "..."]
    others: Float[np.ndarray, "..."]


def mixing(
    W: Float[np.ndarray, "... n_hidden n_features"],
    directions: Float[np.ndarray, "... n_hidden n_latents"],
    represented: Bool[np.ndarray, "... n_features"],
    alive: Bool[np.ndarray, "... n_latents"],
    merged: float,
) -> Mixing:
    """Whether latents mix the features of a pair, two consecutive ones (hedging: Chanin et al. 2025, arXiv:2505.11756).
    Pairs that are not represented, or whose cosine is `merged` or more, have no sum of their own and are left out."""
    features, latents = units(W), units(directions)
    cosine = np.where(represented[..., None], np.einsum("...hf,...hl->...fl", features, latents), -1)
    nearest = np.where(alive, cosine.max(-2), np.nan)
    partner = np.take_along_axis(cosine, np.argmax(cosine, axis=-2)[..., None, :] ^ 1, axis=-2)[..., 0, :]

    first, both = features[..., ::2], represented[..., ::2]

    def with_sums(
        second: Float[np.ndarray, "... n_hidden pairs"], there: Bool[np.ndarray, "... pairs"]
    ) -> tuple[Float[np.ndarray, "... n_latents"], Bool[np.ndarray, "..."]]:
        """The largest cosine of each latent with a sum of two features, and whether there is one."""
        apart = there & both & ((first * second).sum(-2) < merged)
        cosines = np.einsum("...hp,...hl->...pl", units(first + second), latents)
        return np.where(apart[..., None], cosines, -1).max(-2), np.asarray(apart.any(-1))

    second, there = features[..., 1::2], represented[..., 1::2]
    partners, known = with_sums(second, there)
    strangers, _ = with_sums(np.roll(second, 1, axis=-1), np.roll(there, 1, axis=-1))
    largest, counted = cosine.max(-2), alive.sum(-1)

    def share(which: Bool[np.ndarray, "... n_latents"]) -> Float[np.ndarray, "..."]:
        return np.where(known & (counted > 0), (which & alive).sum(-1) / np.maximum(counted, 1), np.nan)

    return Mixing(
        nearest,
        np.where(alive & (partner > -1), partner, np.nan),
        share((partners > largest) & (partners >= strangers)),
        share((strangers > largest) & (strangers > partners)),
    )
