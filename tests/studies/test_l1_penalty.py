"""The penalty on hidden activations: boundaries with and without it, closed forms, the figure, claims that notice."""

import json

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from scipy import optimize

import superjax
from superjax import analysis, studies
from superjax.disk.files import write_json
from superjax.reference import oracle
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import l1_penalty
from superjax.studies.l1_penalty import view

NAME, CASE = "l1_penalty", "less_important"


@pytest.fixture(scope="module")
def results() -> studies.Results:
    many = ["n_features=4", "n_hidden=2", "restarts=2", "train.steps=20", "axes.density.points=3",
            "axes.penalty.points=3"]  # fmt: skip
    less = ["restarts=2", "train.objective=exact", "train.steps=300"]
    own = [f"case.{name}.{one}" for name, some in (("many", many), (CASE, less)) for one in some]
    sweep = superjax.load(NAME, f"cases={CASE},many", "axes.density.points=10", "axes.penalty.points=9", *own,
                          "case.many.train.objective=exact")  # fmt: skip
    return studies.Results(sweep, superjax.run(sweep), {})


@pytest.fixture(scope="module")
def plane(results) -> view.Plane:
    return view.planes(results)[0]


@pytest.fixture(scope="module")
def drawn(results) -> Figure:
    return l1_penalty.figures(results)[NAME]


def held(results) -> dict[str, bool]:
    return {claim.claim: claim.holds for claim in studies.claims(results)}


def test_what_is_known_of_the_penalty_is_found(results):
    holds = held(results)
    for part in ("relative importance 0.3, in the optimum", "densities with superposition, more",
                 "single restarts with more features", "single restarts with superposition at penalties above",
                 "loss without the penalty term", "concave in", "fall of the optimum's loss", "penalty above which",
                 "norm of the weaker", "error of the stored"):  # fmt: skip
        found = [claim for claim in holds if part in claim and CASE in claim]
        assert found and all(holds[claim] for claim in found), part


def test_the_closed_form_is_the_minimum_over_the_weight():
    """Below the critical penalty some weight loses less than none, above it none does."""
    w = np.linspace(0, 1.2, 20001)
    for factor, kept in ((0.999, True), (1.001, False)):
        loss = (1 - w**2) ** 2 / 3 + view.LARGEST * factor * w / 2
        assert (loss.min() < 1 / 3 - 1e-9) == kept
    for factor, stays in ((0.999, True), (1.001, False)):
        loss = (1 - w**2) ** 2 / 3 + view.STAYS * factor * w / 2
        inner = (loss[1:-1] < loss[:-2]) & (loss[1:-1] < loss[2:])
        assert inner.any() == stays and loss[1] > loss[0]  # no weight is a minimum too
    at = optimize.minimize_scalar(lambda w: -(2 / 3) * (2 * w - w**3), bounds=(0, 1), method="bounded")
    assert at.x == pytest.approx(view.NORM_THERE, abs=1e-5) and -at.fun == pytest.approx(view.LARGEST)


def test_the_objective_is_that_of_the_float64_reference(plane):
    """The error by the oracle, the penalty by quadrature over the sets of active features."""
    x, weight = np.polynomial.legendre.leggauss(200)
    x, weight = (x + 1) / 2, weight / 2
    a, b = np.meshgrid(x, x, indexing="ij")
    for i, j in ((0, 3), (1, 6), (3, 7)):
        cell = plane.data.isel(penalty=i, density=j)
        w, bias = (cell[name].values.astype(float) for name in ("optimum_W", "optimum_b"))
        s, strength = float(cell["density"]), float(cell["penalty"])
        error = oracle.expected_loss(w, bias, np.array([1, 0.3]), np.full(2, s))
        both = np.einsum("ij,i,j->", np.abs(w[0, 0] * a + w[0, 1] * b), weight, weight)
        size = s * (1 - s) * np.abs(w).sum() / 2 + s * s * both
        assert float(cell["optimum_loss"]) == pytest.approx(float(error), rel=1e-3)
        assert float(cell["optimum_objective"]) == pytest.approx(float(error) + strength * size, rel=1e-3)


