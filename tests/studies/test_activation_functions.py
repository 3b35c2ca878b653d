"""Phase diagrams of other activation functions: losses against quadrature and closed forms, the figure, the claims."""

import json

import jax
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from scipy import integrate

import superjax
from superjax import studies
from superjax.disk.files import write_json
from superjax.problem.models import activations
from superjax.reference import oracle, outputs, theory
from superjax.runs.dataset import derive
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import activation_functions
from superjax.studies.activation_functions import view

NAME = "activation_functions"
CASES = ["relu", "silu", "identity"]


@pytest.fixture(scope="module")
def results() -> studies.Results:
    """ReLU and SiLU trained; identity by its closed form."""
    small = [*(f"axes.{axis}.points=9" for axis in ("importance", "density")), "restarts=2", "train.objective=exact",
             "train.steps=300"]  # fmt: skip
    sweep = superjax.load(NAME, *small, f"cases={','.join(CASES)}")
    trained = superjax.run(superjax.load(NAME, *small, "cases=relu,silu"))
    return studies.Results(sweep, {**trained, "identity": of_identity(sweep, trained["relu"])}, {})


def of_identity(sweep, like):
    """The dataset of an identity output: the less important feature is left out; at importance 1 the optimum points
    between the features, and loses the same."""
    data = like.copy(deep=True)
    r, s = np.meshgrid(data["importance"].values, data["density"].values, indexing="ij")
    one, other = np.where(r < 1, 1.0, 0.0), np.where(r < 1, 0.0, 1.0)
    for name, between in (("optimum", np.isclose(r, 1)), ("optimum_other", np.zeros(r.shape, bool))):
        W = np.stack([np.where(between, 0.8, one), np.where(between, -0.6, other)], -1)
        data[f"{name}_W"] = data[f"{name}_W"].dims, W[:, :, None].astype(np.float32)
        data[f"{name}_b"] = (
            data[f"{name}_b"].dims,
            ((1 - W**2 + 0.48 * between[..., None]) * s[..., None] / 2).astype(np.float32),
        )
        data[f"{name}_loss"] = data[f"{name}_loss"].dims, np.minimum(r, 1) * theory.variance(s)
    data["optimum_other_loss"][np.arange(9) != 4] *= 1.5
    return derive(data, sweep.cases["identity"])


@pytest.fixture(scope="module")
def drawn(results) -> Figure:
    return activation_functions.figures(results)[NAME]


def held(results) -> dict[str, bool]:
    return {claim.claim: claim.holds for claim in studies.claims(results)}


def test_what_is_known_of_the_functions_is_found(results):
    holds = held(results)
    for part in ("cells whose optimum has superposition", "min(1, r)", "is antipodal", "r other than 1",
                 "largest factor", "sparsest row (smallest)", "silu: superposition in the sparsest row",
                 "silu: relative importance from which",
                 "identity: superposition in the sparsest row", "concave", "L*(1/r)", "error of the stored loss",
                 "relu: density at which superposition begins in the optimum"):  # fmt: skip
        found = [claim for claim in holds if part in claim]
        assert found and all(holds[claim] for claim in found), part


def test_two_maps_for_every_function(results, drawn):
    top = {ax.get_title(): ax for ax in drawn.axes if ax.get_title() and ax.get_title() != "loss above ReLU's"}
    assert list(top) == ["ReLU", "SiLU", "identity"]
    for case, ax in zip(CASES, top.values(), strict=True):
        plane = next(plane for plane in view.planes(results) if plane.name == case)
        mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
        np.testing.assert_array_equal(mesh.get_array(), plane.extra_phase().T)
        assert ax.get_ylim()[0] < ax.get_ylim()[1]  # density 1 at the top
        of_relu = [line for line in ax.lines if line.get_color() == "black" and line.get_linestyle() == "-"]
        assert len(of_relu) == (case != "relu")
        (small,) = ax.child_axes
        z, f = small.lines[0].get_data()
        np.testing.assert_allclose(f, activations.FUNCTIONS[case](z.astype(np.float32)), atol=2e-6)
    below = [ax for ax in drawn.axes if ax.get_title() == "loss above ReLU's"]
    relu = results.datasets["relu"]["optimum_loss"].values
    for case, ax in zip(CASES[1:], below, strict=True):
        (mesh,) = (c for c in ax.collections if isinstance(c, QuadMesh))
        excess = (results.datasets[case]["optimum_loss"].values / relu - 1).T
        shown = np.ma.filled(mesh.get_array(), np.nan)
        lower = excess < -1e-3
        assert np.isnan(shown[lower]).all()
        np.testing.assert_allclose(shown[~lower], np.clip(excess[~lower], 1e-3, 100), rtol=1e-4)


def test_a_tie_is_no_superposition(results):
    """An identity output at importance 1 may point anywhere between the features."""
    data = results.datasets["identity"].copy(deep=True)
    plane = view.Plane("identity", results.sweep.cases["identity"], data)
    assert (data["optimum_phase"].values[4] == 2).all()
    assert plane.tied()[4].all() and not plane.superposed().any() and (plane.extra_phase() != 2).all()
    data["gap"][4] = 0.01
    assert view.Plane("identity", plane.case, data).superposed()[4].all()


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    given = results._replace(datasets={"identity": results.datasets["identity"]})
    first = [claim._asdict() for claim in studies.claims(given)]
    write_dataset(tmp_path / "stored.nc", given.datasets["identity"])
    stored = {"identity": superjax.open(tmp_path / "stored.nc")}
    again = [claim._asdict() for claim in studies.claims(results._replace(datasets=stored))]
    write_json(tmp_path / "claims.json", again)
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))


