"""Named axes to cells and back; every swept number lands in the right entry of the right cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from superjax.spec import Case
from superjax.spec.grid import HYPER, Grid

sizes = st.lists(st.integers(1, 4), max_size=3)
rests = st.lists(st.integers(1, 3), max_size=2).map(tuple)
FIELDS = ("importance[-1]", "data.density", "train.learning_rate")


def grid_of(axes, **case):
    return Grid(Case.model_validate({"n_features": 3, "n_hidden": 2, **case, "axes": axes}))


def grid_of_sizes(sizes):
    axes = {f"a{k}": {"field": FIELDS[k], "range": [0.1, 0.9], "points": size} for k, size in enumerate(sizes)}
    return grid_of(axes)


@given(sizes=sizes, rest=rests, data=st.data())
def test_round_trip(sizes, rest, data):
    """`unflatten` and `flatten` are inverse, whatever follows the cells; the last axis is the fastest."""
    grid = grid_of_sizes(sizes)
    flat = data.draw(arrays(np.int64, (grid.n_cells, *rest)))
    labelled = grid.unflatten(flat)
    assert labelled.shape == (*sizes, *rest) == (*grid.shape, *rest)
    np.testing.assert_array_equal(grid.flatten(labelled), flat)
    for cell, index in enumerate(np.ndindex(*sizes)):
        np.testing.assert_array_equal(labelled[index], flat[cell])


@given(sizes=sizes)
def test_fields_follow_their_own_axis(sizes):
    """Unflattened, a swept field varies along its dimension only, as the coordinate says."""
    grid = grid_of_sizes(sizes)
    for k, (name, (dim, values)) in enumerate(grid.coordinates.items()):
        assert name == dim == grid.dims[k]
        along = np.moveaxis(grid.unflatten(grid.fields[FIELDS[k]]), k, -1)
        np.testing.assert_array_equal(along, np.broadcast_to(values, along.shape))


ZIPPED = {"fields": ["importance[0]", "data.density[1]", "train.b1"], "values": [[5, 0.3, 0.5], [6, 0.2, 0.6]]}
TABLE = {
    "no axis": ({}, {"importance": {"ratio": 0.5}, "data": {"density": [0.1, 0.2, 0.3]}}),
    "last entry": ({"i": {"field": "importance[-1]", "values": [2, 3]}}, {"importance": [9.0, 8.0, 7.0]}),
    "entry of a profile": ({"i": {"field": "importance[1]", "values": [2, 3]}}, {"importance": {"ratio": 0.5}}),
    "ratio": ({"q": {"field": "importance.ratio", "values": [0.5, 0.25]}}, {"importance": {"ratio": 0.9}}),
    "whole": ({"i": {"field": "importance", "values": [2, 3]}, "d": {"field": "data.density", "values": [0.1, 1]}}, {}),
    "ratio, then entry": (
        {"e": {"field": "importance[2]", "values": [7, 8]}, "q": {"field": "importance.ratio", "values": [0.5, 0.25]}},
        {"importance": {"ratio": 0.9}},
    ),
    "whole, then entry": (
        {"d": {"field": "data.density", "values": [0.1, 0.2]}, "e": {"field": "data.density[1]", "values": [0.7, 0.8]}},
        {},
    ),
    "entry, then whole": (
        {"e": {"field": "data.density[-2]", "values": [0.7, 0.8]}, "d": {"field": "data.density", "values": [0.1]}},
        {},
    ),
    "zipped": ({"z": ZIPPED, "i": {"field": "importance[2]", "values": [2, 3]}}, {}),
    "optimiser": (
        {"r": {"field": "train.learning_rate", "values": [0.1, 0.2]}, "c": {"field": "train.clip_norm", "values": [1]}},
        {},
    ),
    "initial scale": ({"s": {"field": "model.init_std", "values": [0.1, 0.2]}}, {}),
}


def write(tree, path, value, n):
    """Set a swept field in a case's table, as a reader of the sweep file would."""
    name, _, index = path.partition("[")
    parent, _, key = name.rpartition(".")
    for part in parent.split(".") if parent else ():
        tree = tree[part]
    if index:
        old = tree[key]
        if isinstance(old, dict):
            old = [old["ratio"] ** i for i in range(n)]
        entries = list(old) if isinstance(old, list) else [old] * n
        entries[int(index[:-1])] = value
        tree[key] = entries
    else:
        tree[key] = value


@pytest.mark.parametrize("name", TABLE)
def test_numbers_equal_those_of_each_cell_alone(name):
    """Every number of every cell equals that of a case without axes into which the values were written one by one."""
    axes, case = TABLE[name]
    grid = grid_of(axes, **case)
    numbers = grid.numbers()
    tables = [axis.table() for axis in grid.case.axes.values()]
    for cell, index in enumerate(np.ndindex(*grid.shape)):
        tree = grid.case.model_dump(exclude={"axes"})
        swept = [
            (path, float(value))
            for axis, table, k in zip(grid.case.axes.values(), tables, index, strict=True)
            for path, value in zip(axis.names, table[k], strict=True)
        ]
        for path, value in sorted(swept, key=lambda pair: "[" in pair[0]):  # wholes first
            write(tree, path, value, 3)
        alone = Case.model_validate(tree)
        np.testing.assert_allclose(numbers["importance"][cell], alone.importance_vector(), rtol=1e-15)
        np.testing.assert_allclose(numbers["data.density"][cell], alone.density_vector(), rtol=1e-15)
        expected = {name: getattr(alone.train, name) for name in HYPER} | {"model.init_std": alone.model.init_std}
        for number, value in expected.items():
            found = numbers[number][cell] if np.ndim(numbers[number]) else numbers[number]
            assert found == (np.inf if value is None else value), number


def test_only_swept_numbers_are_per_cell():
    numbers = grid_of({"lr": {"field": "train.learning_rate", "values": [0.1, 0.2]}}).numbers()
    assert {name for name in HYPER if np.ndim(numbers[name])} == {"learning_rate"}


def test_zipped_axis_has_one_dimension_and_several_coordinates():
    grid = grid_of({"z": ZIPPED})
    assert grid.dims == ("z",) and grid.shape == (2,)
    assert {name: (dim, list(v)) for name, (dim, v) in grid.coordinates.items()} == {
        "importance_0": ("z", [5, 6]), "density_1": ("z", [0.3, 0.2]), "b1": ("z", [0.5, 0.6]),
    }  # fmt: skip
