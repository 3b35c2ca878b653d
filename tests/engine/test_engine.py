"""Training many models at once equals training each alone, whatever else is in the run."""

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from jax import export

import superjax
from superjax import analysis
from superjax.engine import choice, chunk_sizes, engine, kernel, vectorised
from superjax.engine.pace import BLOCK, Pace
from superjax.engine.plan import schedule_factors
from superjax.engine.train import optimizer, values_and_gradient
from superjax.problem.members import member
from superjax.problem.models import ReLUOutput
from superjax.problem.models.base import notebook_init_std
from superjax.reference import oracle
from superjax.runs import problems, runner
from superjax.runs.case_run import CaseRun, program_of, snapshot_steps
from superjax.runs.checkpoint import Folder
from superjax.runs.problems import problem_of, training_parts
from superjax.spec import SweepError, Train, load
from superjax.system import terminal
from tests.parts import paper_cell

QUICK = ("train.steps=120", "restarts=3")
SAMPLED = ("train.objective=minibatch", "train.batch=64")


class TwoLayer(eqx.Module):
    """A user's model, x' = V tanh(U x) + c, with dimensions of its own."""

    U: jax.Array
    V: jax.Array
    c: jax.Array
    dims: ClassVar = {"U": ("neuron", "feature"), "V": ("feature", "neuron"), "c": ("feature",)}

    def __init__(self, n_features, n_hidden, init_std, *, key):
        keys = jax.random.split(key)
        self.U = init_std * jax.random.normal(keys[0], (n_hidden, n_features))
        self.V = init_std * jax.random.normal(keys[1], (n_features, n_hidden))
        self.c = jnp.zeros(n_features)

    def __call__(self, x):
        return self.V @ jnp.tanh(self.U @ x) + self.c


class Competing(ReLUOutput):
    """A user's model with an operation that the fused kernel cannot write."""

    def __call__(self, x):
        output = super().__call__(x)
        return output - 0.1 * jnp.max(output)


def run(case, **keywords) -> xr.Dataset:
    return runner.run_case("small", case, **keywords)[0]


def assert_bitwise_equal(one: xr.Dataset, other: xr.Dataset):
    """All variables, NaN equal to NaN, up to attributes."""
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=str(name))


# --- together = alone -----------------------------------------------------------------------------


def train_alone(case, model, importance, density, restart):
    """One model, as a paper's method section would have it: plain products, optax, no engine."""
    train, n = case.train, case.n_features
    decay = train.steps - train.warmup_steps
    after = {
        "constant": optax.constant_schedule(train.learning_rate),
        "cosine": optax.cosine_decay_schedule(train.learning_rate, decay),
        "linear": optax.linear_schedule(train.learning_rate, 0, decay),
    }[train.schedule]
    warmup = optax.linear_schedule(0, train.learning_rate, max(train.warmup_steps, 1))
    rate = optax.join_schedules([warmup, after], [train.warmup_steps])
    optimizer = optax.adamw(rate, train.b1, train.b2, train.eps, weight_decay=train.weight_decay)
    if train.clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(train.clip_norm), optimizer)
    scale = {"density": density.mean(), "features": n, "none": 1}[train.normalize]
    stream = restart % train.streams
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(case.seed), 1), stream)
    parts = training_parts(problem_of(case), case)

    def sampled_loss(model, step):
        def one(u):
            x = jnp.where(u < density, u / density, 0.0)
            return jnp.sum(importance * (x - model(x)) ** 2)

        return jnp.mean(jax.vmap(one)(jax.random.uniform(jax.random.fold_in(key, step), (n, train.batch)).T))

    def gradient(model, step, objective):
        if train.objective == "minibatch":
            return jax.grad(sampled_loss)(model, step)
        cell = paper_cell(density, importance)
        return values_and_gradient(objective, "plain")(model, cell, objective.draw(key))[1]

    @functools.partial(jax.jit, static_argnums=3)
    def advance(model, state, step, objective):
        grads = jax.tree.map(lambda g: g / jnp.float32(scale), gradient(model, step, objective))
        updates, state = optimizer.update(grads, state, model)
        return optax.apply_updates(model, updates), state

    state = optimizer.init(model)
    for step in range(train.steps):
        objective = next(part.objective for part in parts if step < part.end)
        model, state = advance(model, state, step, objective)
    return model


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [*SAMPLED, "train.streams=2", "seed=5"],
        *(
            pytest.param(overrides, marks=pytest.mark.heavy)
            for overrides in (
                [*SAMPLED, "preset=notebook", "train.weight_decay=0.1", "train.learning_rate=0.01"],
                ["train.objective=quasi", "train.clip_norm=0.05", "train.warmup_steps=20", "train.normalize=none"],
                ["model.kind=linear", "train.schedule=linear", "train.b1=0.5", "train.b2=0.9"],
            )
        ),
    ],
    ids=lambda overrides: " ".join(overrides) or "default",
)
def test_together_equals_alone(make_case, overrides):
    """A model of the compiled sweep and the same model in a plain loop, after all its steps."""
    case = make_case(*overrides, "train.steps=200", "train.snapshots=[0]")
    data = run(case)
    model, cell = {"importance": 0, "density": 1, "restart": 1}, (0.2, 0.1)
    start = data["W_snapshots"][model].isel(snapshot=0).values
    alone = member("model", case.model.kind)(2, 1, 1.0, key=jax.random.key(0))
    alone = eqx.tree_at(lambda m: m.W, alone, jnp.asarray(start))
    with jax.numpy_dtype_promotion("standard"):  # for optax
        alone = train_alone(case, alone, jnp.array([1.0, cell[0]]), jnp.full(2, cell[1]), restart=1)
    np.testing.assert_allclose(data["W"][model], alone.W, rtol=0, atol=3e-5)
    np.testing.assert_allclose(data["b"][model], alone.b, rtol=0, atol=3e-5)
    assert np.abs(data["W"][model] - start).max() > 0.05


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "rmsprop", "lion"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_optimizers(kind, clip_norm):
    """Three steps of each against its formula."""
    rate, decay, b1, b2, momentum = 0.1, 0.2 if kind == "adamw" else 0.0, 0.8, 0.9, 0.7
    hyper = {"learning_rate": 2 * rate, "weight_decay": decay, "b1": b1, "b2": b2, "eps": 1e-3, "momentum": momentum}
    transform = optimizer(kind, hyper | {"clip_norm": clip_norm}, clip_norm is not None, jnp.array(0.5))
    x = y = jnp.array([1.0, -2.0, 0.5])
    state, mean, square, trace = transform.init(x), 0.0, 0.0, 0.0
    for step in range(1, 4):
        with jax.numpy_dtype_promotion("standard"):  # for optax
            updates, state = transform.update(x**3, state, x)
        x = x + updates
        g = np.asarray(y, float) ** 3
        g = g * min(1, clip_norm / np.linalg.norm(g)) if clip_norm else g
        interpolated = b1 * mean + (1 - b1) * g
        mean, trace = (
            (b2 if kind == "lion" else b1) * mean + (1 - (b2 if kind == "lion" else b1)) * g,
            momentum * trace + g,
        )
        square = b2 * square + (1 - b2) * g**2
        adam = mean / (1 - b1**step) / (np.sqrt(square / (1 - b2**step)) + 1e-3)
        y = (
            y
            - rate
            * {
                "adam": adam,
                "adamw": adam + decay * y,
                "sgd": trace,
                "rmsprop": g / np.sqrt(square + 1e-3),
                "lion": np.sign(interpolated),
            }[kind]
        )
        np.testing.assert_allclose(x, y, rtol=1e-5)