def test_a_claim_notices_wrong_data(results):
    data = {name: one.copy(deep=True) for name, one in results.datasets.items()}
    data["silu"]["optimum_loss"][2, 5] *= 1.05
    data["silu"]["optimum_W"][:] = np.abs(data["silu"]["optimum_W"])
    data["identity"]["optimum_phase"][1] = 2
    data["identity"]["optimum_W"][1] = 1
    data["identity"]["optimum_loss"][1, 1] *= 1.01
    data["identity"]["optimum_loss"][:, -1] = 1e-9
    before, after = held(results), held(results._replace(datasets=data))
    failed = [claim for claim in before if before[claim] and not after.get(claim, False)]
    for part in ("cells whose optimum", "min(1, r)", "is antipodal", "r other than 1", "sparsest row (smallest)",
                 "concave", "error of the stored"):  # fmt: skip
        assert any(part in claim for claim in failed), part


def test_a_pair_is_better_from_some_importance_on(results):
    """Below the importance that the claim states one feature alone is best in the sparse limit, above it a pair."""
    (claim,) = (c for c in studies.claims(results) if "relative importance from which" in c.claim)
    for factor, better in ((0.98, False), (1.02, True)):
        pair, one = outputs.sparse_limit("silu", factor * claim.expected)
        assert (pair < one * (1 - 2e-3)) == better
    data = results.datasets["silu"].copy(deep=True)
    data["optimum_phase"][:3] = 0  # none up to importance 0.3
    (claim,) = (c for c in studies.claims(results._replace(datasets={"silu": data})) if "importance from" in c.claim)
    assert not claim.holds


# --- the reference ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", outputs.FUNCTIONS)
def test_functions_are_those_of_the_models(name):
    z = np.linspace(-4, 4, 401)
    ours = np.asarray(activations.FUNCTIONS[name](jax.numpy.asarray(z, np.float32)))
    np.testing.assert_allclose(outputs.FUNCTIONS[name](z), ours, atol=3e-6)
    assert outputs.FUNCTIONS.keys() == activations.FUNCTIONS.keys() == view.WORDS.keys()


def test_the_loss_of_a_relu_is_that_of_the_oracle():
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(20, 2)), 0.3 * rng.normal(size=(20, 2))
    r, s = rng.uniform(0.1, 10, 20), rng.uniform(0.02, 1, 20)
    importance, density = np.stack([np.ones(20), r], -1), np.stack([s, s], -1)
    exact = oracle.expected_loss(W[:, None], b, importance, density)
    np.testing.assert_allclose(outputs.pair_loss("relu", W, b, r, s), exact, rtol=2e-3)


def test_the_loss_of_a_smooth_function_is_an_adaptive_integral():
    W, b, r, s = np.array([0.9, -0.7]), np.array([-0.1, 0.05]), 0.4, 0.3
    f, total = outputs.FUNCTIONS["gelu"], 0.0
    for i, own in enumerate((1, r)):

        def error(x, y, i=i):
            h = W[0] * x + W[1] * y
            return ((x, y)[i] - f(W[i] * h + b[i])) ** 2

        parts = (
            (1 - s) ** 2 * error(0, 0), s * (1 - s) * integrate.quad(lambda x, e=error: e(x, 0), 0, 1)[0],
            s * (1 - s) * integrate.quad(lambda y, e=error: e(0, y), 0, 1)[0],
            s * s * integrate.dblquad(error, 0, 1, 0, 1)[0],
        )  # fmt: skip
        total += own * sum(parts)
    found = outputs.pair_loss("gelu", W[None], b[None], np.array([r]), np.array([s]))
    assert found[0] == pytest.approx(total, rel=1e-9)


def test_the_optimum_is_that_of_a_search_in_float64(results):
    """Of the identity it is known."""
    cell = results.datasets["silu"].isel(importance=2, density=4)
    r, s = float(cell["importance"]), float(cell["density"])
    assert outputs.pair_minimum("identity", r, s) == pytest.approx(r * float(theory.variance(s)), rel=1e-4)
    assert float(cell["optimum_loss"]) == pytest.approx(outputs.pair_minimum("silu", r, s), rel=1e-3)


def test_the_sparse_limit_of_known_functions():
    for function, r in (("identity", 0.5), ("abs", 0.5), ("identity", 3.0)):
        pair, one = outputs.sparse_limit(function, r)
        assert one == pytest.approx(min(r, 1) / 3) and pair >= one * (1 - 1e-4)
    pair, one = outputs.sparse_limit("relu", 0.5)
    assert pair == pytest.approx(0, abs=1e-6) and one == pytest.approx(0.5 / 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("n_features=3", "n_features"),
        ("model.kind=relu_hidden", "relu_output"),
        ("optimum=false", "optimum = true"),
        ("target.kind=square", "another target"),
    ],
)
def test_what_cannot_be_drawn_is_refused(override, message):
    with pytest.raises(SweepError, match=message):
        studies.check(superjax.load(NAME, "cases=relu", override))
