"""The phase diagram with correlation: its maps, its boundary against the closed form, and claims that notice errors."""

import json

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

import superjax
from superjax import studies
from superjax.disk.files import write_json
from superjax.reference import theory
from superjax.runs.netcdf import write_dataset
from superjax.spec import Phases, SweepError
from superjax.studies import correlated_phase_diagram
from superjax.studies.correlated_phase_diagram import view
from tests.parts import sets_of

RHO = [-1, 0, 0.5, 1]
NAME = "correlated_phase_diagram"


@pytest.fixture(scope="module")
def results() -> studies.Results:
    points = [f"axes.{axis}.points=13" for axis in ("importance", "density")]
    sweep = superjax.load(NAME, *points, f"axes.correlation.values={RHO}", "restarts=3", "train.steps=300")
    return studies.Results(sweep, superjax.run(sweep), {})


@pytest.fixture(scope="module")
def drawn(results) -> dict[str, Figure]:
    return correlated_phase_diagram.figures(results)


def held(results) -> dict[str, bool]:
    return {claim.claim: claim.holds for claim in studies.claims(results)}


def test_the_known_optima_are_found(results):
    holds = held(results)
    for part in ("correlation 0: density at which superposition begins in the optimum, relative importance 0.3",
                 "correlation −1: density below which", "correlation 0.5: density below which", "not merged",
                 "up to density 1/2, relative", "antipodal up to density 1/2", "against s/12",
                 "does not depend on density", "concave", "L*(1/r)"):  # fmt: skip
        found = [claim for claim in holds if part in claim]
        assert found and all(holds[claim] for claim in found), part


def test_a_map_for_every_correlation_with_the_merged_cells_hatched(results, drawn):
    data = results.datasets[NAME]
    maps = [ax for ax in drawn[NAME].axes if ax.get_title()]
    assert [float(ax.get_title().split()[2]) for ax in maps] == RHO
    for k, ax in enumerate(maps):
        mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
        np.testing.assert_array_equal(mesh.get_array(), data["optimum_phase"][:, :, k, -1].values.T)
        *theory_line, measured = ax.lines
        assert len(theory_line) == (RHO[k] == 0)  # it is that of independent features
        for line in theory_line:
            np.testing.assert_allclose(line.get_ydata(), theory.pair_boundary(line.get_xdata(), 0.0))
        np.testing.assert_array_equal(measured.get_xdata(), data["importance"])
        assert ax.get_ylim()[0] < ax.get_ylim()[1]  # density 1 at the top
        hatched = [path for c in ax.collections if not isinstance(c, QuadMesh) for path in c.get_paths()]
        W = data["optimum_W"][:, :, k].values[:, :, 0]
        merged = (np.abs(W) >= 0.5).all(-1) & (W.prod(-1) > 0)
        assert merged.any() == (RHO[k] > 0)
        for i, r in enumerate(data["importance"].values):
            for j, s in enumerate(data["density"].values):
                assert any(path.contains_point((r, s)) for path in hatched) == merged[i, j]


def test_boundaries_are_drawn_for_every_correlation(results, drawn):
    left, middle, right = drawn["boundaries"].axes[:3]
    dots = {line.get_label(): line for line in left.lines if line.get_label().startswith("ρ")}
    assert list(dots) == ["ρ = -1", "ρ = 0", "ρ = 0.5", "ρ = 1: never"]
    for (_, _, diagram), line in zip(view.slices(results), dots.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), view.antipodal_boundary(diagram).position())
    assert [text.get_text() for text in middle.get_legend().get_texts()] == [
        f"relative importance {r}" for r in ("0.1", "0.32", "1")
    ]
    mesh = next(c for c in right.collections if isinstance(c, QuadMesh))
    W = results.datasets[NAME]["optimum_W"].isel(importance=6, hidden=0).values
    np.testing.assert_allclose(mesh.get_array(), W.prod(-1))


