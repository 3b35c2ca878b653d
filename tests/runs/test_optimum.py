"""The optimum against the oracle, against what is true of it, and against a slow implementation."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from superjax import analysis
from superjax.analysis.phases import DEDICATED, NOT_REPRESENTED
from superjax.reference import oracle
from superjax.runs import runner
from superjax.runs.case_run import CaseRun
from superjax.runs.checkpoint import Memory
from superjax.runs.stages import optimum, refine
from superjax.runs.stages.optimum import (
    KEPT,
    MIN_GAIN,
    STRIDES,
    Solutions,
    _merge,
    _neighbours,
    _nothing,
    find_optimum,
)
from superjax.spec import Case
from superjax.spec.grid import Grid

DIAGRAM = """
n_features = 2
n_hidden = 1
restarts = 2
seed = 3      # both restarts fail in almost half of the cells
optimum = true
[axes.importance]
field = "importance[-1]"
scale = "log"
range = [0.1, 10]
points = 13
[axes.density]
field = "data.density"
scale = "log"
range = [1, 0.01]
points = 12
"""


@pytest.fixture(scope="module")
def diagram(make_case) -> xr.Dataset:
    """The phase diagram of n = 2, m = 1 on a coarse grid, from few restarts."""
    return runner.run_case("diagram", make_case(text=DIAGRAM))[0]


def numbers(data):
    """Importance and density of every cell, (..., feature)."""
    r, s = np.meshgrid(data["importance"].values, data["density"].values, indexing="ij")
    return np.stack([np.ones_like(r), r], -1), np.stack([s, s], -1)


def test_equals_the_oracle(diagram):
    """In 30 random cells: loss to 1e-3, phases wherever the second best phase is not as good."""
    importance, density = numbers(diagram)
    cells = tuple(np.random.default_rng(0).integers(0, (13, 12), (30, 2)).T)
    true = oracle.minimum(importance[cells], density[cells], 1, restarts=32)
    np.testing.assert_allclose(diagram["optimum_loss"].values[cells], true.loss, rtol=1e-3)
    clear = ~(diagram["gap"].values[cells] < 1e-3)
    signature = [
        analysis.phase_signature(phase, importance[cells], density[cells])
        for phase in (diagram["optimum_phase"].values[cells], analysis.classify(true.W)[0])
    ]
    assert clear.sum() > 20
    np.testing.assert_array_equal(signature[0][clear], signature[1][clear])


def test_is_never_above_the_best_restart(diagram):
    best = diagram["loss"].min("restart")
    assert (diagram["optimum_loss"] <= best * (1 + 1e-6)).all()
    assert (diagram["optimum_loss"] < best * (1 - 1e-3)).mean() > 0.3
    success = diagram["success"].values
    assert 0.4 < success.mean() < 0.7
    within = (diagram["loss"] <= diagram["optimum_loss"] * 1.01).mean("restart")
    np.testing.assert_allclose(success, within, rtol=1e-6)


def test_stored_loss_is_that_of_the_stored_weights(diagram):
    """Of the best solution and of the best one in other phases, whose phases are indeed others."""
    importance, density = numbers(diagram)
    for name in ("optimum", "optimum_other"):
        W, b, loss = (diagram[f"{name}_{part}"].values for part in ("W", "b", "loss"))
        there = np.isfinite(loss)
        assert there.mean() > 0.5
        true = oracle.expected_loss(W[there], b[there], importance[there], density[there])
        np.testing.assert_allclose(loss[there], true, rtol=1e-4)
    best, other = (analysis.classify(diagram[f"{name}_W"].values)[0] for name in ("optimum", "optimum_other"))
    signatures = [analysis.phase_signature(phase, importance, density) for phase in (best, other)]
    assert (signatures[0] != signatures[1])[there].all()
    assert (diagram["gap"].values[there] >= 0).all()


def test_exchange_of_the_two_features(diagram):
    """L*(1/r) = L*(r)/r: exchanging the features and the unit of importance changes nothing."""
    r, loss = diagram["importance"].values[:, None], diagram["optimum_loss"].values
    np.testing.assert_allclose(loss[::-1], loss / r, rtol=5e-4)


def test_concave_in_importance(diagram):
    """A minimum of functions that are linear in the importance: no chord lies above it."""
    r, loss = diagram["importance"].values[:, None], diagram["optimum_loss"].values
    share = (r[1:-1] - r[:-2]) / (r[2:] - r[:-2])
    chord = (1 - share) * loss[:-2] + share * loss[2:]
    assert (chord <= loss[1:-1] * (1 + 5e-4)).all()
    assert (np.diff(loss, axis=0) >= -5e-4 * loss[1:]).all()


REPAIR = """
n_features = 2
n_hidden = 1
restarts = 2
optimum = true
train.steps = 1
train.learning_rate = 1e-9
data.density = 0.1
[axes.importance]
field = "importance[-1]"
values = {}
"""


@pytest.mark.parametrize("values", [[0.5, 0.8, 1.2], [0.5, 1.2, 0.8]])
def test_a_cell_of_bad_restarts_is_repaired_by_its_neighbours(make_case, values):
    """All restarts of the middle cell of the list start where the gradient vanishes, whatever the order of values."""
    W = np.full((3, 2, 1, 2), [[1.0, -1.0]])
    W[1] = 0
    data = runner.run_case("repair", make_case(text=REPAIR.format(values)), init={"W": W})[0]
    importance = np.stack([np.ones(3), values], -1)
    true = oracle.minimum(importance, np.full((3, 2), 0.1), 1, restarts=16).loss
    assert np.abs(data["norm"].values[1]).max() < 1e-6
    np.testing.assert_allclose(data["optimum_loss"], true, rtol=1e-3)
    assert (data["optimum_phase"].values[1] != NOT_REPRESENTED).all()


def test_what_is_settled_is_kept(make_case, monkeypatch):
    """A run that goes on settles nothing again; what was kept under another number of steps is another's."""
    settled, kept = [], {}
    settle = refine.settle

    def seen(program, objectives, which, models, cells, cell, *numbers):
        settled.append(len(cell))
        return settle(program, objectives, which, models, cells, cell, *numbers)

    def keep(task, key):
        found = kept.setdefault((task, key), Memory())
        found.load = lambda number: found._saved.get(number)
        return found

    monkeypatch.setattr(refine, "settle", seen)
    case = make_case(text=DIAGRAM)

    def run() -> xr.Dataset:
        running = CaseRun("kept", case, keep=keep)
        running.train()
        settled.clear()
        return running.finish()

    first, parts = run(), settled.copy()
    assert len(parts) > 3 and parts[-1] <= 2 * 13 * 12
    xr.testing.assert_identical(run(), first)
    assert not settled
    monkeypatch.setattr(refine, "THOROUGH", refine.THOROUGH + 10)
    run()
    assert settled == parts[-len(settled) :] and len(settled) < len(parts)


