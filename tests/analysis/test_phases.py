"""A table of places in the phase diagram whose phases are known, away from boundaries, trained in small sweeps."""

import numpy as np
import pytest

from superjax import analysis
from superjax.runs import runner

N, D, S = range(3)  # not represented, dedicated, superposed
TABLE = {  # model: (relative importance of the last feature, density, phases up to exchange of equal features)
    ("relu_output", 2, 1): [
        (0.2, 1.0, (D, N)),  # dense: the more important feature only
        (0.2, 0.7, (D, N)),
        (5.0, 1.0, (N, D)),
        (5.0, 0.7, (N, D)),
        (0.1, 0.3, (D, N)),
        (0.2, 0.05, (S, S)),  # sparse: both, as an antipodal pair
        (1.0, 0.3, (S, S)),
        (1.0, 0.05, (S, S)),
        (5.0, 0.05, (S, S)),
        (10.0, 0.02, (S, S)),
    ],
    ("relu_output", 3, 2): [
        (0.2, 1.0, (D, D, N)),
        (0.2, 0.7, (D, D, N)),
        (5.0, 1.0, (D, N, D)),
        (10.0, 1.0, (D, N, D)),
        (0.2, 0.05, (S, D, S)),  # the extra feature shares a dimension with one of the others
        (5.0, 0.05, (S, S, D)),  # the others share one
        (5.0, 0.2, (S, S, D)),
    ],
    ("linear", 2, 1): [(0.2, 1.0, (D, N)), (0.2, 0.05, (D, N)), (5.0, 0.05, (N, D))],  # never superposition
}


@pytest.mark.parametrize(("kind", "n", "m"), TABLE)
def test_known_phases(make_case, kind, n, m):
    """The best of 16 restarts, by a wide margin."""
    *points, phases = map(np.array, zip(*TABLE[kind, n, m], strict=True))
    case = make_case(
        text=f"""
        n_features = {n}
        n_hidden = {m}
        restarts = 16
        model.kind = "{kind}"
        [axes.point]
        fields = ["importance[-1]", "data.density"]
        values = {np.transpose(points).tolist()}
    """
    )
    data = runner.run_case("table", case)[0]
    found, margin = (analysis.take_restart(data[name].values, data["best"].values) for name in ("phase", "margin"))
    importance = np.ones((len(phases), n))
    importance[:, -1] = data["importance_last"].values
    density = np.repeat(data["density"].values[:, None], n, axis=1)
    assert margin.min() > 0.2
    signatures = [analysis.phase_signature(phase.astype(np.int8), importance, density) for phase in (found, phases)]
    np.testing.assert_array_equal(*signatures, err_msg=f"{found.tolist()} where {phases.tolist()} is known")
    superposed = analysis.has_superposition(found, m)
    np.testing.assert_array_equal(superposed, (phases == S).any(1))
