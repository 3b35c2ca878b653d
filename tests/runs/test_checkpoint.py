"""Chunks on disk: what is read back is what was written, and training goes on from it as if nothing had been."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from superjax.engine import chunk_sizes, engine, pace
from superjax.runs import checkpoint
from superjax.runs.case_run import CaseRun
from superjax.runs.checkpoint import Folder, Memory, Saved
from superjax.runs.stages import families

BATCHES = ("train.objective=minibatch", "train.batch=32", "train.streams=2", "train.steps=60", "optimum=true")
pytestmark = pytest.mark.usefixtures("two_devices")
FAMILY = ("train.steps=20", 'families.pair={W = "digon", along = "density", start = 1}')
ANY_ARRAY = arrays.arrays(st.sampled_from([np.float32, np.int32, np.int8]), arrays.array_shapes(min_dims=0, max_dims=4))


class Killed(BaseException):
    """Nothing of superjax sees this coming."""


@pytest.fixture
def small_chunks(monkeypatch):
    """So small that a grid of 24 models is several."""
    monkeypatch.setattr(chunk_sizes, "_CHUNK_MODELS", {"cpu": 16})


def folders(path, warnings=None):
    """Where the chunks of a case are kept, as the command line has it."""
    warn = warnings.append if warnings is not None else pytest.fail
    return lambda task, key: Folder(path / task, key, warn)


def finished(case, keep, **keywords):
    running = CaseRun("case", case, keep=keep, **keywords)
    running.train()
    return running.finish()


def assert_identical(one, other):
    """The same variables, coordinates and attributes, bit for bit."""
    assert set(one.variables) == set(other.variables) and one.attrs == other.attrs
    for name in one.variables:
        a, b = one[name], other[name]
        assert a.dtype == b.dtype and a.dims == b.dims and str(a.attrs) == str(b.attrs), name
        assert a.values.tobytes() == b.values.tobytes(), name


@given(st.booleans(), st.integers(0, 10**6), st.lists(ANY_ARRAY, max_size=4))
def test_a_chunk_reads_back_as_it_was(tmp_path_factory, done, step, values):
    folder = Folder(tmp_path_factory.mktemp("chunks"), "key", pytest.fail)
    folder.save(3, Saved(done, step, values))
    read = folder.load(3)
    assert (read.done, read.step, len(read.arrays)) == (done, step, len(values))
    assert folder.done(3) == done and folder.load(4) is None
    for before, after in zip(values, read.arrays, strict=True):
        assert before.dtype == after.dtype and before.shape == after.shape and before.tobytes() == after.tobytes()


def damages(content: bytes):
    """100 random byte flips, 20 truncations, nothing, and something else."""
    random = np.random.default_rng(0)
    for place, flip in zip(random.integers(0, len(content), 100), random.integers(1, 256, 100), strict=True):
        changed = bytearray(content)
        changed[place] ^= flip
        yield bytes(changed)
    for length in random.integers(1, len(content), 20):
        yield content[:length]
    yield b""
    yield b"PK\x03\x04 somebody else's"


def test_damaged_chunks_are_noticed_and_named_once(tmp_path):
    Folder(tmp_path, "key", pytest.fail).save(0, Saved(True, 5, [np.arange(99.0)]))
    file = tmp_path / "000000.chunk"
    content = file.read_bytes()
    for damaged in damages(content):
        file.write_bytes(damaged)
        warnings = []
        folder = Folder(tmp_path, "key", warnings.append)
        assert not folder.done(0) and folder.load(0) is None
        assert len(warnings) == 1 and str(file) in warnings[0] and "trained again" in warnings[0]


def test_chunks_of_other_settings_count_for_nothing(tmp_path):
    Folder(tmp_path, "one", pytest.fail).save(0, Saved(True, 5, []))
    warnings = []
    assert Folder(tmp_path, "other", warnings.append).load(0) is None and "another run" in warnings[0]
    Folder(tmp_path, "one", pytest.fail).save(1, Saved(True, 5, []))
    (tmp_path / "000001.chunk").rename(tmp_path / "000002.chunk")
    assert Folder(tmp_path, "one", warnings.append).load(2) is None and len(warnings) == 2


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("train.steps=60", "optimum=true", "train.snapshots=[0, 7, 60]"), marks=pytest.mark.heavy),
        pytest.param(BATCHES, marks=pytest.mark.heavy),
        FAMILY,
    ],
)
def test_a_run_killed_again_and_again_goes_on_bitwise(make_case, small_chunks, tmp_path, monkeypatch, overrides):
    """Killed at every 23rd saving and taken up, until it is done."""
    monkeypatch.setattr(families, "FOLLOW", families.FOLLOW.model_copy(update={"steps": 60}))
    case = make_case(*overrides)
    straight = finished(case, lambda task, key: Memory())
    monkeypatch.setattr(Folder, "due", lambda self: True)
    monkeypatch.setattr(pace, "_CALL_SECONDS", 1e-9)  # a call is a step, but for the first
    save, saved = Folder.save, []

    def save_and_die(self, chunk, what):
        save(self, chunk, what)
        saved.append((self.path.name, chunk, what.done, what.step))
        if len(saved) % 23 == 0:
            raise Killed

    monkeypatch.setattr(Folder, "save", save_and_die)
    kills, resumed = 0, None
    while resumed is None:
        try:
            resumed = finished(case, folders(tmp_path))
        except Killed:
            kills += 1
    assert kills > 3
    assert len(set(saved)) == len(saved)  # nothing that was saved is trained again
    assert_identical(resumed, straight)


def test_nothing_done_is_trained_again(make_case, small_chunks, tmp_path, monkeypatch):
    case = make_case("train.steps=20", "optimum=true")
    first = finished(case, folders(tmp_path))
    monkeypatch.setattr(engine.Program, "advance", lambda *_: pytest.fail("trains"))
    assert_identical(finished(case, folders(tmp_path)), first)


def test_chunks_damaged_after_training_are_trained_again(make_case, small_chunks, tmp_path):
    case, warnings = make_case("train.steps=20"), []
    straight = finished(case, lambda task, key: Memory())
    running = CaseRun("case", case, keep=folders(tmp_path, warnings))
    running.train()
    files = sorted(tmp_path.rglob("*.chunk"))
    assert len(files) == 2
    for file, content in zip(files, (b"", file_with_a_flip(files[1])), strict=True):
        file.write_bytes(content)
    assert_identical(running.finish(), straight)
    assert len(warnings) == 2


def file_with_a_flip(file) -> bytes:
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    return bytes(content)


def sampled(objective, batch):
    """The size and the streams of batches, where there are any."""
    settings = {"exact": 0, "quasi": 1, "minibatch": 2}[objective]
    return (f"train.batch={batch}", "train.streams=2")[:settings]


@pytest.mark.parametrize(
    ("objective", "optimizer"),
    [
        pytest.param(objective, optimizer, marks=() if row == column else pytest.mark.heavy)
        for row, objective in enumerate(["exact", "minibatch", "quasi"])
        for column, optimizer in enumerate(["adam", "adamw", "sgd"])
    ],
)
def test_devices_processes_and_calls_change_nothing(
    make_case, small_chunks, tmp_path, monkeypatch, objective, optimizer
):
    """One device and two, one process and three (one after the other here), calls of many steps and of one."""
    case = make_case(
        f"train.objective={objective}", f"train.optimizer={optimizer}", *sampled(objective, 32), "train.steps=40",
        "train.normalize=none", "axes.importance.points=5",
    )  # fmt: skip
    sizes = CaseRun("case", case, devices=2).chunks
    straight = finished(case, lambda task, key: Memory(), chunks=sizes, devices=2)
    assert_identical(finished(case, lambda task, key: Memory(), chunks=sizes, devices=1), straight)
    keep = functools.cache(folders(tmp_path))
    for process in (2, 0, 1):
        running = CaseRun("case", case, keep=keep, chunks=sizes)
        running.train(process=process, processes=3)
        assert running.complete() == (process == 1)
    assert_identical(running.finish(), straight)
    for steps in (1, 7, 60):
        monkeypatch.setattr(engine.Pace, "end", lambda self, first, stops, steps=steps: end(first, stops, steps))
        assert_identical(finished(case, lambda task, key: Memory(), chunks=sizes), straight)


def end(first, stops, steps):
    return min(first + steps, min(stop for stop in stops if stop > first))


@pytest.mark.parametrize("overrides", [("train.objective=exact",), pytest.param(BATCHES, marks=pytest.mark.heavy)])
def test_calls_of_1_to_60_steps_change_nothing(make_case, monkeypatch, overrides):
    """Weights, snapshots and evaluation."""
    case = make_case(*overrides, "train.steps=60", "train.snapshots=[11, 60]", "optimum=false")
    training = CaseRun("case", case)._training

    def trained():
        training.run(memory := Memory())
        return [leaf.tobytes() for leaf in jax.tree.leaves(training.gather(memory))]

    straight = trained()
    for steps in range(1, 61):
        monkeypatch.setattr(engine.Pace, "end", lambda self, first, stops, steps=steps: end(first, stops, steps))
        assert trained() == straight, steps


@pytest.mark.parametrize(
    "objective", ["exact", *(pytest.param(other, marks=pytest.mark.heavy) for other in ("minibatch", "quasi"))]
)
def test_the_order_of_cells_changes_nothing(make_case, small_chunks, objective):
    """Rows of a list of points, shuffled: other chunks, other places in them; the same numbers."""
    rows = np.column_stack([np.geomspace(1, 0.05, 40), np.geomspace(0.2, 5, 40)])
    order = np.random.default_rng(3).permutation(40)
    straight, shuffled = (
        finished(
            make_case(
                f"train.objective={objective}", *sampled(objective, 64), "train.steps=50",
                text="n_features = 3\nn_hidden = 2\nrestarts = 3\n[axes.point]\n"
                f'fields = ["data.density", "importance[-1]"]\nvalues = {points.tolist()}\n',
            ),
            lambda task, key: Memory(),
        )
        for points in (rows, rows[order])
    )  # fmt: skip
    for name in straight.data_vars:
        assert straight[name].values[order].tobytes() == shuffled[name].values.tobytes(), name


@pytest.mark.heavy
def test_other_sizes_of_chunks_change_next_to_nothing(make_case):
    case = make_case("train.steps=2000", "axes.importance.points=20", "axes.density.points=20")
    one, other = (
        finished(case, lambda task, key: Memory(), chunks={"train": chunk}) for chunk in (16, 400)
    )  # fmt: skip
    np.testing.assert_allclose(one["W"], other["W"], rtol=0, atol=1e-5)
    assert np.mean(one["phase"].values == other["phase"].values) >= 0.999


def test_what_cannot_be_read_is_trained_again(tmp_path):
    """As a damaged chunk; here there is a folder in its place."""
    warnings = []
    folder = Folder(tmp_path, "key", warnings.append)
    folder.file(0).mkdir()
    assert folder.load(0) is None and folder.settled(0)
    assert len(warnings) == 1 and "cannot be read" in warnings[0]


def test_saving_compiles_nothing(make_case, small_chunks, tmp_path, monkeypatch):
    """What is saved comes from the devices as it is: no program gathers it."""
    case = make_case(*BATCHES, "axes.importance.points=9")
    finished(case, lambda task, key: Memory())
    monkeypatch.setattr(Folder, "due", lambda self: True)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compiled.append(name))
    running = CaseRun("case", case, keep=folders(tmp_path))
    running.train()
    assert list(tmp_path.rglob("*.chunk")) and not [name for name in compiled if "backend_compile" in name]


def test_processes_get_chunks_each(make_case, monkeypatch):
    case = make_case("axes.importance.points=40", "axes.density.points=40", "train.steps=9")
    for processes in (1, 3):
        monkeypatch.setattr(jax, "process_count", lambda processes=processes: processes)
        running = CaseRun("case", case)
        assert len(running._training.chunks) >= processes * min(running.program.mesh.size, 2) - 1, processes


def test_savings_take_a_small_part_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    folder = Folder(tmp_path, "key", pytest.fail)

    assert not folder.due()
    now[0] += checkpoint._SECONDS
    assert folder.due()
    folder.took(0.001)
    now[0] += checkpoint._SECONDS - 0.01
    assert not folder.due()
    now[0] += 0.02
    assert folder.due()
    folder.took(3.0)  # all chunks side by side
    now[0] += 59.9
    assert not folder.due()
    now[0] += 0.2
    assert folder.due()