def test_models_of_many_numbers_are_trained(make_case):
    """Those whose estimate of a Hessian would be large."""
    for n, settles in ((8, True), (9, False)):
        text = f"n_features = {n}\nn_hidden = {n - 1}\nmodel.kind = 'linear'"
        running = CaseRun("size", make_case(text=text))
        assert refine.Refinement(running).settles == settles == (n * (n - 1) + n <= refine.MAX_NUMBERS)


def test_an_axis_of_hidden_dimensions(make_case):
    """No solution has directions that its cell has not, so the best in other phases is another one."""
    text = """
n_features = 3
n_hidden = 2
restarts = 4
optimum = true
train.steps = 200
[axes.density]
field = "data.density"
values = [0.5, 0.1]
[axes.m]
field = "n_hidden"
values = [1, 2]
"""
    data = runner.run_case("dims", make_case(text=text))[0]
    for name in ("optimum", "optimum_other"):
        W = data[f"{name}_W"].sel(m=1).isel(hidden=1).values
        assert (W[np.isfinite(W)] == 0).all()
    assert not (data["gap"] < 1e-4).any()


def test_settling_equals_training_to_the_end(diagram, make_case, monkeypatch):
    """Which models of many numbers are left to. No solution is higher than what many gradient steps come to."""
    monkeypatch.setattr(refine, "MAX_NUMBERS", 3)
    trained = runner.run_case("diagram", make_case(text=DIAGRAM))[0]
    relative = diagram["optimum_loss"] / trained["optimum_loss"] - 1
    assert np.quantile(np.abs(relative), 0.95) < 1e-4
    assert (relative < 1e-5).mean() > 0.98


