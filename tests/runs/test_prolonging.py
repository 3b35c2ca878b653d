"""Training that goes on from the models of a finished run."""

from pathlib import Path

import numpy as np
import pytest

import superjax
from superjax.disk.files import checksum
from superjax.sweep import main

SWEEP = """
restarts = 3
n_features = 3
n_hidden = 2
train.steps = 40
[axes.density]
field = "data.density"
values = [0.5, 0.2]
"""


@pytest.fixture
def first(tmp_path, monkeypatch):
    """A finished run in results/first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.toml").write_text(SWEEP)
    (tmp_path / "more.toml").write_text('start_from = "results/first"\n' + SWEEP)
    assert main(["first.toml"]) == 0
    return superjax.open("results/first/first.nc")


@pytest.mark.heavy
def test_every_model_starts_from_its_own_weights(first):
    assert main(["more.toml", "train.snapshots=[0]"]) == 0
    more = superjax.open("results/more/more.nc")
    np.testing.assert_array_equal(more["W_snapshots"].values[..., 0, :, :], first["W"].values)
    np.testing.assert_array_equal(more["b_snapshots"].values[..., 0, :], first["b"].values)
    assert more.attrs["started_from"].endswith(checksum(Path("results/first/first.nc")))
    # Python's `run` does the same.
    (same,) = superjax.run(superjax.load("more.toml", "train.snapshots=[0]")).values()
    np.testing.assert_array_equal(same["W"].values, more["W"].values)


@pytest.mark.heavy
def test_fewer_cells_and_restarts_and_another_order_find_theirs(first):
    assert main(["more.toml", "restarts=2", "axes.density.values=[0.2]", "train.snapshots=[0]"]) == 0
    more = superjax.open("results/more/more.nc")
    np.testing.assert_array_equal(more["W_snapshots"].values[0, :, 0], first["W"].values[1, :2])


@pytest.mark.parametrize(
    "overrides, says",
    [
        (("restarts=4",), "has 3 restarts, this sweep has 4"),
        (("axes.density.values=[0.5,0.3]",), "1 of 2 cells are not in"),
        pytest.param(("importance=2",), "2 of 2 cells are not in", marks=pytest.mark.heavy),
        (("n_hidden=1",), "has another model, without W (1, 3)"),
        (('start_from="results/none"',), "there is no folder"),
        (('start_from="results/more"',), "cannot start from its own folder"),
    ],
)
def test_what_has_no_model_to_start_from_is_refused(first, capsys, overrides, says):
    assert main(["more.toml", *overrides]) == 2
    assert says in capsys.readouterr().err


def test_a_run_never_starts_from_its_own_folder(first, capsys):
    """That is said first: other settings and `--fresh` are no way out."""
    for more in ([], ["--fresh"]):
        assert main(["first.toml", 'start_from="results/first"', *more]) == 2
        said = capsys.readouterr().err
        assert "cannot start from its own folder" in said and "start over" not in said
    np.testing.assert_array_equal(superjax.open("results/first/first.nc")["W"].values, first["W"].values)


@pytest.mark.heavy
def test_a_run_does_not_grow_from_other_models_than_it_started_from(first, capsys):
    assert main(["more.toml", "restarts=2"]) == 0
    before = superjax.open("results/more/more.nc")
    assert main(["first.toml", "--fresh", "seed=7"]) == 0
    assert main(["more.toml", "restarts=3"]) == 2
    assert "has other models now than when this run began" in capsys.readouterr().err
    np.testing.assert_array_equal(superjax.open("results/more/more.nc")["W"].values, before["W"].values)