def test_alone_in_a_run_equals_among_others_bitwise(make_case):
    """One cell and one restart as a run of their own."""
    everything = run(make_case(*QUICK))
    text = "n_features = 2\nn_hidden = 1\nimportance = [1, 5.0]\ndata.density = 0.1"
    alone = run(make_case(*QUICK, "restarts=1", text=text))
    for name in ("W", "b", "loss", "feature_loss", "grad_norm", "phase"):
        np.testing.assert_array_equal(alone[name][0], everything[name][2, 1, 0])


@pytest.mark.parametrize("objective", ["exact", pytest.param("minibatch", marks=pytest.mark.heavy)])
def test_a_larger_grid_leaves_the_old_cells_bitwise_unchanged(make_case, objective):
    """More cells along both axes, so many that the last ones fall into another chunk, and more restarts."""
    batch = ["train.batch=64"] if objective == "minibatch" else []
    overrides = [f"train.objective={objective}", *batch, "train.steps=20"]
    importance, density = np.geomspace(0.1, 10, 110), np.geomspace(1, 0.01, 80)
    columns, rows = [0, 40, 109], [0, 79]

    def part_case(columns, rows, restarts):
        values = {"importance": importance[columns].tolist(), "density": density[rows].tolist()}
        axes = [f"axes.{name}.values={numbers}" for name, numbers in values.items()]
        return make_case(*overrides, *axes, f"restarts={restarts}")

    everything = (slice(None), slice(None), 2)
    small, large = run(part_case(columns, rows, 1)), run(part_case(*everything))
    models = large.sizes["importance"] * large.sizes["density"] * 2
    sizes = [CaseRun("part", part_case(*which)).chunks["train"] for which in ((columns, rows, 1), everything)]
    assert sizes[0] < sizes[1] < models / 2
    for name in ("W", "b", "loss", "feature_loss", "grad_norm", "phase"):
        old = large[name].values[columns][:, rows][:, :, :1]
        np.testing.assert_array_equal(old, small[name].values, err_msg=name)


def test_independent_starts_are_others_in_every_cell_and_stay_where_they_are(make_case):
    """Common starts are those of the restart alone. Independent ones follow from a cell's numbers, not its place."""
    both = {}
    for starts in "common", "independent":
        short = ["train.steps=2", "train.snapshots=[0]", "model.init_std=1.0", f"train.starts={starts}"]
        data = run(make_case(*short, "axes.importance.values=[0.2, 1, 5]", "axes.density.values=[1, 0.1]"))
        part = run(make_case(*short, "axes.importance.values=[1, 7]", "axes.density.values=[0.1]", "restarts=2"))
        first = data["W_snapshots"].values[..., 0, :, :].reshape(6, 4, 2)
        both[starts] = first
        for name in "W", "b", "loss":
            np.testing.assert_array_equal(data[name].values[1, 1, :2], part[name].values[0, 0])
    assert (both["common"] == both["common"][0]).all()
    assert len(np.unique(both["independent"])) == both["independent"].size


def test_independent_starts_do_not_depend_on_the_order_of_axes(make_case):
    text = "n_features = 2\nn_hidden = 1\ntrain = {steps = 2, starts = 'independent'}\n"
    axes = [
        "axes.r = {field = 'importance[-1]', values = [0.5, 2]}\n",
        "axes.s.field = 'data.density'\naxes.s.values = [1, 0.3]\n",
    ]
    one, other = (run(make_case(text=text + "".join(order))) for order in (axes, axes[::-1]))
    np.testing.assert_array_equal(one["W"], other["W"].transpose(*one["W"].dims))


def test_one_compilation_for_a_case(make_case, monkeypatch):
    """None for more blocks of steps, snapshots, cells, restarts, chunks, another learning rate, or a second run."""
    compiled = []
    compile_once = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *a, **k: compiled.append(1) or compile_once(*a, **k))
    engine.program.cache_clear()
    overrides = ["train.nodes=3", "train.steps=30"]
    run(make_case(*overrides))
    assert len(compiled) == 5  # initialise, begin, train, train the last steps, evaluate
    run(make_case(*overrides, "train.steps=330", "train.learning_rate=0.1", "seed=9"))
    run(make_case(*overrides, "axes.importance.points=9", "restarts=12", "train.schedule=linear"))
    assert len(compiled) == 5
    run(make_case(*overrides, "train.snapshots=[0, 7, 20]"))
    assert len(compiled) == 6  # the loss alone