def test_maps_of_every_case(results, drawn):
    planes = view.planes(results)
    maps = [[c for c in ax.collections if isinstance(c, QuadMesh)] for ax in drawn.axes]
    maps = [meshes[0].get_array() for ax, meshes in zip(drawn.axes, maps, strict=True)
            if meshes and ax.get_label() != "<colorbar>"]  # fmt: skip
    assert len(maps) == 4 * len(planes)
    for k, plane in enumerate(planes):
        phase, count, interference, loss = maps[4 * k : 4 * k + 4]
        np.testing.assert_array_equal(phase, plane.newcomer().T)
        np.testing.assert_array_equal(count, plane.represented().T)
        np.testing.assert_allclose(interference, plane.interference().T)
        np.testing.assert_allclose(loss, np.clip(plane.error() / plane.of_nothing(), 1e-2, 1).T)


def test_the_best_model_is_the_optimum_or_the_best_restart(results):
    less, many = view.planes(results)
    assert less.optimal and not many.optimal
    np.testing.assert_array_equal(less.error(), less.data["optimum_loss"])
    phase = many.data["phase"].values
    best = np.take_along_axis(phase, many.data["best"].values[..., None, None], 2)[:, :, 0]
    np.testing.assert_array_equal(many.represented(), analysis.represented(best).sum(-1))
    np.testing.assert_array_equal(many.newcomer(), best[..., 2])


def test_where_superposition_ends_along_the_penalty(plane):
    data = plane.data.copy(deep=True)
    phase = np.zeros(data["optimum_phase"].shape, np.int8)
    phase[:3, 0], phase[:, 1] = 2, 2
    data["optimum_phase"] = data["optimum_phase"].dims, phase
    made = view.Plane(plane.name, plane.case, data)
    assert made.ends(0) == pytest.approx((plane.penalty[2] + plane.penalty[3]) / 2)
    assert np.isinf(made.ends(1)) and np.isnan(made.ends(2))


def test_features_that_share_a_neuron_lose_to_features_apart(results):
    """Two features on one neuron, another neuron idle: apart they interfere with nothing."""
    many = view.planes(results)[1]
    data = many.data.copy(deep=True)
    for name in ("W", "b", "phase"):
        data[name][...] = 0
    data["W"].loc[{"hidden": 0, "feature": 0}] = 1.0
    data["W"].loc[{"hidden": 0, "feature": 1}] = -1.0
    data["phase"].loc[{"feature": [0, 1]}] = 2
    data["phase"][{"penalty": 0}] = 2  # without a penalty there is superposition
    made = view.Plane(many.name, many.case, data)
    gains = made.gains_apart()
    assert gains.shape == (len(many.density),) and (gains[many.density > 0.05] > 0).all()
    shared = [c for c in studies.claims(results._replace(datasets={"many": data})) if "superposed features" in c.claim]
    assert [(claim.measured, claim.holds) for claim in shared] == [(3, False), (1.0, False)]
    data["phase"][...] = 1
    assert view.Plane(many.name, many.case, data).gains_apart().size == 0


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    first = [claim._asdict() for claim in studies.claims(results)]
    stored = {}
    for name, data in results.datasets.items():
        write_dataset(tmp_path / f"{name}.nc", data)
        stored[name] = superjax.open(tmp_path / f"{name}.nc")
    again = [claim._asdict() for claim in studies.claims(results._replace(datasets=stored))]
    write_json(tmp_path / "claims.json", again)
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))


def test_a_claim_notices_wrong_data(results):
    data = results.datasets[CASE].copy(deep=True)
    data["optimum_objective"][1] *= 0.9
    data["optimum_loss"][4] = 0.0
    data["optimum_phase"][-1] = 2
    data["optimum_norm"][:] *= 0.5
    data["phase"][-2:] = 2
    before = held(results)
    after = held(results._replace(datasets={**results.datasets, CASE: data}))
    failed = [claim for claim in before if before[claim] and not after.get(claim, False)]
    for part in ("densities with superposition, more", "single restarts with more features",
                 "restarts with superposition at penalties above", "concave", "fall of the", "penalty above which",
                 "error of the stored"):  # fmt: skip
        assert any(part in claim for claim in failed), part


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.kind=linear", "relu_output"),
        ("axes.penalty.field=terms.l1.strength axes.density.points=2", "3 points"),
        ("case.less_important.n_hidden=2", "more features than dimensions"),
        ("terms.power.power=4", "squared error"),
        ("data.kind=signed", "independent"),
    ],
)
def test_what_cannot_be_drawn_is_refused(override, message):
    with pytest.raises(SweepError, match=message):
        studies.check(superjax.load(NAME, f"cases={CASE}", *override.split()))