def test_kinds_of_known_weights():
    W = np.array([[[1.0, -1.0]], [[0.7, 0.7]], [[1.0, 0.3]], [[-1.0, 0.6]]])
    assert view.kinds(W, Phases()).tolist() == [-1, 1, 0, -1]


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    first = [claim._asdict() for claim in studies.claims(results)]
    write_dataset(tmp_path / "stored.nc", results.datasets[NAME])
    stored = {NAME: superjax.open(tmp_path / "stored.nc")}
    again = [claim._asdict() for claim in studies.claims(results._replace(datasets=stored))]
    write_json(tmp_path / "claims.json", again)
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))


def test_a_claim_notices_wrong_data(results):
    data = results.datasets[NAME].copy(deep=True)
    data["optimum_loss"][2, 8, 2] *= 1.05
    data["optimum_loss"][:, -1, 0] += 1e-6
    data["optimum_W"][:, :, 3] = np.abs(data["optimum_W"][:, :, 3]) * [1, -1]
    before, after = held(results), held(results._replace(datasets={NAME: data}))
    failed = [claim for claim in before if before[claim] and not after.get(claim, False)]
    for part in ("concave", "1/r", "not merged", "up to density 1/2, relative", "against s/12"):
        assert any(part in claim for claim in failed), part


@pytest.mark.parametrize("rho", [-1.0, -0.4, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("s", [0.1, 0.5, 0.9])
def test_closed_forms_equal_a_quadrature_over_the_law(rho, s):
    """Over the enumerated patterns of the generator itself."""
    law = sets_of(2, 2)(np.full(2, s), np.asarray(rho))
    active = np.array([[False, False], [True, False], [False, True], [True, True]])
    probability = np.asarray(law.probability(active))
    assert theory.both_active(s, rho) == pytest.approx(probability[3], abs=1e-6)
    points, weights = np.polynomial.legendre.leggauss(400)
    a, b = np.meshgrid((points + 1) / 2, (points + 1) / 2, indexing="ij")
    r, losses = 0.3, theory.pair_losses(0.3, s, rho)

    def loss(w, bias):
        total = 0.0
        for on, p in zip(active, probability, strict=True):
            x = np.stack([a * on[0], b * on[1]])
            error = x - np.maximum(np.multiply.outer(w, w[0] * x[0] + w[1] * x[1]) + bias[:, None, None], 0)
            total += p * np.einsum("kij,i,j->k", error**2, weights, weights) / 4
        return total @ [1, r]

    half = np.sqrt(0.5)
    for name, w, bias in (
        ("antipodal", [1, -1], [0, 0]), ("merged", [half, half], [0, 0]),
        ("ignore_extra", [1, 0], [0, s / 2]), ("drop_other", [0, 1], [s / 2, 0]),
    ):  # fmt: skip
        assert losses[name] == pytest.approx(loss(np.array(w, float), np.array(bias, float)), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("rho", [-1.0, -0.5, -0.1, 0.0, 0.2, 0.5, 0.7, 1.0])
def test_the_antipodal_pair_is_best_exactly_below_its_boundary(rho):
    r, s = np.geomspace(0.1, 10, 21)[:, None], np.linspace(0.005, 1, 200)
    losses = theory.pair_losses(r, s, rho)
    antipodal = losses.pop("antipodal")
    margin = np.min(list(losses.values()), axis=0) - antipodal
    clear = np.abs(margin) > 1e-9
    below = np.broadcast_to(s < np.asarray(theory.pair_boundary(r, rho)), margin.shape)
    np.testing.assert_array_equal((margin > 0)[clear], below[clear])


def test_without_correlation_the_theory_is_that_of_independent_features():
    r = np.geomspace(0.1, 10, 9)
    np.testing.assert_allclose(theory.pair_boundary(r, 0.0), theory.superposition_boundary(r, 2, 1))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.set_size=1", "data.set_size of 2 or more"),
        ("n_features=4", "n_features = 2"),
        ("optimum=false", "optimum = true"),
        ("axes.density.points=2", "3 points"),
        ("axes.correlation.field=data.density[1]", "correlation"),
    ],
)
def test_what_cannot_be_drawn_is_refused(override, message):
    with pytest.raises(SweepError, match=message):
        studies.check(superjax.load(NAME, override))