@pytest.mark.heavy
def test_devices_never_communicate(make_case, monkeypatch, two_devices):
    """No collective in any compiled program: a device or host that is slow, or gone, holds up no other."""
    programs = []
    compile_once = jax.stages.Lowered.compile

    def recording(*arguments, **keywords):
        programs.append(compile_once(*arguments, **keywords))
        return programs[-1]

    monkeypatch.setattr(jax.stages.Lowered, "compile", recording)
    for overrides in (QUICK, ("train.objective=minibatch", "train.batch=64", "train.streams=2", "train.steps=20")):
        engine.program.cache_clear()
        run(make_case(*overrides, "optimum=true", "train.snapshots=[0]"))
    assert len(programs) > 10
    for program in programs:
        assert "num_partitions=2" in program.as_text()
        for operation in ("all-reduce", "all-gather", "all-to-all", "collective", "reduce-scatter", "send(", "recv("):
            assert operation not in program.as_text()


@pytest.mark.heavy
def test_memory_decides_how_many_models_are_trained_at_once(make_case, monkeypatch, two_devices):
    """By what the compiled program says it needs, and by the device's refusal to start it; each time half as many."""
    case = make_case("axes.importance.points=40", "axes.density.points=40", "train.steps=20")
    roomy = CaseRun("roomy", case)
    size = roomy.chunks["train"]
    engine.program.cache_clear()
    monkeypatch.setattr(choice, "memory_of_a_device", lambda device: 400_000)
    narrow = CaseRun("narrow", case)
    assert narrow.chunks["train"] in [size // 2**k // 16 * 16 for k in range(1, 6)]
    monkeypatch.undo()

    engine.program.cache_clear()
    call = vectorised.Compiled.__call__

    def refusing(self, *arguments):
        shape = np.shape(jax.tree.leaves(arguments)[0])
        if self.name == "steps" and shape[1] > size:  # on two devices
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17 bytes")
        return call(self, *arguments)

    monkeypatch.setattr(vectorised.Compiled, "__call__", refusing)
    refused = CaseRun("refused", case)
    assert refused.chunks["train"] <= size // 2
    refused.train()
    np.testing.assert_allclose(refused.finish()["W"], run(case)["W"], rtol=0, atol=1e-6)
    engine.program.cache_clear()


@pytest.mark.heavy
def test_training_uses_every_key_once(make_case):
    """And a generator that draws other numbers for a batch of keys than for each of them is refused."""
    engine.program.cache_clear()
    with jax.debug_key_reuse(True):
        run(make_case("train.objective=minibatch", "train.batch=32", "train.steps=20", "train.streams=2"))
        run(make_case("train.objective=minibatch", "train.skip_empty=true", "train.batch=32", "train.steps=20"))
        run(make_case("optimum=true", "train.steps=20"))
    engine.program.cache_clear()
    with jax.default_prng_impl("rbg"), pytest.raises(SweepError, match="jax_default_prng_impl"):
        run(make_case(*QUICK))


@pytest.mark.parametrize("calls", [5000, 1000], ids=["training", "and saving each"])
@pytest.mark.heavy
def test_calls_leak_nothing(make_case, monkeypatch, tmp_path, calls):
    """Neither memory nor files. The largest step of ten does not count: the allocator takes some MB
    at once, some time."""
    monkeypatch.setattr(engine.Pace, "end", lambda self, first, stops: first + 1)
    monkeypatch.setattr(Folder, "due", lambda self: calls == 1000)
    sizes, files, made = [], [], []
    page, wait = os.sysconf("SC_PAGE_SIZE"), jax.block_until_ready

    def counting(state):
        made.append(1)
        if len(made) % (calls // 10) == 0:
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)
            files.append(len(os.listdir("/proc/self/fd")))
        return wait(state)

    monkeypatch.setattr(jax, "block_until_ready", counting)
    case = make_case(f"train.steps={calls}", "train.nodes=2")
    CaseRun("case", case, keep=lambda task, key: Folder(tmp_path / task, key, pytest.fail)).train()
    assert len(made) >= calls and len(set(files)) == 1 and list(tmp_path.rglob("*.chunk"))
    steps = np.diff(sizes[1:])
    assert steps.sum() - steps.max() < 0.01 * sizes[1]


def test_a_second_run_compiles_nothing_at_all(make_case):
    """Not even the small operations around the program."""
    run(make_case(*QUICK))
    events = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: events.append(name))
    run(make_case(*QUICK))
    assert not [name for name in events if "backend_compile" in name]
    jax.jit(lambda x: x + 1.5)(np.float32(0))
    assert [name for name in events if "backend_compile" in name]  # the listener works


# --- common random numbers ------------------------------------------------------------------------

# The first and the last cell are equal: weights are given, so that their width does not matter.
EQUAL_START = """
n_features = 2
n_hidden = 1
axes.i = {fields = ["importance[-1]", "model.init_std"], values = [[0.5, 0.1], [2.0, 0.1], [0.5, 0.2]]}
"""


def test_streams_and_common_random_numbers(make_case):
    """From equal weights, restarts of a stream see equal batches, other streams others; so do all cells."""
    case = make_case(*SAMPLED, *QUICK, "train.streams=2", "restarts=5", text=EQUAL_START)
    data = run(case, init={"W": np.broadcast_to(np.float32([[0.5, -0.3]]), (3, 5, 1, 2))})
    W = data["W"].values
    np.testing.assert_array_equal(W[0], W[2])  # equal cells at different places
    for one, other in ((0, 2), (0, 4), (1, 3)):
        np.testing.assert_array_equal(W[:, one], W[:, other])
    assert (np.abs(W[:, 0] - W[:, 1]).max((-1, -2)) > 1e-4).all()
    single = run(
        make_case(*SAMPLED, *QUICK, "restarts=1", text=EQUAL_START), init={"W": np.full((3, 1, 1, 2), [[0.5, -0.3]])}
    )
    np.testing.assert_allclose(single["W"].values, W[:, :1], atol=1e-5)  # stream 0 is the one of a run without streams


def test_exact_objective_uses_no_random_numbers(make_case):
    case = make_case(*QUICK, text=EQUAL_START)
    W = run(case, init={"W": np.full((3, 3, 1, 2), [[0.5, -0.3]])})["W"].values
    np.testing.assert_array_equal(W, np.broadcast_to(W[:, :1], W.shape))


# --- start ----------------------------------------------------------------------------------------