def test_solutions_at_kinks_are_trained_by_gradient_steps(make_case, monkeypatch):
    """An L1 term has its minima there: what is stuck is trained as models of many numbers are."""
    tasks = []
    run = refine.Refinement.run

    def seen(self, task, *arguments):
        tasks.append(task)
        return run(self, task, *arguments)

    monkeypatch.setattr(refine.Refinement, "run", seen)
    text = "n_features = 2\nn_hidden = 1\nrestarts = 3\noptimum = true\nterms.l1.strength = 0.3\ndata.density = 0.1"
    data = runner.run_case("kinks", make_case(text=text))[0]
    assert {"polish-1-trained", "finish-1-trained"} <= set(tasks)
    assert data["optimum_objective"] <= data["objective"].min() * (1 + 1e-5)


def test_few_solutions_of_models_of_many_numbers_are_trained(make_case, monkeypatch):
    """Those that are settled are trained only if many are stuck; others always."""
    monkeypatch.setattr(refine, "MAX_NUMBERS", 0)
    monkeypatch.setattr(optimum, "STUCK", 100)
    text = "n_features = 2\nn_hidden = 1\nrestarts = 3\noptimum = true\ndata.density = 0.1\ntrain.steps = 50"
    data = runner.run_case("few", make_case(text=text))[0]
    assert data["optimum_loss"] < data["loss"].min()


def test_without_axes(make_case):
    """One cell: no neighbours, the best restart polished."""
    text = "n_features = 2\nn_hidden = 1\noptimum = true\nimportance = [1, 0.1]\ndata.density = 0.8"
    data = runner.run_case("one", make_case(text=text))[0]
    assert data["optimum_loss"].dims == () and data["optimum_loss"] <= data["loss"].min() * (1 + 1e-6)
    assert data["optimum_phase"].values.tolist() == [DEDICATED, NOT_REPRESENTED]


def test_the_optimum_does_not_depend_on_a_learning_rate_that_is_swept(make_case):
    """Nor on the objective that the restarts were trained with; families are followed under numbers of their own."""
    text = """
n_features = 2
n_hidden = 1
restarts = 4
optimum = true
train = {objective = "quasi", batch = 256, steps = 50}
data.density = 0.1
[axes.rate]
field = "train.learning_rate"
values = [0.01, 0.1]
[families.pair]
W = "digon"
along = "rate"
start = 0.1
"""
    data = runner.run_case("rates", make_case(text=text))[0]
    best = oracle.minimum(np.ones(2), np.full(2, 0.1), 1, restarts=8).loss
    np.testing.assert_allclose(data["optimum_loss"], best, rtol=1e-3)
    np.testing.assert_allclose(data["family_loss"].sel(family="pair"), best, rtol=1e-3)


@pytest.mark.parametrize(("rates", "found"), [("[1e30]", [False]), ("[1e30, 0.03, 0.02]", [True, True, True])])
def test_cells_whose_restarts_all_diverge(make_case, rates, found):
    """Neighbours fill them; without any there is no optimum, and that is no error."""
    axis = f"axes.r = {{field = 'train.learning_rate', values = {rates}}}"
    text = f"n_features = 2\nn_hidden = 1\nrestarts = 2\noptimum = true\ntrain.steps = 50\n{axis}"
    data = runner.run_case("diverged", make_case(text=text))[0]
    assert (data["diverged_at"][0] >= 0).all()
    assert np.isfinite(data["optimum_loss"]).values.tolist() == found
    assert ((data["optimum_phase"] == analysis.PHASES.index("diverged")).any("feature") != found).all()


# --- the search itself, on a landscape without training -------------------------------------------


@dataclass
class Landscape:
    """Solutions are plain numbers, their kinds; `loss[cell, kind]` is what each is worth in each cell."""

    loss: np.ndarray

    def polish(self, kinds, cell):
        return Solutions(kinds, cell, self.loss[cell, kinds.astype(int)], kinds.astype(np.uint64))

    def finish(self, kinds, cell):
        return self.polish(kinds, cell)._replace(loss=self.loss[cell, kinds.astype(int)] - 0.25)


