"""Correlated features: what the figures draw, claims recomputed from stored data, and known solutions."""

import json

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import superjax
from superjax import studies
from superjax.disk.files import write_json
from superjax.plots.maps import GREY
from superjax.reference import oracle, theory
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import correlated_features
from superjax.studies.correlated_features import minima, view

DENSITY = [0.9, 0.5, 0.35, 0.2, 0.1, 0.02]
REDUCED = [
    "restarts=6", "case.local_bases.restarts=1", "train.steps=400", "case.local_bases.train.steps=900",
    "case.local_bases.train.batch=128", "case.local_bases.n_features=8", "case.local_bases.n_hidden=4",
    "case.local_bases.data.set_size=4", "train.nodes=2", "case.three_correlated_pairs.optimum=false",
    f"case.correlated_pairs.axes.density.values={DENSITY}",
    f"case.three_correlated_pairs.axes.density.values={DENSITY}",
    "case.local_bases.axes.density.values=[0.1, 0.04]", "case.six_independent.axes.density.values=[0.1, 0.02]",
]  # fmt: skip


@pytest.fixture(scope="module")
def results() -> studies.Results:
    sweep = superjax.load("correlated_features", *REDUCED)
    return studies.Results(sweep, superjax.run(sweep), {})


@pytest.fixture(scope="module")
def drawn(results) -> dict[str, Figure]:
    return correlated_features.figures(results)


def held(results) -> dict[str, bool]:
    return {claim.claim: claim.holds for claim in studies.claims(results)}


def test_the_known_solutions_are_found(results):
    holds = held(results)
    for part in (
        "orthogonal when sparse", "cosine of partners (least)", "against s/6", "are antipodal", "lose nothing",
        "above that of the best linear model", "the optimum is PCA", "best solution is a hexagon", "are neighbours",
        "every feature is represented", "almost orthogonal basis", "bases of one space", "features of any set",
    ):  # fmt: skip
        found = [claim for claim in holds if part in claim]
        assert found and all(holds[claim] for claim in found), part


def test_a_pair_is_drawn_in_one_colour_and_collapsed_pairs_are_counted(results, drawn):
    parts = drawn["pairs"].subfigs
    assert [part.get_suptitle() for part in parts] == [
        "2 correlated pairs: n = 4, m = 2", "2 anticorrelated pairs: n = 4, m = 2", "3 correlated pairs: n = 6, m = 2",
        "6 independent features: n = 6, m = 2",
    ]  # fmt: skip
    data, case = results.datasets["three_correlated_pairs"], results.sweep.cases["three_correlated_pairs"]
    panels = [ax for ax in parts[2].axes if ax.get_title()]
    minimum = view.converged(case, data)
    assert [ax.get_title().split()[1] for ax in panels] == [
        f"{s:g}" for s, drawn in zip(DENSITY, minimum, strict=True) if drawn
    ]
    assert len(panels) >= 3
    for ax in panels:
        cell = DENSITY.index(float(ax.get_title().split()[1]))
        W = view.solution(data, "W")[cell]
        two_points = [line for line in ax.lines if len(line.get_xdata()) == 2]
        vectors = [line for line in two_points if line.get_color() != GREY]  # the frame's lines are grey
        tips = np.array([[line.get_xdata()[1], line.get_ydata()[1]] for line in vectors]).T
        drawn_W = np.stack([tips[:, 3:], tips[:, :3]], axis=-1).reshape(2, 6)  # second members come first
        np.testing.assert_allclose(drawn_W.T @ drawn_W, W.T @ W, atol=1e-5)
        colours = [line.get_color() for line in vectors]
        assert colours[:3] == colours[3:] and len(set(colours)) == 3
        assert f"{view.collapsed(W)} of 3 collapsed" in ax.get_title()


