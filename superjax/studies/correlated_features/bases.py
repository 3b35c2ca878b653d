"""What is claimed of larger sets: each is an almost orthogonal basis, unless features are independent."""

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.spec import Case
from superjax.studies.claim import Claim, close, equal, vanishes
from superjax.studies.correlated_features.view import root_mean_square, set_cosines, solution

SECTION = "Correlated and Anticorrelated Features"


def claims_of_bases(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Large sets: each is an almost orthogonal basis if its members are correlated, and not if they are independent."""
    m, size = case.n_hidden, case.data.set_size
    sparse = int(np.argmin(data["density"].values))
    found = []
    for k, correlation in enumerate(data["correlation"].values):
        W = solution(data, "W")[sparse, k]
        within, across = set_cosines(W, size, case.phases.represented)
        where = f"{name}, density {data.density.values[sparse]:g}, correlation {correlation:g}"
        inside, outside = float(root_mean_square(within)), float(root_mean_square(across))
        counts = (analysis.norm(W) >= case.phases.represented).reshape(-1, size).sum(-1)
        if correlation == 1 and size <= m:
            random = float(1 / np.sqrt(m))
            found += [
                equal(f"{where}: every feature is represented (number in each set)", SECTION, [size] * len(counts),
                      counts.tolist(), note=_all_densities(case, data, k), kind="paper"),
                vanishes(f"{where}: a set is an almost orthogonal basis (root mean square cosine within a set)",
                         SECTION, inside, 0.1, note=f"largest {np.nanmax(within):.3f}, median "
                         f"{np.nanmedian(within):.3f}; of different sets {np.nanmax(across):.3f} and "
                         f"{np.nanmedian(across):.3f}; random directions have {random:.3f}", kind="paper"),
                close(f"{where}: sets interfere with each other as bases of one space (root mean square cosine across)",
                      f"{SECTION}; 1/√m for two orthonormal bases", random, outside, absolute=0.05 * random,
                      note=f"within sets {inside:.3f}"),
            ]  # fmt: skip
        elif correlation == 0:
            found += _antipodes(where, case, data.isel(correlation=k, density=sparse))
    return found


def _antipodes(where: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """The control: independent features come in antipodal pairs, of any sets."""
    W = data["W"].transpose("restart", "hidden", "feature").values
    units = W / np.maximum(analysis.norm(W), 1e-9)[:, None, :]
    opposite = np.einsum("khi,khj->kij", units, units) < -0.9
    owner = np.arange(case.n_features) // case.data.set_size
    pairs, inside = opposite.sum() / 2, (opposite & (owner[:, None] == owner)).sum() / 2
    if pairs < W.shape[0] * case.n_features / 4:  # most features have no antipode
        return []
    chance = (case.data.set_size - 1) / (case.n_features - 1)
    return [
        close(f"{where}: features are opposite to features of any set (share of antipodal pairs within a set)",
              "control: independent features, by chance", chance, float(inside / pairs),
              absolute=float(2 * np.sqrt(chance * (1 - chance) / pairs)), tolerance="two standard errors",
              note=f"{pairs:g} antipodal pairs in {len(W)} fits")
    ]  # fmt: skip


def _all_densities(case: Case, data: xr.Dataset, correlation: int) -> str:
    """The numbers of represented features of each set at all densities, in words."""
    shown = analysis.norm(solution(data, "W")[:, correlation]) >= case.phases.represented
    counts = shown.reshape(len(shown), -1, case.data.set_size).sum(-1)
    return "; ".join(f"density {s:g}: {row.tolist()}" for s, row in zip(data["density"].values, counts, strict=True))