def test_initial_weights_come_from_seed_and_restart(make_case):
    """Equal in all cells up to their scale; the bias starts at 0."""
    text = "n_features = 2\nn_hidden = 1\naxes.s = {field = 'model.init_std', values = [0.1, 0.4]}"
    data = run(make_case("train.steps=1", "train.snapshots=[0]", "seed=7", text=text))
    W = data["W_snapshots"].values[:, :, 0]
    for restart in range(10):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), 0), restart)
        expected = np.float32([0.1, 0.4])[:, None, None] * np.asarray(jax.random.normal(key, (1, 2)))
        np.testing.assert_allclose(W[:, restart], expected, rtol=1e-5, atol=1e-7)
    assert not data["b_snapshots"].values[:, :, 0].any()


def test_given_start(make_case):
    """`init` replaces the arrays it names and leaves the others."""
    case = make_case("train.steps=1", "train.snapshots=[0]")
    given_b = np.random.default_rng(0).standard_normal((3, 2, 4, 2))
    data, usual = run(case, init={"b": given_b}), run(case)
    np.testing.assert_array_equal(data["b_snapshots"].values[..., 0, :], given_b.astype(np.float32))
    np.testing.assert_array_equal(data["W_snapshots"].values[..., 0, :, :], usual["W_snapshots"].values[..., 0, :, :])


@pytest.mark.parametrize(
    ("init", "says"),
    [
        ({"V": np.zeros(1)}, "V is no array of the model, it has W, b"),
        ({"b": np.zeros((3, 2, 2))}, r"b has shape \(3, 2, 2\), must be \(3, 2, 4, 2\)"),
        ({"b": [[1, 2], [3]]}, r"b must be an array of shape \(3, 2, 4, 2\)"),
        ({"b": np.zeros((3, 2, 4, 2), complex)}, "b has numbers of type complex128, must be real"),
        ({"b": np.full((3, 2, 4, 2), "0")}, "b has numbers of type <U1, must be real"),
        ({"b": np.full((3, 2, 4, 2), None)}, "b has numbers of type object, must be real"),
        ({"b": np.full((3, 2, 4, 2), np.nan)}, "b must be finite as float32"),
        ({"b": np.full((3, 2, 4, 2), 1e39)}, "b must be finite as float32"),
    ],
)
def test_wrong_start_is_refused(make_case, init, says):
    with pytest.raises(SweepError, match=says):
        run(make_case("train.steps=1"), init=init)


@pytest.mark.parametrize(
    ("init", "says"),
    [
        ({"smal": {}}, r"init: unknown case 'smal'; did you mean small\?\n  allowed: small"),
        ({"small": {}, 3: {}}, "init: unknown case 3"),
        ({"small": np.zeros(3)}, r"init: must be {case: {array: values}}"),
        (np.zeros(3), r"init: must be {case: {array: values}}"),
        ({"W": np.zeros(3)}, r"init: must be {case: {array: values}}"),
    ],
)
def test_starts_are_given_by_case(tmp_path, monkeypatch, init, says):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no checked annotations
    (tmp_path / "small.toml").write_text("n_features = 2\nn_hidden = 1\ntrain.steps = 1\n")
    with pytest.raises(SweepError, match=says):
        superjax.run(load(tmp_path / "small.toml"), init=init)


def test_notebook_preset(make_case):
    """Its initial scale is that of ten models trained side by side; its training lowers the loss."""
    data = run(make_case("preset=notebook", "train.steps=200", "train.batch=64", "train.snapshots=[0, 200]"))
    usual = run(make_case("model.init_std=1.0", "train.steps=1", "train.snapshots=[0]"))
    std = notebook_init_std(2, 1, instances=10)
    assert std == pytest.approx(np.sqrt(2 / 12))
    np.testing.assert_allclose(data["W_snapshots"][..., 0, :, :], std * usual["W_snapshots"][..., 0, :, :], rtol=1e-5)
    loss = data["loss_snapshots"].values
    assert (loss[..., 1] < loss[..., 0]).mean() > 0.9
    assert data.attrs["objective"] == "minibatch"


@pytest.mark.parametrize(("n", "m", "points", "many", "equal"), [(2, 1, 24, 16, 0.985), (3, 2, 12, 9, 0.94)])
@pytest.mark.heavy
def test_few_training_nodes_find_the_same_phases(make_case, n, m, points, many, equal):
    """As nearly all models do with so many nodes that more change nothing, from the same initial weights."""
    axis = f"scale = 'log'\npoints = {points}\n"
    text = (
        f"n_features = {n}\nn_hidden = {m}\n"
        f"[axes.importance]\nfield = 'importance[-1]'\nrange = [0.1, 10]\n{axis}"
        f"[axes.density]\nfield = 'data.density'\nrange = [1, 0.01]\n{axis}"
    )
    few, fine = (run(make_case(*nodes, text=text))["phase"].values for nodes in ([], [f"train.nodes={many}"]))
    assert (few == fine).all(-1).mean() > equal


# --- steps ----------------------------------------------------------------------------------------


def test_snapshots_equal_shorter_runs(make_case):
    """With a constant schedule; across the end of a block; bitwise. They change nothing."""
    constant = ("train.schedule=constant", "restarts=3", "train.objective=quasi", "train.batch=64")
    data = run(make_case(*constant, "train.steps=130", "train.snapshots=[0, 30, 100, 130]"))
    assert data["step"].values.tolist() == [0, 30, 100, 130]
    for k, steps in ((1, 30), (2, 100), (3, 130)):
        shorter = run(make_case(*constant, f"train.steps={steps}"))
        for name in ("W", "b"):
            np.testing.assert_array_equal(data[f"{name}_snapshots"].isel(snapshot=k), shorter[name])
        np.testing.assert_allclose(data["loss_snapshots"].isel(snapshot=k), shorter["loss"], rtol=1e-6)
    assert_bitwise_equal(data[list(shorter.variables)], shorter)