def test_the_collapse_is_drawn_from_the_best_solutions_that_are_minima(results, drawn):
    axes = drawn["collapse"].axes
    for column, name in enumerate(("correlated_pairs", "three_correlated_pairs")):
        top, middle, bottom = axes[column::2]
        assert middle.get_ylabel() == "length of W(a ± b)/√2"
        case, data = results.sweep.cases[name], results.datasets[name]
        W, n_pairs, minimum = view.solution(data, "W"), data.sizes["feature"] // 2, view.converged(case, data)
        assert minimum.sum() >= 3
        cosines = np.array([line.get_ydata() for line in top.lines if line.get_label().startswith("pair")])
        np.testing.assert_allclose(np.sort(cosines[:, minimum], axis=0), np.sort(view.partner_cosines(W[minimum])).T)
        lengths = np.array([line.get_ydata() for line in middle.lines if "/√2" in line.get_label()])
        np.testing.assert_allclose(
            np.square(lengths[:, minimum]).sum(0), np.square(W[minimum]).sum((-2, -1)), rtol=1e-5
        )
        assert np.isnan(lengths[:, ~minimum]).all()
        curves = [line.get_ydata() for line in bottom.lines if line.get_label().endswith("collapsed")]
        losses = view.losses_by_number(case, data)
        assert len(curves) == len(losses)
        for curve, loss in zip(curves, losses.values(), strict=True):
            ratio = loss / view.lowest_loss(data)
            np.testing.assert_allclose(curve[np.isfinite(curve)], ratio[np.isfinite(ratio)])
        numbers = [int(text.get_text()) for text in top.texts if text.get_text() in "0123"][: n_pairs + 1]
        assert numbers[0] == n_pairs and numbers[-1] == 0


def test_minima_are_told_from_other_models():
    """Gradients and losses are the reference's; a model on its way and a saddle are no minima."""
    rng = np.random.default_rng(0)
    W, b = rng.normal(0, 0.6, (2, 2, 4)), rng.normal(0, 0.2, (2, 4))
    found = minima._loss(W, b, *minima._rows(4, 0.3, 0.0))
    for mine, true in zip(found, oracle.loss_and_gradient(W, b, np.ones(4), np.full(4, 0.3)), strict=True):
        np.testing.assert_allclose(mine, true, atol=2e-3)
    merged, half = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]]) / np.sqrt(2), np.zeros((2, 4))
    half[0, :2] = np.sqrt(0.5)  # a pair left out, its outputs silent: a direction of less loss has no slope
    models = np.stack([merged, 1.1 * merged, half])
    certificate = minima.certificate(models, np.array([[0.0] * 4] * 2 + [[0, 0, 0.15, 0.15]]), np.full(3, 0.3), 1.0)
    assert certificate.minimum.tolist() == [True, False, False]
    assert certificate.gain[1] > minima.LARGEST_GAIN and certificate.curvature[2] < -minima.FLAT


def test_only_minima_count_as_losses_of_a_number_of_collapsed_pairs(results):
    case, data = results.sweep.cases["correlated_pairs"], results.datasets["correlated_pairs"].copy(deep=True)
    before = view.losses_by_number(case, data)
    data["W"][:] = data["W"].values * 1.2  # collapsed as before, and no minima; the optimum is left
    after = view.losses_by_number(case, data)
    best = view.lowest_loss(data)
    assert all((np.isnan(loss) | (loss == best)).all() for loss in after.values())
    assert sum(np.isfinite(loss).sum() for loss in after.values()) <= sum(np.isfinite(x).sum() for x in before.values())


def test_thresholds_of_single_fits():
    apart, one, both = (np.eye(2)[:, [0, 1, 1, 0]], np.eye(2)[:, [0, 0, 0, 1]], np.eye(2)[:, [0, 0, 1, 1]])
    W = np.stack([[both] * 4, [both, one, one, one], [one, one, apart, apart], [apart] * 4])
    data = xr.Dataset({"W": (("density", "restart", "hidden", "feature"), W)}, {"density": [0.8, 0.4, 0.2, 0.1]})
    assert view.half_of_the_fits(data, 1) == pytest.approx(0.2)
    assert 0.4 < view.half_of_the_fits(data, 2) < 0.8
    assert np.isnan(view.half_of_the_fits(data.isel(density=[3]), 1))


def test_the_control_of_the_hexagon(results, drawn):
    claims = {claim.claim: claim for claim in studies.claims(results) if "independent features" in claim.claim}
    data = results.datasets["six_independent"]
    (share,) = [claim for name, claim in claims.items() if "most single fits are no hexagon" in name]
    assert share.measured == view.share_of(data, "hexagon")[1] and share.kind == "paper"
    lines = [line.get_ydata() for line in drawn["hexagons"].axes[0].lines]
    for name in ("three_correlated_pairs", "six_independent"):
        wanted = view.share_of(results.datasets[name], "hexagon")
        assert any(np.array_equal(line, wanted) for line in lines)


