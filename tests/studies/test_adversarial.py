"""Attacks on models that are known, and on trained ones again in plain numpy; what figures draw and claims notice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.stats import spearmanr

import superjax
from superjax import studies
from superjax.problem.data import Independent
from superjax.problem.models import MODELS
from superjax.runs import reading
from superjax.runs.case_run import CaseRun
from superjax.runs.netcdf import write_dataset
from superjax.runs.stages import attack
from superjax.runs.starting import with_arrays
from superjax.spec import SweepError
from superjax.spec.fields import Attack
from superjax.studies import adversarial
from superjax.studies.adversarial.view import attacked

REDUCED = (
    "cases=n20_m5", "n_features=6", "n_hidden=2", "restarts=3", "train.steps=500", "train.learning_rate=0.03",
    "axes.density.points=3",
    "attack.steps=30", "attack.starts=3", "attack.random=50", "attack.found_on=512",
    "attack.chosen_on=2048", "attack.scored_on=8192",
)  # fmt: skip
"""Overrides that make the packaged sweep small."""


@pytest.fixture(scope="module")
def sizes():
    """Attacks of two sizes on the same models."""
    return superjax.run(
        superjax.load("adversarial", *REDUCED, "study=''", "axes.size={field='attack.size', values=[0.1, 0.2]}")
    )


@pytest.fixture(scope="module")
def results(sizes) -> studies.Results:
    sweep = superjax.load("adversarial", *REDUCED)
    return studies.Results(sweep, {name: data.isel(size=0, drop=True) for name, data in sizes.items()}, {})


def one(results) -> "adversarial.view.Attacked":
    (found,) = attacked(results)
    return found


_compiled = jax.jit(attack.attack_one, static_argnames="steps")


def attack_one(W, b, density, importance):
    """What is found of one model with given weights, four features in two dimensions."""
    model = with_arrays(
        MODELS["relu_output"](4, 2, 1.0, key=jax.random.key(0)), {"W": np.float32(W), "b": np.float32(b)}
    )
    draws = attack.drawn(Attack(starts=5, random=200, scored_on=2**15), Independent, 4, 0)
    data = Independent(jnp.full(4, density, jnp.float32))
    found = _compiled(model, data, jnp.asarray(importance, jnp.float32), jnp.float32(0.1), steps=100, draws=draws)
    return jax.tree.map(np.asarray, found)


def mean_norm(n: int, density: float) -> float:
    """E‖x‖ from the Laplace transform of ‖x‖²: E√S = ∫ (1 - E e^(-tS)) t^(-3/2) dt / (2√π)."""
    nodes, weights = np.polynomial.legendre.leggauss(60)

    def of_log(log: float) -> float:
        t = np.exp(log)
        one = 1 - density + density * np.sum(weights * np.exp(-t * ((nodes + 1) / 2) ** 2)) / 2
        return (1 - one**n) * t**-0.5

    return quad(of_log, -30, 6, limit=200)[0] / (2 * np.sqrt(np.pi)) + np.exp(-3) / np.sqrt(np.pi) * (
        1 - (1 - density) ** n
    )


def test_a_model_without_superposition_loses_the_radius_squared_to_every_attack():
    importance = np.array([1.0, 0.8, 0.6, 0.4])
    W, b = np.eye(2, 4), np.array([0, 0, 0.1, 0.1])
    found = attack_one(W, b, 0.2, importance)
    radius = 0.1 * found.input_norm
    np.testing.assert_allclose(found.input_norm, mean_norm(4, 0.2), rtol=0.01)
    np.testing.assert_allclose(found.excess[:2, 0], radius**2, rtol=0.01)
    assert (found.excess[:, 0] <= radius**2 * 1.0001).all()
    np.testing.assert_allclose(found.each[0], radius**2, rtol=1e-4)
    assert found.feature == 0 and found.excess[0, 1] < 1e-6
    np.testing.assert_allclose(found.perturbation[0], radius * np.eye(4)[0], atol=1e-6)


def test_ascent_finds_the_largest_of_a_quadratic_form():
    """That of an eigenvector, from almost any start; where the gradient is 0 it stays."""
    root = np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)
    form, start = root @ root.T, np.full(5, 0.1, np.float32)
    found = np.asarray(attack.ascend(lambda x: x @ form @ x, jnp.asarray(start), jnp.float32(0.3), 100))
    np.testing.assert_allclose(found @ form @ found, 0.09 * np.linalg.eigvalsh(form)[-1], rtol=1e-3)
    assert np.linalg.norm(found) <= 0.3 * 1.0001
    masked = attack.ascend(lambda x: jnp.maximum(x.sum() - 10, 0.0), jnp.asarray(start), jnp.float32(0.3), 10)
    np.testing.assert_allclose(masked, start)


def test_a_digon_under_attack_is_that_of_quadrature():
    density, b, W = 0.3, -0.05, np.array([[1.0, -1, 0, 0], [0, 0, 0, 0]])
    found = attack_one(W, np.full(4, b), density, [1, 1, 0, 0])
    u = (np.arange(2000) + 0.5) / 2000
    active = [(a, c) for a in (0, 1) for c in (0, 1)]

    def loss(shift: np.ndarray) -> float:
        total = 0.0
        for set_ in active:
            x, y = np.meshgrid(*(u if on else np.zeros(1) for on in set_), indexing="ij")
            h = x + shift[0] - y - shift[1]
            error = (np.maximum(h + b, 0) - x) ** 2 + (np.maximum(b - h, 0) - y) ** 2
            total += density ** sum(set_) * (1 - density) ** (2 - sum(set_)) * error.mean()
        return total

    exact = np.array([loss(shift) for shift in found.perturbation.astype(float)])
    clean = loss(np.zeros(2))
    for measured, true in ((found.loss, exact), (found.excess, exact - clean), (found.clean[None], np.array([clean]))):
        assert (np.abs(measured[:, 0] - true) < 4 * measured[:, 1] + 1e-6).all()
        assert (measured[:, 1] < 0.1 * measured[:, 0]).all()


def test_what_is_stored_is_what_plain_numpy_finds(results):
    (data,) = results.datasets.values()
    case = one(results).case
    importance, rng = np.array(case.importance_vector()), np.random.default_rng(1)
    for cell, density in enumerate(data["density"].values):
        at = data.isel(density=cell)
        np.testing.assert_allclose(at["attack_radius"], case.attack.size * at["attack_input_norm"], rtol=1e-6)
        np.testing.assert_allclose(at["attack_input_norm"], mean_norm(6, density), rtol=0.02)
        u = rng.random((40_000, 6))
        x = np.where(u < density, u / density, 0)
        for restart in range(case.restarts):
            model = at.isel(restart=restart)
            W, b = (model[name].values.astype(float) for name in ("W", "b"))

            def errors(shift, x=x, W=W, b=b):
                return (np.maximum((x + shift) @ W.T @ W + b, 0) - x) ** 2 @ importance

            on = (x @ W.T @ W + b > 0).mean(0)
            np.testing.assert_allclose(model["attack_on"], on, atol=0.03)
            directions = W.T @ W / np.linalg.norm(W.T @ W, axis=1, keepdims=True)
            clean, radius = errors(0), float(model["attack_radius"])
            each = np.max([errors(radius * row) for row in directions], axis=0) - clean
            _same(model["attack_each_vulnerability"], model["attack_each_vulnerability_error"],
                  each / float(model["attack_baseline"]))  # fmt: skip
            _same(model["attack_clean_loss"], model["attack_clean_loss_error"], clean)
            for kind in range(len(attack.KINDS)):
                of = model.isel(attack=kind)
                shift = of["attack_perturbation"].values.astype(float)
                assert np.linalg.norm(shift) <= radius * 1.0001
                _same(of["attack_loss"], of["attack_loss_error"], errors(shift))
                _same(of["attack_excess"], of["attack_excess_error"], errors(shift) - clean)
            np.testing.assert_allclose(
                model["attack_perturbation"][0] / radius, directions[int(model["attack_feature"])], atol=1e-4
            )
            worst = float(model["attack_excess"][int(model["attack_worst"])])
            np.testing.assert_allclose(model["attack_vulnerability"], worst / radius**2 / importance.max(), rtol=1e-5)
            np.testing.assert_allclose(model["attack_less"], worst - model["attack_excess"], atol=1e-6)


def test_the_kind_is_chosen_on_other_inputs_than_it_is_scored_on():
    rng = np.random.default_rng(3)
    W, b, density, importance = rng.normal(size=(2, 4)), np.full(4, -0.1), 0.05, np.ones(4)
    found = attack_one(W, b, density, importance)
    draws = attack.drawn(Attack(starts=5, random=200, scored_on=2**15), Independent, 4, 0)
    data = Independent(jnp.full(4, density, jnp.float32))
    harm, less = [], []
    for uniforms in (draws.chosen, draws.scored):
        inputs = attack.inputs(data, uniforms)
        x, weight = (np.asarray(part, float) for part in inputs)
        z = x @ W.T @ W + b
        loss = np.stack([(np.maximum(z + shift @ W.T @ W, 0) - x) ** 2 @ importance for shift in found.perturbation])
        harm.append(loss @ weight)
        less.append(loss[found.worst] - loss)
    assert found.worst == np.argmax(harm[0])
    np.testing.assert_allclose(found.less[:, 0], less[1] @ weight, atol=1e-5)
    error = (1 - weight[-1]) * less[1][:, :-1].std(1) / np.sqrt(less[1].shape[1] - 2)
    np.testing.assert_allclose(found.less[:, 1], error, rtol=0.02, atol=1e-6)


def _same(measured, error, values: np.ndarray) -> None:
    """Two independent means agree within five standard errors."""
    own = values.std() / np.sqrt(len(values))
    assert abs(float(measured) - values.mean()) < 5 * np.hypot(float(error), own) + 1e-7


def test_a_run_is_drawn_again_from_its_files(results, tmp_path):
    (name,), (case,) = results.datasets, results.sweep.cases.values()
    write_dataset(tmp_path / "attacked.nc", results.datasets[name])
    stored = superjax.open(tmp_path / "attacked.nc")
    assert not reading.misfit(stored, case)
    assert reading.misfit(stored.drop_vars("attack_excess"), case) == (
        "has no attack_excess (density, restart, attack)"
    )


def test_the_size_may_be_an_axis(sizes):
    (data,) = sizes.values()
    small, large = (data.isel(size=k) for k in range(2))
    np.testing.assert_array_equal(small["W"], large["W"])
    np.testing.assert_allclose(large["attack_radius"], 2 * small["attack_radius"], rtol=1e-6)
    assert (large["attack_excess"].max("attack") > 2 * small["attack_excess"].max("attack")).all()
    assert data["attack_excess"].dims == ("density", "size", "restart", "attack")
    assert all(data[name].attrs["long_name"] for name in data if str(name).startswith("attack"))


def test_derived_ratios_are_those_of_the_matrix(results):
    case = one(results)
    W = case.of("W")
    G = np.swapaxes(W, -1, -2) @ W
    np.testing.assert_allclose(case.per_feature, (case.importance * np.square(G).sum(-1)).max(-1), rtol=1e-4)
    model = 1, 2
    second = np.linalg.eigvalsh(G[model] @ np.diag(case.importance * case.of("attack_on")[model]) @ G[model])[-1]
    np.testing.assert_allclose(case.second_order[model], second, rtol=1e-6)
    rows = [g @ G[model] @ np.diag(case.importance * case.of("attack_on")[model]) @ G[model] @ g / (g @ g)
            for g in G[model]]  # fmt: skip
    np.testing.assert_allclose(case.best_row[model], max(rows) / second, rtol=1e-5)
    np.testing.assert_allclose(case.per_dimension, np.square(W).sum((-1, -2)) / 2, rtol=1e-5)


def test_the_figures_draw_the_medians_and_all_models(results):
    case, drawn = one(results), adversarial.figures(results)
    top, middle, bottom = drawn["adversarial"].axes[:3]
    lines = {line.get_label(): line for line in top.lines}
    together = lines["one attack for all inputs"]
    np.testing.assert_allclose(together.get_xdata(), 1 / case.density)
    np.testing.assert_allclose(together.get_ydata(), np.median(case.vulnerability, axis=1))
    np.testing.assert_allclose(middle.lines[1].get_ydata(), np.median(case.per_dimension, axis=1))
    points = bottom.collections[1].get_offsets()
    np.testing.assert_allclose(points, np.stack([case.per_dimension, case.vulnerability], -1).reshape(-1, 2))
    kinds = drawn["adversarial_attacks"].axes[0]
    np.testing.assert_allclose(kinds.lines[1].get_ydata(), np.median(case.relative_harm[..., 1], axis=1))
    assert [text.get_text() for text in kinds.get_legend().get_texts()] == list(adversarial.view.KINDS.values())


def claim(results, words: str):
    (found,) = [claim for claim in adversarial.claims(results) if words in claim.claim]
    return found


def test_claims_are_measured_from_the_dataset(results):
    case = one(results)
    rises = claim(results, "without superposition, one attack")
    assert rises.measured == np.median(case.vulnerability, axis=1).max() and rises.holds == (rises.measured > 3)
    tracks = claim(results, "over all models, one attack")
    assert tracks.measured == pytest.approx(spearmanr(case.per_dimension, case.vulnerability, axis=None).statistic)
    assert claim(results, "more than the reported").holds
    (name,) = results.datasets
    for value in (1.0, 1.05):
        data = results.datasets[name].copy()
        data["attack_vulnerability"] = xr.where(data["density"] == 1, value, data["attack_vulnerability"])
        dense = claim(results._replace(datasets={name: data}), "density 1, where")
        assert dense.measured == pytest.approx(value) and dense.holds == (value == 1)


@pytest.mark.parametrize(
    "words, variable, factor",
    [
        ("without superposition, each", "attack_each_vulnerability", 0.01),
        ("more than the reported", "attack_less", -30),
        ("standard error of the vuln", "attack_vulnerability_error", 100),
        ("harm of the analytic", "attack_excess", np.array([0.5, 1, 1, 1])),
        ("the same of all models", "attack_excess", np.array([0.5, 1, 1, 1])),
    ],
)
def test_claims_fail_where_data_are_otherwise(results, words, variable, factor):
    (name,) = results.datasets
    data = results.datasets[name].copy()
    data[variable] = data[variable] * factor
    assert not claim(results._replace(datasets={name: data}), words).holds


@pytest.mark.parametrize(
    "overrides, says",
    [
        (("model.kind=two_layer",), "needs a model that is the ReLU of an affine map"),
        (("model.activation=gelu",), "needs a model that is the ReLU of an affine map"),
        (("target.kind=square",), "needs target.kind"),
        (("attack.size=0",), "must be > 0"),
    ],
)
def test_what_cannot_be_attacked_is_refused_before_training(overrides, says):
    with pytest.raises(SweepError, match=says):
        (case,) = superjax.load("adversarial", *REDUCED, "study=''", *overrides).cases.values()
        CaseRun("refused", case)


def test_the_study_needs_attacks_and_densities_alone(tmp_path):
    (tmp_path / "none.toml").write_text(
        'study = "adversarial"\nn_features = 3\nn_hidden = 1\n'
        '[axes.density]\nfield = "data.density"\nvalues = [1, 0.5]\n'
    )
    with pytest.raises(SweepError, match=r"needs \[attack\]"):
        studies.check(superjax.load(tmp_path / "none.toml"))
    with pytest.raises(SweepError, match="exactly the axis density"):
        studies.check(superjax.load("adversarial", "axes.size={field='attack.size', values=[0.1, 0.2]}"))
