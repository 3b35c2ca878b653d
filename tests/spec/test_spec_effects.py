"""Input without effect: one table says when a field matters, and what does not matter is refused or at rest."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superjax.engine.train import optimizer
from superjax.runs.problems import evaluation_objectives, problem_of, training_parts
from superjax.runs.runner import run_case
from superjax.spec import Case, SweepError, load
from superjax.spec.effects import MATTERS, why_not
from tests.parts import sets_of

SMALL = "n_features = 3\nn_hidden = 2\n"
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "lion")
BATCH = 'has no effect with train.objective = "exact"; it needs train.objective = "quasi" or "minibatch" (case '


@pytest.fixture
def sweep(tmp_path: Path):
    def sweep(text: str, *overrides: str):
        (tmp_path / "s.toml").write_text(text)
        return load(tmp_path / "s.toml", *overrides)

    return sweep


def refused(sweep, text: str, *overrides: str) -> str:
    with pytest.raises(SweepError) as error:
        sweep(SMALL + text, *overrides)
    return str(error.value)


# The table is what training does.

HYPER = {"learning_rate": 0.1, "weight_decay": 0.0, "b1": 0.9, "b2": 0.99, "eps": 1e-3, "momentum": 0.0}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_numbers_of_an_optimizer(kind: str) -> None:
    """Another value gives other weights exactly where the table says that the number matters."""

    def trained(hyper: dict[str, float]) -> np.ndarray:
        transform = optimizer(kind, hyper, False, jnp.ones(()))
        weights = jnp.ones(64)
        state = transform.init(weights)
        with jax.numpy_dtype_promotion("standard"):
            for gradient in np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32):
                updates, state = transform.update(jnp.asarray(gradient), state, weights)
                weights = weights + updates
        return np.asarray(weights)

    plain = trained(HYPER)
    for name in ("weight_decay", "b1", "b2", "eps", "momentum"):
        matters = not why_not(f"train.{name}", {"train": {"optimizer": kind}})
        assert (plain != trained({**HYPER, name: 0.4})).any() == matters, name


CASES = st.builds(
    lambda n, kind, objective, data, size: {
        "n_features": n, "n_hidden": 1, "model": {"kind": kind}, "train": {"objective": objective},
        "data": {"kind": data, "set_size": size if data == "sets" and n % size == 0 else 1, "density": 0.5},
    },
    st.integers(1, 12), st.sampled_from(["linear", "relu_output"]), st.sampled_from(["exact", "quasi", "minibatch"]),
    st.sampled_from(["independent", "sets"]), st.sampled_from([1, 2, 3]),
)  # fmt: skip
OTHER = {
    ("data", "set_size"): st.sampled_from([1, 2, 3]),
    ("train", "batch"): st.integers(1, 9),
    ("train", "skip_empty"): st.booleans(),
    ("train", "nodes"): st.integers(1, 60),
    ("train", "streams"): st.integers(1, 9),
}


@settings(max_examples=40)
@given(CASES, st.sampled_from(list(OTHER)), st.data())
def test_what_does_not_matter_changes_no_objective(tree: dict[str, Any], keys: tuple[str, str], data) -> None:
    """Neither what is minimised and evaluated nor the law of the data."""
    table, key = keys
    if not why_not(".".join(keys), tree):
        return

    def problem(value: Any):
        case = Case.model_validate({**tree, table: {**tree[table], key: value}})
        found = problem_of(case)
        try:
            parts = training_parts(found, case)
        except SweepError as error:  # too many rows, for any value
            parts = str(error)
        return parts, evaluation_objectives(found, case), found.data

    assert problem(data.draw(OTHER[keys])) == problem(data.draw(OTHER[keys]))


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 1.0])
def test_the_scale_of_the_loss(kind: str, clip: float | None) -> None:
    """Twice the gradient makes other steps exactly where the table says that `normalize` matters."""

    def step(gradient: jax.Array) -> np.ndarray:
        transform = optimizer(kind, {**HYPER, "clip_norm": clip}, clip is not None, jnp.ones(()))
        with jax.numpy_dtype_promotion("standard"):
            return np.asarray(transform.update(gradient, transform.init(gradient), gradient)[0])

    gradient = jnp.array([0.5, -0.25, 1e-3])
    train = {"optimizer": kind, "clip_norm": clip}
    if why_not("train.normalize", {"train": train}):
        np.testing.assert_array_equal(step(gradient), step(2 * gradient))
    elif clip is None:
        assert (step(gradient) != step(2 * gradient)).any()
    assert bool(why_not("train.normalize", {"train": train})) == (kind == "lion" and clip is None)


def test_correlation_of_features_that_are_always_active(sweep) -> None:
    """Of any strength it is the same law."""
    uniforms = np.random.default_rng(0).uniform(size=(50, 8)).astype(np.float32)
    active = np.array(list(np.ndindex(2, 2, 2)), bool)

    def law(density: float, correlation: float) -> tuple[np.ndarray, np.ndarray]:
        data = sets_of(3, 3)(jnp.full(3, density), jnp.float32(correlation))
        return np.asarray(jax.vmap(data.sample)(uniforms)), np.asarray(data.probability(active))

    for density in 1.0, 0.5:
        for correlation in -0.7, 1.0:
            same = all(map(np.array_equal, law(density, 0.0), law(density, correlation)))
            tree = {"n_features": 3, "data": {"kind": "sets", "set_size": 3, "density": density}}
            assert same == bool(why_not("data.correlation", tree))


DENSITY = "[axes.d]\nfield = 'data.density'\n"
SETS = "data = {kind = 'sets', set_size = 3}\n[axes.c]\nfield = 'data.correlation'\nvalues = [0, 0.5]\n"
DRAWN = "train = {objective = 'minibatch', skip_empty = true}\n"
LAST = "[axes.e]\nfield = 'data.density[-1]'\nvalues = [%s]\n"


@pytest.mark.parametrize(
    ("text", "override", "allowed"),
    [
        (SETS, "seed=1", False),
        (SETS, "data.density=0.5", True),
        (SETS, "data.density=0.99999999999", False),
        (SETS + DENSITY + "values = [1]", "seed=1", False),
        (SETS + DENSITY + "values = [1, 0.5]", "seed=1", True),
        (SETS + DENSITY + "values = [1, 0.5]", "axes.d.values=[1]", False),
        (SETS + DENSITY + "range = [1, 0.5]\npoints = 2", "axes.d.points=1", False),
        (DRAWN, "seed=1", False),
        (DRAWN, "data.density=0.5", True),
        (DRAWN, "data.density=[0.5, 0.1, 1]", False),
        (DRAWN + LAST % "1", "data.density[0]=0.5", False),
        (DRAWN + "data.density = [0.5, 0.1, 1]\n" + LAST % "1, 0.9", "seed=1", True),
        (DRAWN + "data.density = 0.5\n" + LAST % "1", "seed=1", False),
        (DRAWN + DENSITY + "values = [1, 0.5]", "seed=1", True),
        (DRAWN + DENSITY + "values = [1, 0.5]\n" + LAST % "1", "seed=1", False),
    ],
)
def test_what_needs_features_that_are_at_rest(sweep, text: str, override: str, allowed: bool) -> None:
    """Densities below 1, of any feature or of every one, written or on an axis."""
    if allowed:
        assert sweep(SMALL + text, override).cases
        return
    with pytest.raises(SweepError, match="(correlation|skip_empty).*, has no effect with data.density = .* below 1 of"):
        sweep(SMALL + text, override)


def test_all_that_does_not_matter_changes_no_weight() -> None:
    plain: dict[str, Any] = {"n_features": 2, "n_hidden": 1, "restarts": 4}
    train = {"optimizer": "sgd", "steps": 20}
    idle = {"batch": 7, "streams": 2, "skip_empty": True, "weight_decay": 0.5, "b1": 0.1, "b2": 0.1, "eps": 1.0}
    tree = {**plain, "train": {**train, **idle}, "data": {"correlation": 0.5}, "plot": {"threshold": 0.1}}
    assert all(why_not(f"train.{key}", tree) for key in idle)
    trees = {**plain, "train": train}, tree, {**plain, "train": {**train, "momentum": 0.5}}
    one, other, moved = (run_case("case", Case.model_validate(tree))[0] for tree in trees)
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    assert (moved["W"] != one["W"]).any()


# What is refused.


@pytest.mark.parametrize(
    ("override", "more"),
    [
        ("data.set_size=3", []), ("data.set_size=1", []), ("data.correlation=0.5", ["data.kind=sets"]),
        ("train.batch=64", []), ("train.batch=1024", []), ("train.skip_empty=false", ["train.objective=quasi"]),
        ("train.skip_empty=true", ["train.objective=minibatch", "data.kind=sets"]),
        ("train.nodes=3", ["train.objective=minibatch", "n_features=20"]), ("train.nodes=3", ["model.kind=linear"]),
        ("train.streams=2", ["train.objective=quasi"]), ("train.weight_decay=0.1", ["train.optimizer=rmsprop"]),
        ("train.b1=0.5", ["train.optimizer=sgd"]), ("train.b2=0.5", ["train.optimizer=sgd"]),
        ("train.eps=0.5", ["train.optimizer=lion"]), ("train.momentum=0", []), ("plot.threshold=0.4", []),
        ("plot.threshold=0.4", ["optimum=true"]), ("train={steps=2, batch=3}", []), ("case.s.train.batch=3", []),
    ],
)  # fmt: skip
def test_an_override_without_effect_is_refused(sweep, override: str, more: list[str]) -> None:
    """A default that is spelled out too."""
    message = refused(sweep, "", *more, override)
    assert message.startswith(f"{override} (command line): ") and "has no effect with " in message
    assert " it needs " in message and message.endswith("(case s)")


def test_every_field_of_the_table_can_be_refused_and_accepted(sweep) -> None:
    assert {path.split(".")[0] for path in MATTERS} <= set(Case.model_fields)
    for kind, accepted in ("lion", "weight_decay=0.1"), ("rmsprop", "b2=0.5"), ("sgd", "momentum=0.5"):
        assert sweep(SMALL, f"train.optimizer={kind}", f"train.{accepted}").cases
    assert sweep(SMALL, "optimum=true", "study=''", "data.kind=sets", "data.set_size=3", "data.density=0.1",
                 "data.correlation=0.5").cases  # fmt: skip


def test_a_value_of_the_file(sweep) -> None:
    place = f"{sweep(SMALL).path}: "
    assert refused(sweep, "train.batch = 64") == f"{place}train.batch = 64, {BATCH}s)"
    assert sweep(SMALL + "train.batch = 1024").cases  # a file may spell out a default
    assert sweep(SMALL + "train.batch = 64", "train.objective=quasi").cases["s"].train.batch == 64
    # what a later choice has put to rest counts as its default
    text = SMALL + "train.objective = 'quasi'\ntrain.batch = 64\n"
    assert sweep(text, "train.objective=exact").cases == sweep(SMALL).cases
    first = sweep(SMALL, "train.objective=quasi", "train.batch=64")
    assert first.override("train.objective=exact").cases == sweep(SMALL).cases
    assert first.override("seed=1").cases["s"].train.batch == 64
    assert sweep(SMALL + "preset = 'notebook'\ntrain.optimizer = 'adam'").cases["s"].train.weight_decay == 0
    drawn = "study = 'phase_diagram'\noptimum = true\nplot.threshold = 0.4\n"
    assert sweep(drawn + SMALL, "study=''").cases["s"].plot.threshold == 0.5
    assert sweep(SMALL + "preset = 'notebook'", "train.objective=exact").cases["s"].train.batch == 1024


def test_a_value_need_matter_in_one_case(sweep) -> None:
    text = "train.batch = 64\n[case.a]\n[case.b]\ntrain.objective = 'quasi'\n"
    batch = {name: case.train.batch for name, case in sweep(SMALL + text).cases.items()}
    assert batch == {"a": 1024, "b": 64}
    assert sweep(SMALL + text, "cases=a").cases["a"].train.batch == 1024
    assert sweep(SMALL + text, "train.batch=32").cases["b"].train.batch == 32
    assert refused(sweep, text, "train.batch=32", "cases=a") == f"train.batch=32 (command line): {BATCH}a)"
    assert refused(sweep, text, "case.a.train.batch=32").endswith(f"{BATCH}a)")
    assert f"case.c.train.batch = 3, {BATCH}c)" in refused(sweep, text + "[case.c]\ntrain.batch = 3")
    product = "[cases]\ntrain.objective = ['exact', 'quasi']\ntrain.batch = [1, 2]"
    assert "objective_exact_batch1 and objective_exact_batch2, which come out the same" in refused(sweep, product)
    for override, more in ("n_hidden=3", "[3]"), ("case.n_hidden1.n_hidden=2", "[...]"):
        with pytest.raises(SweepError) as error:
            sweep("n_features = 3\n[cases]\nn_hidden = [1, 2]", override)
        message = str(error.value)
        assert message.startswith(f"{override} (command line): sets what cases varies (case n_hidden")
        assert message.endswith(f"\n  change the cases instead: cases.n_hidden={more}")
    assert "plot.dpi must be the same in all cases" in refused(sweep, text, "case.a.plot.dpi=50")


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        (
            "train.optimizer = 'sgd'\n[axes.a]\nfield = 'train.b1'\nvalues = [0.1, 0.2]",
            'axes.a.field = "train.b1", has',
        ),
        ("[axes.a]\nfields = ['train.eps', 'train.momentum']\nvalues = [[0.1, 0.2]]", "axes.a.fields[1] = "),
        ("data.kind = 'sets'\n[axes.a]\nfield = 'data.correlation'\nvalues = [0, 1]", "data.set_size = 1"),
        ("[axes.a]\nfield = 'data.density'\nvalues = [0.1, 0.1]", "must differ as float32, 0.1 do not"),
        ("[axes.a]\nfield = 'data.density'\nvalues = [0.1, 0.1000000001]", "must differ as float32"),
        ("[axes.a]\nfield = 'data.density'\nrange = [0.1, 0.1]\npoints = 2", "2 points differ as float32"),
        ("[axes.a]\nfield = 'data.density'\nscale = 'log'\nrange = [0.1, 0.11]\npoints = 9999999", "differ as float32"),
        (
            "[axes.a]\nfield = 'data.density'\nvalues = [0.1, 0.2]\n"
            + "".join(f"[axes.a{i}]\nfield = 'data.density[{i}]'\nvalues = [0.1, 0.2]\n" for i in range(3)),
            'axes.a.field = "data.density", has no effect: other axes set every entry',
        ),
    ],
)
def test_an_axis_without_effect(sweep, axes: str, says: str) -> None:
    assert says in refused(sweep, axes)


def test_an_axis_over_the_ratio_of_one_importance(sweep) -> None:
    axis = "[axes.a]\nfield = 'importance.ratio'\nvalues = [0.1, 0.2]"
    with pytest.raises(SweepError, match="has no effect: n_features = 1"):
        sweep(f"n_features = 1\nn_hidden = 1\nimportance.ratio = 0.5\n{axis}")


def test_fewer_streams_and_snapshots_where_an_override_leaves_fewer_restarts_and_steps(sweep) -> None:
    text = SMALL + "restarts = 6\ntrain = {objective = 'minibatch', streams = 6, snapshots = 30}\n"
    train = sweep(text, "restarts=2", "train.steps=20").cases["s"].train
    assert (train.streams, train.snapshots) == (2, 20)
    for override, says in ("train.streams=7", "must be <= restarts = 6"), ("train.snapshots=1001", "no more steps"):
        with pytest.raises(SweepError, match=says):
            sweep(text, override)
    with pytest.raises(SweepError, match="train.snapshots=9 .*must be <= train.steps = 8"):
        sweep(text, "train.snapshots=9", "train.steps=8")
