"""Models moved to the minima nearby, against the oracle in float64 and against what is true of a minimum."""

import jax
import numpy as np
import pytest

from superjax.engine import bfgs, settling
from superjax.engine.bfgs import MAX_NUMBERS
from superjax.problem.expectation import Exact
from superjax.reference import oracle
from superjax.runs.case_run import CaseRun

CELLS = """
n_features = {n}
n_hidden = {m}
{more}
[axes.importance]
field = "importance[-1]"
values = [0.2, 1, 4]
[axes.density]
field = "data.density"
values = [0.9, 0.3, 0.03]
"""
STEPS = 300


def running(make_case, n=2, m=1, more="") -> CaseRun:
    return CaseRun("settled", make_case(text=CELLS.format(n=n, m=m, more=more)))


def settled(run: CaseRun, models, cell, steps=STEPS, beside=True, chunk=64, coarse=None):
    """Under the objective of the evaluation; with a coarse one beside it that is not used."""
    objectives = (run.program.fine,) if coarse is None else (coarse, run.program.fine)
    which = len(objectives) - 1
    return settling.settle(run.program, objectives, which, models, run.cells, cell, chunk, steps, beside)


def models_of(run: CaseRun, count: int, seed: int = 0):
    """Random models, some of each cell."""
    rng = np.random.default_rng(seed)
    cell = np.arange(count, dtype=np.int32) % run.grid.n_cells
    models = jax.tree.map(lambda x: rng.normal(0, 0.6, (count, *x.shape)).astype(np.float32), run.program.model)
    return models, cell


def numbers_of(run: CaseRun, cell):
    """Importance and density of every feature in the cells."""
    laws = run.cells.laws
    return np.asarray(jax.vmap(lambda own: own.weights())(laws))[cell], np.asarray(laws.data.density)[cell]


@pytest.mark.parametrize(("n", "m"), [(2, 1), (3, 2)])
def test_ends_in_minima_of_the_oracle(make_case, n, m):
    """From random weights: going on in float64 with the exact loss gains no more than float32 can tell."""
    run = running(make_case, n, m)
    models, cell = models_of(run, 90)
    found = settled(run, models, cell)
    importance, density = numbers_of(run, cell)
    before = oracle.expected_loss(models.W, models.b, importance, density)
    after = oracle.expected_loss(found.models.W, found.models.b, importance, density)
    onwards = oracle.relaxed(found.models.W, found.models.b, importance, density)
    assert (after <= before).all() and np.median(after / before) < 0.3
    at_rest = ~found.stuck
    assert at_rest.mean() > 0.97
    gained = (after - onwards.loss) / after
    assert np.quantile(gained[at_rest], 0.95) < 1e-5, np.sort(gained)[-9:]


def test_a_saddle_on_one_side_is_no_end(make_case):
    """Feature 1 alone, the bias of the other at its mean: where data are sparse, a pair has a lower loss, which is
    downhill in one direction only, as the output of feature 1 has a kink at 0."""
    run = running(make_case)
    cell = np.flatnonzero(run.grid.fields["data.density"] == 0.03).astype(np.int32)[1:2]  # of equal importance
    mean = 0.03 / 2
    arrays = [np.array([[[1.0, 0.0]]], np.float32), np.array([[0.0, mean]], np.float32)]
    models = jax.tree.unflatten(jax.tree.structure(run.program.model), arrays)
    stays, leaves = (settled(run, models, cell, beside=beside).models for beside in (False, True))
    np.testing.assert_allclose(np.abs(stays.W[0, 0]), [1, 0], atol=1e-3)
    np.testing.assert_allclose(leaves.W[0, 0, 0] * leaves.W[0, 0, 1], -1, atol=0.1)