def grid_of(*axes):
    fields = ("importance[-1]", "data.density", "train.learning_rate")
    axes = {f"a{k}": {"field": fields[k], "values": list(values)} for k, values in enumerate(axes)}
    return grid_with(axes)


def grid_with(axes):
    return Grid(Case.model_validate({"n_features": 2, "n_hidden": 1, "axes": axes}))


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3) | st.just([3, 19]) | st.just([9]))
def test_neighbours_are_one_or_eight_steps_along_one_axis(sizes):
    grid = grid_of(*(np.linspace(0.1, 1, size) for size in sizes))
    places = list(np.ndindex(*sizes))
    tables = np.array(_neighbours(grid)).reshape(-1, len(places))
    for cell, place in enumerate(places):
        away = np.abs(np.subtract(place, places))
        near = (away != 0).sum(1) == 1
        expected = np.flatnonzero(near & np.isin(away.sum(1), STRIDES))
        assert sorted(tables[tables[:, cell] >= 0, cell]) == expected.tolist()


@given(data=st.data(), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_every_kind_of_solution_reaches_every_cell(data, sizes):
    """With no more kinds than are kept, each cell ends with the best of all kinds known anywhere, and the second."""
    grid = grid_of(*(np.linspace(0.1, 1, size)[:: data.draw(st.sampled_from([1, -1]))] for size in sizes))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    landscape = Landscape(rng.permutation(grid.n_cells * KEPT).reshape(grid.n_cells, KEPT) + 1.0)
    kinds = rng.integers(0, data.draw(st.integers(1, KEPT)), grid.n_cells)
    found = landscape.polish(kinds.astype(float), np.arange(grid.n_cells))
    settles = data.draw(st.booleans())
    optimum = find_optimum(grid, found, landscape.polish, landscape.polish, landscape.finish, settles)
    known = np.sort(landscape.loss[:, np.unique(kinds)], axis=1) - 0.25
    np.testing.assert_array_equal(optimum.loss, known[:, 0])
    of_models = landscape.finish(optimum.models, np.arange(grid.n_cells)).loss
    np.testing.assert_array_equal(of_models, optimum.loss)
    np.testing.assert_array_equal(optimum.other_loss, known[:, 1] if known.shape[1] > 1 else np.nan)
    assert optimum.rounds <= sum(sizes) + 1


def test_what_ends_in_other_phases_is_no_solution_of_its_own():
    """Kind 1 becomes kind 0 in cell 1 when it is trained to the end, and stays itself in cell 0."""
    grid = grid_of([0.1, 0.2])
    landscape = Landscape(np.array([[1.0, 5.0], [1.0, 5.0]]))

    def finish(kinds, cell):
        return landscape.finish(np.where(cell == 1, 0.0, kinds), cell)

    found = landscape.polish(np.array([0.0, 1, 0, 1]), np.array([0, 0, 1, 1]))
    optimum = find_optimum(grid, found, landscape.polish, landscape.polish, finish)
    np.testing.assert_array_equal(optimum.loss, [0.75, 0.75])
    np.testing.assert_array_equal(optimum.other_loss, [4.75, np.nan])


@given(order=st.permutations([0.1, 0.2, 0.3, 0.5, 0.6]), other=st.permutations([1.0, 2.0, 3.0]))
def test_neighbours_do_not_depend_on_the_order_of_values(order, other):
    """Those of a cell are where its values are next to each other, whatever the file's order."""

    def pairs(*axes):
        grid = grid_of(*axes)
        point = list(zip(grid.fields["importance[-1]"], grid.fields["data.density"], strict=True))
        tables = _neighbours(grid)
        return {(point[k], point[to]) for table in tables for k, to in enumerate(table) if to >= 0}

    density = [value / 4 for value in other]
    assert pairs(order, density) == pairs(sorted(order), sorted(density))


SCATTERED = {"fields": ["importance[-1]", "data.density"], "values": [[0.1, 0.5], [0.5, 0.3], [0.3, 0.9]]}


def test_solutions_that_settle_are_not_tried_once_more():
    """Two of every cell are trained to the end, and where both end in the same phases the third as well."""
    grid = grid_of([0.1, 0.2])
    landscape = Landscape(np.array([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]))
    finished = []

    def finish(kinds, cell):
        finished.append(list(zip(cell.tolist(), kinds.tolist(), strict=True)))
        return landscape.finish(np.where((cell == 1) & (kinds == 1), 0.0, kinds), cell)

    found = landscape.polish(np.array([0.0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 1]))
    optimum = find_optimum(grid, found, landscape.polish, landscape.polish, finish, settles=True)
    assert [sorted(models) for models in finished] == [[(0, 0), (0, 1), (1, 0), (1, 1)], [(1, 2)]]
    np.testing.assert_array_equal(optimum.loss, [0.75, 0.75])
    np.testing.assert_array_equal(optimum.other_loss, [1.75, 4.75])


def test_scattered_points_are_on_their_own():
    grid = grid_with({"points": SCATTERED})
    landscape = Landscape(np.array([[1.0, 5.0], [1.0, 5.0], [1.0, 5.0]]))
    found = landscape.polish(np.array([0.0, 1, 1]), np.arange(3))
    optimum = find_optimum(grid, found, *[landscape.polish] * 3)
    assert optimum.loss.tolist() == [1, 5, 5] and optimum.rounds == 0


def test_a_scattered_axis_beside_an_ordered_one():
    """Solutions travel along the ordered axis only."""
    ordered = {"field": "train.learning_rate", "values": [0.2, 0.4]}
    grid = grid_with({"points": SCATTERED, "rate": ordered})
    landscape = Landscape(np.tile([1.0, 5.0], (6, 1)))
    kinds = np.array([0.0, 1, 1, 1, 1, 1])
    optimum = find_optimum(grid, landscape.polish(kinds, np.arange(6)), *[landscape.polish] * 3)
    assert optimum.loss.tolist() == [1, 1, 5, 5, 5, 5]


def slow_merge(pool, new):
    """The best loss of every (cell, signature), the best few of each cell, and which of them are news."""
    before = dict(pool)
    best = {}
    for entry in [*pool.items(), *new]:
        (cell, signature), loss = entry
        if np.isfinite(loss) and loss < best.get((cell, signature), np.inf):
            best[cell, signature] = loss
    kept = {}
    for cell in {cell for cell, _ in best}:
        mine = sorted((loss, key) for key, loss in best.items() if key[0] == cell)[:KEPT]
        kept |= {key: loss for loss, key in mine}
    fresh = {key: loss for key, loss in kept.items() if loss < before.get(key, np.inf) * (1 - MIN_GAIN)}
    return kept, fresh


keys = st.tuples(st.integers(0, 3), st.integers(0, 5))


@given(
    pool=st.dictionaries(keys, st.just(0), max_size=12),
    new=st.lists(st.tuples(keys, st.sampled_from(["finite", "finite", "finite", "same", "nan", "inf"])), max_size=15),
    seed=st.integers(0, 10**6),
)
def test_merge_equals_a_dictionary(pool, new, seed):
    losses = iter(1 + np.random.default_rng(seed).permutation(100) / 10)
    pool = {key: next(losses) for key in pool}
    values = {"nan": np.nan, "inf": np.inf}
    new = [
        (key, pool.get(key, 1e3) * (1 - MIN_GAIN / 2) if kind == "same" else values.get(kind, next(losses)))
        for key, kind in new
    ]

    def solutions(entries):
        cell = np.array([key[0] for key, _ in entries], int)
        signature = np.array([key[1] for key, _ in entries], np.uint64)
        loss = np.array([loss for _, loss in entries], float)
        return Solutions(loss * 2, cell, loss, signature)

    def table(found):
        np.testing.assert_array_equal(found.models, found.loss * 2)  # weights stay with their loss
        return {(int(c), int(g)): float(v) for c, g, v in zip(found.cell, found.signature, found.loss, strict=True)}

    # a pool is what an earlier merge has kept
    kept, _ = _merge(_nothing(solutions([])), solutions(list(pool.items())))
    pool, _ = slow_merge({}, list(pool.items()))
    assert table(kept) == pool
    merged, fresh = _merge(kept, solutions(new))
    expected, news = slow_merge(pool, new)
    assert table(merged) == expected and len(merged.cell) == len(expected)
    assert table(fresh) == news and len(fresh.cell) == len(news)