def test_snapshots_at_the_change_of_objective(make_case):
    """Taken before, at and after it, and in a run of more steps than a call takes, they change nothing; bitwise."""
    text = "n_features = 2\nn_hidden = 1\ndata.density = 0.3"
    alone = run(make_case("train.steps=1200", text=text))
    data = run(make_case("train.steps=1200", "train.snapshots=[3, 959, 960, 961, 1199, 1200]", text=text))
    assert_bitwise_equal(data[list(alone.variables)], alone)
    np.testing.assert_array_equal(data["W_snapshots"].isel(snapshot=-1), data["W"])
    loss = data["loss_snapshots"]
    assert float((loss.sel(snapshot=-1) / loss.sel(snapshot=2)).max()) <= 1 + 1e-5  # the closed form only refines


def test_number_of_snapshots(make_case):
    steps = snapshot_steps(make_case("train.steps=1000", "train.snapshots=4").train)
    assert steps == [1, 10, 100, 1000]
    assert snapshot_steps(make_case("train.steps=3", "train.snapshots=3").train) == [1, 2, 3]


@given(st.integers(1, 10**6).flatmap(lambda steps: st.tuples(st.just(steps), st.integers(1, min(steps, 400)))))
def test_as_many_snapshots_as_asked_for(given):
    """Distinct, the last step among them, and log-spaced where that is possible."""
    last, count = given
    steps = snapshot_steps(Train(steps=last, snapshots=count))
    assert len(steps) == len(set(steps)) == count and steps == sorted(steps)
    assert steps[0] >= 1 and steps[-1] == last
    spaced = {round(step) for step in np.geomspace(last, 1, count).tolist()}
    assert len(spaced) < count or steps == sorted(spaced)


@pytest.mark.heavy
@given(
    stops=st.sets(st.integers(1, 600), min_size=1, max_size=6),
    seconds=st.lists(st.floats(0, 10), min_size=1, max_size=50),
)
def test_calls_end_at_every_stop(stops, seconds):
    """However long they take: no longer than BLOCK steps, none skipped, and all stops met."""
    pace, first, ends = Pace(), 0, []
    for k in range(601):
        end = pace.end(first, list(stops))
        assert first < end <= first + BLOCK
        pace.record(end - first, seconds[k % len(seconds)])
        first = end
        ends.append(end)
        if end == max(stops):
            break
    assert ends[-1] == max(stops) and stops <= set(ends)


def test_calls_take_as_long_as_wanted():
    pace = Pace()
    for steps, seconds, expected in ((100, 0.1, 300), (300, 3.0, 30), (30, 0.0, BLOCK), (1, 99.0, 1)):
        pace.record(steps, seconds)
        assert pace.end(0, [10**6]) == expected


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
@pytest.mark.parametrize(("steps", "warmup"), [(300, 0), (300, 45), (300, 300), (1, 0), (1, 1)])
def test_schedule_equals_optax(schedule, steps, warmup):
    """Optax's own schedules with warm-up where it has one, the formula where not."""
    found = schedule_factors(Train(steps=steps, warmup_steps=warmup, schedule=schedule))
    assert found.shape == (steps,) and found.dtype == np.float32
    t = np.arange(steps)
    progress = np.maximum(t - warmup, 0) / max(steps - warmup, 1)
    after = {"constant": 1 + 0 * t, "cosine": (1 + np.cos(np.pi * progress)) / 2, "linear": 1 - progress}[schedule]
    np.testing.assert_allclose(found, np.where(t < warmup, t / max(warmup, 1), after), atol=2e-6)
    if schedule == "cosine" and 0 < warmup < steps:
        expected = optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup, steps)(jnp.arange(steps, dtype=jnp.float32))
        np.testing.assert_allclose(found, expected, atol=2e-6)


# --- faults ---------------------------------------------------------------------------------------

RATES = "n_features = 2\nn_hidden = 1\naxes.r = {{field = 'train.learning_rate', values = {}}}"


def test_divergence_is_data(make_case):
    """A learning rate that explodes: its models say when, all others are bitwise as without it."""
    data = run(make_case(*QUICK, text=RATES.format([0.01, 1e30, 0.03])))
    healthy = run(make_case(*QUICK, text=RATES.format([0.01, 0.03])))
    assert_bitwise_equal(data.isel(r=[0, 2]), healthy)
    assert (healthy["diverged_at"] == -1).all()
    diverged = data.isel(r=1)
    assert (diverged["diverged_at"] == 1).all()  # the loss before the first step was finite
    assert (diverged["phase"] == analysis.PHASES.index("diverged")).all()
    assert not np.isfinite(diverged["loss"]).any()
    assert np.isnan(diverged["typical_norm"]).all()


@pytest.mark.heavy
def test_one_of_64_models_diverges(make_case):
    """In the middle of training: the step is the one at which it does when trained step by step, alone; the others
    are bitwise as beside a healthy one."""
    rates = np.geomspace(0.01, 0.1, 64)
    wild = rates.copy()
    wild[17] = 60.0
    quick = ("train.steps=100", "train.optimizer=sgd", "train.schedule=constant", "restarts=1")
    healthy, ill = (run(make_case(*quick, text=RATES.format(values.tolist()))) for values in (rates, wild))
    others = np.arange(64) != 17
    assert_bitwise_equal(ill.isel(r=others), healthy.isel(r=others).assign_coords(r=wild[others]))
    alone = make_case(*quick, "train.snapshots=100", text=RATES.format([60.0]))
    W = run(alone)["W_snapshots"].values.reshape(-1, 2)
    steps = np.array(snapshot_steps(alone.train))
    at = int(ill["diverged_at"][17, 0])
    assert 1 < at < 99 and (ill["diverged_at"][others] == -1).all()
    assert np.isfinite(W[steps <= at]).all() and not np.isfinite(W[steps > at]).any()


def test_all_of_64_models_diverge(make_case):
    data = run(make_case("train.steps=20", "train.optimizer=sgd", "restarts=64", "optimum=true",
                         text=RATES.format([1e30])))  # fmt: skip
    assert (data["diverged_at"] >= 0).all() and (data["phase"] == analysis.PHASES.index("diverged")).all()


def test_divergence_at_the_last_step_is_noticed(make_case):
    data = run(make_case("train.steps=1", "restarts=2", text=RATES.format([1e30, 0.01])))
    assert not np.isfinite(data["loss"][0]).any()
    assert (data["diverged_at"][0] == 1).all() and (data["diverged_at"][1] == -1).all()