def test_a_model_does_not_depend_on_others(make_case):
    """Nor on another objective in the program, nor on which models beside it are at rest."""
    run = running(make_case)
    models, cell = models_of(run, 50)
    together = settled(run, models, cell)
    own = jax.tree.map(lambda x: x[7:12], models)
    alone = settled(run, own, cell[7:12])
    beside = settled(run, own, cell[7:12], coarse=Exact(2, 5))
    for several in (alone, beside):
        np.testing.assert_allclose(several.models.W, together.models.W[7:12], atol=1e-4)
    np.testing.assert_array_equal(alone.models.W, together.models.W[7:12])


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
def test_chunks_of_any_size_find_the_same(make_case, count):
    """Groups that are not full, on one device or both, several chunks."""
    run = running(make_case)
    models, cell = models_of(run, 100)
    expected = settled(run, models, cell, chunk=1000)
    found = settled(run, jax.tree.map(lambda x: x[:count], models), cell[:count], chunk=16)
    np.testing.assert_allclose(found.models.W, expected.models.W[:count], atol=1e-4)
    assert found.stuck.tolist() == expected.stuck[:count].tolist()


def test_never_ends_higher(make_case):
    """However few steps it takes."""
    run = running(make_case, 3, 2)
    models, cell = models_of(run, 60, seed=1)
    before = run.program.loss(models, run.cells, cell, 64)
    for steps in (5, 10, 40):
        after = run.program.loss(settled(run, models, cell, steps).models, run.cells, cell, 64)
        assert (after <= before * (1 + 1e-6)).all()
        before = after


def test_what_has_no_loss_or_a_kink_is_stuck(make_case):
    """An L1 term has its minima at kinks, where the loss has a slope on either side."""
    run = running(make_case, more="terms.l1.strength = 0.3")
    models, cell = models_of(run, 40)
    models.W[3] = np.nan
    found = settled(run, models, cell)
    assert found.stuck[3] and np.isnan(found.models.W[3]).all()
    assert found.stuck.mean() > 0.3
    smooth = running(make_case)
    models, cell = models_of(smooth, 40)
    models.W[3] = np.inf
    found = settled(smooth, models, cell)
    assert found.stuck.tolist() == [k == 3 for k in range(40)]


def test_hidden_dimensions_that_a_cell_has_not_are_zero(make_case):
    """Whatever cell a model comes from."""
    text = "n_features = 3\nn_hidden = 2\ndata.density = 0.3\n[axes.m]\nfield = 'n_hidden'\nvalues = [1, 2]"
    run = CaseRun("masked", make_case(text=text))
    models, cell = models_of(run, 20)
    found = settled(run, models, cell).models.W
    assert (found[cell == 0, 1] == 0).all() and (found[cell == 0, 0] != 0).any()
    assert (np.abs(found[cell == 1]).sum(-1) > 0).all(-1).mean() > 0.5


def test_losses_below_zero():
    """A gain is relative to the size of the loss, and there is none before the first step."""
    walks = bfgs.begin(np.array([[1.0, 2.0]], np.float32))._replace(gradient=np.array([[1e-2, 0]], np.float32))
    gains = [bfgs.gain(walks._replace(loss=np.full(1, loss, np.float32))) for loss in (-1, 1)]
    np.testing.assert_allclose(gains, 5e-5, rtol=1e-5)
    assert np.isnan(bfgs.gain(walks)).all()


def test_chunks_have_room(make_case):
    """The largest arrays of one are bounded, whatever the number of models, and it is so many times as many as are side
    by side."""
    program = running(make_case).program
    for most, expected in ((2**20, settling._CHUNK), (300, 256), (100, 96), (3, 16)):
        chunk, side_by_side = settling._chunk(program, (program.fine,), 4, most)
        assert chunk == expected and chunk % side_by_side == 0 and side_by_side <= settling._SIDE_BY_SIDE
    assert settling._chunk(program, (program.fine,), MAX_NUMBERS, 2**20)[0] * 2 * MAX_NUMBERS**2 <= settling._ENTRIES
    program.use("train", program.fine, "plain")
    assert settling._chunk(program, (program.fine,), 4, 2**20)[0] * program.fine.n_rows * 4 <= settling._ENTRIES
    program.use("train", program.fine, "fused")