def test_heat_maps_are_ordered_by_set_and_correlation(results, drawn):
    data = results.datasets["local_bases"]
    W, figure = view.solution(data, "W"), drawn["local_bases"]
    pictures = [ax.images[0].get_array()[:, :8] for ax in figure.axes if ax.images]
    for picture, (cell, correlation) in zip(pictures, [(0, 1), (1, 1), (0, 0), (1, 0)], strict=True):
        np.testing.assert_allclose(picture, W[cell, correlation].T @ W[cell, correlation], rtol=1e-5, atol=1e-6)


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    first = [claim._asdict() for claim in studies.claims(results)]
    for name, data in results.datasets.items():
        write_dataset(tmp_path / f"{name}.nc", data)
    stored = {name: superjax.open(tmp_path / f"{name}.nc") for name in results.datasets}
    again = [claim._asdict() for claim in studies.claims(results._replace(datasets=stored))]
    write_json(tmp_path / "claims.json", again)
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))


def planted(results, name, change):
    """The claims that held and do not after a change to the optimum of one case."""
    data = results.datasets[name].copy(deep=True)
    change(data)
    before, after = held(results), held(results._replace(datasets={**results.datasets, name: data}))
    return [claim for claim in before if before[claim] and not after.get(claim, False)]


def test_a_claim_notices_wrong_data(results):
    def swap(data):
        data["optimum_W"][:] = data["optimum_W"].values[..., [0, 2, 1, 3]]

    def lose(data):
        data["optimum_loss"] = data["optimum_loss"] + 1e-3

    def shuffle(data):
        data["W"][:] = data["W"].values[..., [0, 1, 4, 5, 2, 3, 6, 7]]

    failed = planted(results, "correlated_pairs", swap)
    assert any("cosine of partners" in claim for claim in failed)
    assert any("principal components" in claim for claim in failed)
    assert any("antipodal" in claim for claim in planted(results, "anticorrelated_pairs", swap))
    assert any("lose nothing" in claim for claim in planted(results, "anticorrelated_pairs", lose))
    assert any("orthogonal basis" in claim for claim in planted(results, "local_bases", shuffle))


def test_measures_of_known_weights():
    apart, merged = np.array([[1.0, 0, -1, 0], [0, 1, 0, -1]]), np.array([[0.7, 0.7, 0, 0], [0, 0, 0.7, 0.7]])
    W = np.stack([apart, merged, np.zeros((2, 4))])
    np.testing.assert_allclose(view.partner_cosines(W), [[0, 0], [1, 1], [0, 0]], atol=1e-12)
    assert view.collapsed(W).tolist() == [0, 2, 0]
    np.testing.assert_allclose(view.outside_sums(W[:2]), [1, 0], atol=1e-12)
    within, across = view.set_cosines(apart, 2, 0.5)
    assert within.tolist() == [0] * 4 and sorted(across) == [0] * 4 + [1] * 4


def test_the_best_linear_model_keeps_the_principal_components(results):
    """Against the covariance of the law itself, diagonalised."""
    case, density = results.sweep.cases["three_correlated_pairs"], np.array([0.1, 0.6])
    for s, loss in zip(density, view.principal_loss(case, density), strict=True):
        second = np.kron(np.eye(3), np.array([[s / 3, s / 4], [s / 4, s / 3]]))
        second += s**2 / 4 * (1 - np.kron(np.eye(3), np.ones((2, 2))))
        values = np.linalg.eigvalsh(second - s**2 / 4)
        assert loss == pytest.approx(values[:4].sum())
        assert theory.pair_variances(s, 1)[0] == pytest.approx(values[-1])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.kind=independent", "sets"),
        ("case.correlated_pairs.importance={ratio=0.9}", "equal importance"),
        ("case.three_correlated_pairs.axes.density.field=data.correlation", "axis density"),
        ("case.local_bases.n_features=10", "two sets"),
        ("case.correlated_pairs.n_hidden=3", "density .* and correlation"),
    ],
)
def test_what_cannot_be_drawn_is_refused(override, message):
    more = {
        "data.kind": "cases=three_correlated_pairs",
        "=data.correlation": "case.three_correlated_pairs.data.density=0.5",
    }
    with pytest.raises(SweepError, match=message):
        own = (text for part, text in more.items() if part in override)
        sweep = superjax.load("correlated_features", override, *own)
        studies.check(sweep)
