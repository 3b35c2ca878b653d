"""How well the directions of a dictionary are those of features: cosines in both directions, and one by one.

`W` has shape (..., n_hidden, n_features), `directions` (..., n_hidden, n_latents). Features that are not represented
have no direction to be found, and latents that are never active are no part of the dictionary.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

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

    cosines = np.einsum("...hf,...hl->...fl", _units(W), _units(directions))
    shape = cosines.shape[:-2]
    rows = zip(
        cosines.reshape(-1, *cosines.shape[-2:]),
        np.broadcast_to(represented, (*shape, W.shape[-1])).reshape(-1, W.shape[-1]),
        np.broadcast_to(alive, (*shape, directions.shape[-1])).reshape(-1, directions.shape[-1]),
        strict=True,
    )
    found = np.array([of_one(cosine[features][:, latents]) for cosine, features, latents in rows], np.float32)
    return Recovery(*(column.reshape(shape) for column in found.reshape(-1, len(Recovery._fields)).T))


def _units(columns: Float[np.ndarray, "... rows columns"]) -> Float[np.ndarray, "... rows columns"]:
    norms = np.linalg.norm(columns, axis=-2, keepdims=True)
    return columns / np.where(norms == 0, 1, norms)