# --- correlated features --------------------------------------------------------------------------

PAIRS = """
n_features = 4
n_hidden = 2
restarts = 8
data = {kind = "sets", set_size = 2}
axes.correlation = {field = "data.correlation", values = [-1, 0, 1]}
axes.density = {field = "data.density", values = [0.4, 0.05]}
"""


@pytest.mark.parametrize(
    ("objective", "within"),
    [("exact", 1e-3), ("quasi", 0.03), ("minibatch", 0.08)],
)
@pytest.mark.heavy
def test_two_pairs_in_two_dimensions(make_case, objective, within):
    """Partners that exclude each other become antipodal and lose nothing; correlated ones orthogonal if sparse, and
    one feature if dense (paper, "Correlated and Anticorrelated Features"). One program for all strengths."""
    batch = [] if objective == "exact" else ["train.batch=4096"]
    case = make_case(f"train.objective={objective}", *batch, text=PAIRS)
    data, report = runner.run_case("pairs", case)
    assert report.form == "fused"
    W = data["W"].isel(restart=data["best"]).transpose("correlation", "density", "hidden", "feature").values
    gram = np.einsum("cshi,cshj->csij", W, W)
    scale = 10 * within
    for density in range(2):
        np.testing.assert_allclose(gram[0, density, [0, 2], [1, 3]], -1, atol=scale)  # the partner's
        assert float(data["loss"][0, density].min()) < 1e-3 * within
    np.testing.assert_allclose(gram[2, 0, [0, 2], [1, 3]], 0.5, atol=scale)
    np.testing.assert_allclose(data["norm"].isel(restart=data["best"])[2, 0], np.sqrt(0.5), atol=scale)
    if objective == "exact":
        np.testing.assert_allclose(gram[2, 1, [0, 2], [1, 3]], 0, atol=scale)
        assert data["loss"].attrs["loss_error"] < 0.01


# --- models of the user ---------------------------------------------------------------------------


@pytest.mark.heavy
def test_model_of_the_user(make_case):
    """Its arrays, under its own dimensions; the fused kernel; a loss that equals product nodes evaluated by hand."""
    case = make_case(*QUICK, f"model.kind={__name__}:TwoLayer", "n_hidden=3")
    data, report = runner.run_case("small", case)
    assert report.form == "fused"
    assert data["U"].dims == ("importance", "density", "restart", "neuron", "feature")
    assert data["V"].dims[-2:] == ("feature", "neuron") and data.sizes["neuron"] == 3
    assert "phase" not in data and "W" not in data
    cell = {"importance": 2, "density": 1, "restart": 0}
    model = TwoLayer(2, 3, 1.0, key=jax.random.key(0))
    model = eqx.tree_at(lambda m: (m.U, m.V, m.c), model, tuple(data[name][cell].values for name in "UVc"))
    t, w = np.polynomial.legendre.leggauss(30)
    t, w, s = (t + 1) / 2, w / 2, 0.1
    grid = np.stack(np.meshgrid(t, t), -1).reshape(-1, 2)
    pairs = np.outer(w, w).ravel()
    loss = 0.0
    for on in ([0, 0], [0, 1], [1, 0], [1, 1]):
        x = np.float32(grid * on)
        miss = (x - np.asarray(jax.vmap(model)(jnp.asarray(x)))) ** 2 @ [1.0, data["importance"].values[2]]
        loss += np.prod(np.where(on, s, 1 - s)) * (pairs @ miss)
    assert float(data["loss"][cell]) == pytest.approx(loss, rel=1e-4)


def test_model_that_the_fused_kernel_cannot_write(make_case):
    """It falls back to the plain one, says so, and trains: its own call, not that of the class it derives from."""
    case = make_case("train.objective=minibatch", f"model.kind={__name__}:Competing", "train.steps=40")
    data, report = runner.run_case("small", case)
    assert report.form == "plain"
    cell = {"importance": 2, "density": 0, "restart": 0}
    W, b = data["W"][cell].values, data["b"][cell].values
    x = np.random.default_rng(0).random((20_000, 2))
    output = np.maximum(x @ W.T @ W + b, 0)
    miss = x - output + 0.1 * output.max(1, keepdims=True)
    assert float(data["loss"][cell]) == pytest.approx((miss**2 @ [1, 5]).mean(), rel=0.02)
    assert (data["loss"].values < 2 / 3 * np.maximum(data["importance"], 1).values[:, None, None]).all()


def test_optimum_needs_weights_whose_phases_are_known(make_case):
    with pytest.raises(SweepError, match="optimum = true needs a model with weights W, .*TwoLayer has U, V, c"):
        run(make_case("optimum=true", f"model.kind={__name__}:TwoLayer"))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no_such_module:Class", "No module named"),
        (f"{__name__}:Nothing", "has no attribute"),
        ("math:sqrt", "must be an equinox.Module class"),
        ("equinox:Module", "with a `dims` table"),
    ],
)
def test_wrong_model_is_refused(make_case, kind, says):
    with pytest.raises(SweepError, match=says):
        run(make_case(f"model.kind={kind}"))


# --- what is stored -------------------------------------------------------------------------------


def test_stored_numbers_equal_the_oracle(make_case):
    """Loss, its parts and its gradient of every model, from its stored weights and the cell's coordinates."""
    data = run(make_case(*QUICK))
    importance = np.ones((3, 2, 1, 2))
    importance[..., -1] = data["importance"].values[:, None, None]
    density = np.broadcast_to(data["density"].values[:, None, None], (2, 1, 2))
    W, b = data["W"].values, data["b"].values
    loss, dW, db = oracle.loss_and_gradient(W, b, importance, density)
    np.testing.assert_allclose(data["loss"], loss, rtol=5e-4)
    losses = oracle.feature_losses(W, b, density)
    np.testing.assert_allclose(data["feature_loss"], losses, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(data["explained"], 1 - losses / (density / 3 - density**2 / 4), rtol=0, atol=2e-3)
    norm = np.sqrt((dW**2).sum((-1, -2)) + (db**2).sum(-1))
    np.testing.assert_allclose(data["grad_norm"], norm, rtol=0.05, atol=1e-3)
    np.testing.assert_array_equal(data["best"], loss.argmin(-1))
    error = np.abs(data["loss"].values / loss - 1).max()
    assert error < data["loss"].attrs["loss_error"] < 0.05
    assert data["loss"].attrs["loss_kind"] == "exact"


def test_labels(make_case):
    data = run(make_case(*QUICK))
    assert data["W"].dims == ("importance", "density", "restart", "hidden", "feature")
    assert data["loss"].dims == ("importance", "density", "restart")
    np.testing.assert_allclose(data["importance"], [0.2, 1, 5])
    np.testing.assert_allclose(data["density"], [1, 0.1])
    phase = data["phase"]
    assert phase.dtype == np.int8 and phase.attrs["flag_meanings"].split() == list(analysis.PHASES)
    assert phase.attrs["flag_values"].tolist() == [0, 1, 2, 3]
    assert (phase.attrs["represented"], phase.attrs["superposed"]) == (0.5, 0.1)
    assert all("long_name" in variable.attrs for variable in data.data_vars.values())


# --- fast = plain ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "m", "form", "steps"),
    [
        (2, 1, "fused", 200),
        pytest.param(5, 2, "fused", 200, marks=pytest.mark.heavy),
        (20, 5, "mapped", 200),
        pytest.param(80, 20, "mapped", 60, marks=pytest.mark.heavy),
        pytest.param(400, 30, "mapped", 30, marks=pytest.mark.heavy),
        pytest.param(80, 20, "mapped", 200, marks=pytest.mark.heavy),
        pytest.param(400, 30, "mapped", 200, marks=pytest.mark.heavy),
    ],
)
def test_fast_path_equals_plain_path(make_case, monkeypatch, n, m, form, steps):
    """Weights after some steps of minibatches, of the shapes that the benchmarks compare. The plain path is slow for
    the large ones, which is why there is another."""
    text = f"n_features = {n}\nn_hidden = {m}\npreset = 'notebook'\nrestarts = 2\ndata.density = 0.1"
    case = make_case(f"train.steps={steps}", "train.batch=256", text=text)
    seen = []
    monkeypatch.setattr(problems, "_EVALUATION_SAMPLES", 2**10)
    for forced in (False, True):
        with monkeypatch.context() as patch:
            if forced:
                patch.setattr(engine, "_choose_form", lambda *_: "plain")
            engine.program.cache_clear()
            data, report = runner.run_case("case", case)
            seen.append((report.form, data["W"].values, data["b"].values))
    engine.program.cache_clear()
    assert [used for used, *_ in seen] == [form, "plain"]
    for fast, plain in zip(*(arrays for _, *arrays in seen), strict=True):
        np.testing.assert_allclose(fast, plain, rtol=0, atol=1e-5)


# --- other platforms ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("n_features = 2\nn_hidden = 1\noptimum = true", "fused"),
        ("n_features = 2\nn_hidden = 1\ntrain.objective = 'minibatch'\ntrain.batch = 64", "fused"),
        pytest.param(
            "n_features = 40\nn_hidden = 8\ntrain.objective = 'minibatch'\ntrain.batch = 64",
            "plain",
            marks=pytest.mark.heavy,
        ),
    ],
)
def test_programs_lower_for_accelerators(make_case, monkeypatch, text, form):
    """Every function that a run calls can be compiled for GPU and TPU: none asks for what only a CPU has."""
    called = []

    def recording(self, *arguments):
        called.append((self._jitted, arguments))
        return jitted_call(self, *arguments)

    jitted_call = vectorised.Compiled.__call__
    monkeypatch.setattr(vectorised.Compiled, "__call__", recording)
    monkeypatch.setattr(chunk_sizes, "_CHUNK_MODELS", dict.fromkeys(("cpu", "gpu", "tpu"), 16))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    engine.program.cache_clear()
    case = make_case("train.steps=10", "train.snapshots=[0]", text=text)
    _, report = runner.run_case("accelerated", case, devices=1)
    engine.program.cache_clear()
    assert report.form in {form, "plain"}  # the faster one
    functions = {id(jitted): (jitted, arguments) for jitted, arguments in called}.values()
    assert len(functions) >= 5  # initialise, begin, train, evaluate, loss
    texts = [
        export.export(jitted, platforms=["cuda", "tpu"])(*arguments).mlir_module() for jitted, arguments in functions
    ]
    assert all("stablehlo" in text for text in texts)
    products = ["stablehlo.dot_general" in text for text in texts]  # of the plain form, which is tried besides
    assert sum(products) >= 2 if form == "plain" else products.count(False) > 2


class Accelerator:
    """A device that says to be a GPU; `slow` and `broken` name the forms that it runs slowly or not at all."""

    def __init__(self, monkeypatch, slow=(), broken=(), room=10**9):
        trained = choice.Choice._trained_chunk

        def trained_chunk(self, objective, form, models, cells, share=1):
            if form in broken:
                raise jax.errors.JaxRuntimeError("INTERNAL: Mosaic failed to compile\nmuch more")
            chunk, timed = trained(self, objective, form, models, cells, share)

            def took(chunk):
                timed(chunk)
                return (10.0 if form in slow else 1.0) * (1 + chunk / room)

            return chunk, took

        monkeypatch.setattr(choice.Choice, "_trained_chunk", trained_chunk)
        monkeypatch.setattr(chunk_sizes, "_CHUNK_MODELS", dict.fromkeys(("cpu", "gpu", "tpu"), 256))
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


@pytest.fixture
def own_programs():
    engine.program.cache_clear()
    yield
    engine.program.cache_clear()


@pytest.mark.parametrize(
    ("slow", "broken", "form"),
    [((), (), "fused"), (("fused",), (), "plain"), ((), ("fused",), "plain"), (("plain",), (), "fused")],
)
def test_an_accelerator_takes_the_form_that_is_faster_and_runs(
    make_case, monkeypatch, capsys, own_programs, slow, broken, form
):
    """The choice is recorded, said where a form does not run, and the numbers are those of any form."""
    expected = run(make_case("train.steps=30"))
    Accelerator(monkeypatch, slow, broken)
    case = make_case("train.steps=30")
    with terminal.telling():
        running = CaseRun("small", case)
    assert running.report.form == form == kernel.FORMS[running.chunks["train form"] - 1]
    said = capsys.readouterr().out
    assert ("the fused form is passed over on this gpu: INTERNAL: Mosaic failed to compile\n" in said) == bool(broken)
    running.train()
    np.testing.assert_allclose(running.finish()["W"], expected["W"], rtol=0, atol=1e-4)
    if not broken:
        engine.program.cache_clear()
        Accelerator(monkeypatch, slow=("fused", "plain"), broken=("mapped",))
        again = CaseRun("small", case, chunks=running.chunks)  # as a run that goes on does
        assert again.report.form == form and again.chunks == running.chunks


def test_an_accelerator_looks_at_the_number_of_steps_once_in_several(make_case, monkeypatch, own_programs):
    """Blocks that end within a turn stop there: snapshots, counters of the optimiser and the end are the same."""
    case = make_case("train.steps=45", "train.snapshots=[0, 3, 16, 40, 45]", "train.schedule=cosine")

    def steps() -> str:
        running = CaseRun("looped", case)
        objective, cell = running._plan.parts[0].objective, np.zeros((1, 16), np.int32)
        function, arguments = running.program.steps_of(objective, "fused", running.cells, cell, 45)
        return str(function._jitted.trace(*arguments).jaxpr)

    expected = run(case)
    assert "length=16" not in steps()
    engine.program.cache_clear()
    monkeypatch.setattr(engine, "_turn", lambda: 16)
    found = run(case)
    assert "length=16" in steps()  # a loop inside that of unknown length
    assert found["W_snapshots"].sizes["snapshot"] == 5
    for name in ("W", "b", "loss", "W_snapshots"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-6)


def test_an_accelerator_takes_smaller_chunks_while_they_are_faster(make_case, monkeypatch, own_programs):
    case = make_case("train.steps=30", "restarts=200")
    Accelerator(monkeypatch)
    largest = CaseRun("large", case).chunks["train"]
    Accelerator(monkeypatch, room=1)
    assert CaseRun("again", case).chunks["train"] == largest  # once in a process, as programs are compiled
    engine.program.cache_clear()
    smallest = CaseRun("small", case).chunks["train"]
    assert largest > 200 and smallest == chunk_sizes.LEAST["fused"]


def test_the_plain_form_of_an_accelerator_has_room_for_what_it_stores(make_case, monkeypatch):
    """Outputs of all rows and models at once: no chunk needs gigabytes for them, nor is one filled with copies."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    case = make_case("n_features=20", "n_hidden=5", "train.objective=minibatch", "train.batch=1024", "restarts=8")
    compiled = program_of(case, problem_of(case))
    stored = {}
    for objective in (training_parts(problem_of(case), case)[0].objective, compiled.fine):
        assert compiled.form(objective) == "plain"
        most = chunk_sizes.chunk_size(objective, 20, "plain", None)
        stored[objective] = 4 * most * objective.n_rows * 20
        assert chunk_sizes.chunk_size(objective, 20, "plain", 48) == min(48, most)
    assert max(stored.values()) <= 2**31, stored


def test_a_device_that_runs_nothing_says_so(make_case, monkeypatch, own_programs):
    Accelerator(monkeypatch, broken=("fused", "plain"))
    with pytest.raises(SweepError, match="this device runs none of the forms"):
        CaseRun("none", make_case("train.steps=30"))


def test_the_evaluation_has_a_form_that_runs_on_the_device(make_case, monkeypatch, own_programs):
    Accelerator(monkeypatch)
    evaluated = choice.Choice.evaluated_models

    def broken(self, models, cells):
        if self._program.form(self._program.fine, "evaluate") == "fused":
            raise jax.errors.JaxRuntimeError("INTERNAL: cannot")
        return evaluated(self, models, cells)

    monkeypatch.setattr(choice.Choice, "evaluated_models", broken)
    case = make_case("train.steps=30")
    running = CaseRun("small", case)
    assert kernel.FORMS[running.chunks["train evaluation form"] - 1] == "plain"
    assert running.report.form == "fused"
    running.train()
    monkeypatch.undo()
    engine.program.cache_clear()
    np.testing.assert_allclose(running.finish()["loss"], run(case)["loss"], rtol=1e-4)


@pytest.mark.parametrize("overrides", [(), ("model.kind=linear",)])
def test_every_case_keeps_the_form_that_was_chosen_for_it(make_case, monkeypatch, own_programs, overrides):
    """Also where two cases have one shape, and where what is minimised is what is evaluated."""
    Accelerator(monkeypatch, slow=("fused",))
    first = CaseRun("first", make_case("train.steps=30", *overrides))
    forms, undo = first.program.forms(first._plan.parts[0].objective), monkeypatch.undo
    undo()
    Accelerator(monkeypatch, slow=("plain",))
    second = CaseRun("second", make_case("train.steps=30", "seed=5", *overrides))
    assert first.program is not second.program and forms == ["fused", "plain"]
    for running, form in ((first, "plain"), (second, "fused")):
        assert running.report.form == running.program.form(running._plan.parts[0].objective) == form
        assert running.program.form(running.program.fine, "evaluate") == "fused"


MANY_NEWTON = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
from superjax.runs.case_run import CaseRun
from superjax.spec import Case
run = CaseRun("many", Case.model_validate({"n_features": 2, "n_hidden": 1, "data": {"density": 0.3}}))
rng = np.random.default_rng(0)
models = jax.tree.map(lambda x: rng.normal(0, 0.6, (8192, *x.shape)).astype(np.float32), run.program.model)
before = run.program.loss(models, run.cells, np.zeros(8192, np.int32), 4096)
_, loss = run.program.relax(models, run.cells, np.zeros(8192, np.int32), 4096)
print(run.program.mesh.size, (loss <= before * (1 + 1e-6)).all())
"""


def test_newton_steps_of_many_models_on_several_devices():
    """In JAX itself eigenvalues of a large batch on each of two CPU devices wait for one another for ever."""
    done = subprocess.run([sys.executable, "-c", MANY_NEWTON], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["2", "True"]
