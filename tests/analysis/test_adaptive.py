"""Boundaries of made-up classifications: closed ones, several, of several classes, against the full plane."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superjax.analysis import Lattice, Mesh, refine, trace


def searched(inside, lattice: Lattice, most: int = 10**6) -> tuple[Mesh, list[int]]:
    """The mesh of a classification of places in [0, 1] x [0, 1], and how many points each round asked for."""
    asked = []

    def place(points):
        ends = np.array([lattice.columns - 1, lattice.rows - 1]) * lattice.side
        return points[:, 0], *(points[:, 1:] / ends).T

    def classify(points, beside):
        asked.append(len(points))
        assert len(beside) == len(points) and (beside >= 0).any(1).all()
        return np.asarray(inside(*place(points)), int).reshape(len(points), -1)

    first = np.asarray(inside(*place(lattice.coarse())), int).reshape(len(lattice.coarse()), -1)
    return refine(lattice, first, classify, most), asked


def in_plane(curve, lattice: Lattice) -> np.ndarray:
    return curve.points / [lattice.columns - 1, lattice.rows - 1]


def crossing_edges(labels: np.ndarray) -> set[tuple[float, float]]:
    """The middles of the edges of a full plane whose ends differ."""
    found = set()
    for axis in (0, 1):
        low, high = (np.delete(labels, end, axis) for end in (-1, 0))
        for i, j in np.argwhere(low != high):
            found.add((i + 0.5, float(j)) if axis == 0 else (float(i), j + 0.5))
    return found


def test_circle_is_closed_and_found_to_half_a_square():
    lattice = Lattice(1, 9, 9, 7)
    mesh, asked = searched(lambda _, x, y: np.hypot(x - 0.5, y - 0.5) < 0.4, lattice)
    (circle,) = trace(mesh)
    side = 1 / (8 * lattice.side)
    at = in_plane(circle, lattice)
    assert circle.closed and circle.classes == (0, 1) and (at[0] == at[-1]).all()
    assert np.abs(np.hypot(*(at - 0.5).T) - 0.4).max() <= side / 2 * 1.0001
    steps = np.hypot(*np.diff(at, axis=0).T)
    assert steps.max() <= side * 1.0001  # one unbroken line
    turns = np.unwrap(np.arctan2(*(at - 0.5).T))
    assert abs(turns[-1] - turns[0]) == pytest.approx(2 * np.pi)
    assert len(mesh.points) < 0.02 * (8 * lattice.side + 1) ** 2
    assert sum(asked) + 81 == len(mesh.points) == len(np.unique(mesh.points, axis=0))


def test_several_classes_meet_in_a_point_where_their_curves_end():
    def inside(_, x, y):
        return np.where(x < 0.31, 0, np.where(y < 0.57, 1, 2))

    lattice = Lattice(1, 7, 5, 6)
    mesh, _ = searched(inside, lattice)
    curves = {curve.classes: in_plane(curve, lattice) for curve in trace(mesh)}
    assert set(curves) == {(0, 1), (0, 2), (1, 2)}
    ends = [end for line in curves.values() for end in (line[0], line[-1])]
    shared = [end for end in ends if sum(np.allclose(end, other) for other in ends) == 3]
    assert len(shared) == 3 and np.allclose(shared[0], [0.31, 0.57], atol=1 / (4 * lattice.side))


def test_planes_are_searched_apart():
    lattice = Lattice(3, 5, 5, 5)
    mesh, _ = searched(lambda plane, x, y: x > 0.1 + 0.3 * plane, lattice)
    curves = trace(mesh)
    assert [curve.plane for curve in curves] == [0, 1, 2]
    for curve in curves:
        assert np.allclose(in_plane(curve, lattice)[:, 0], 0.1 + 0.3 * curve.plane, atol=1 / (8 * lattice.side))
        assert not curve.closed and np.ptp(curve.points[:, 1]) == 4


def test_boundary_is_followed_out_of_the_squares_that_showed_it():
    """A tongue that enters one coarse square between its corners is found from where it is wider."""

    def inside(_, x, y):
        return np.abs(y - 0.625) < 0.12 * (1 - x)

    lattice = Lattice(1, 5, 5, 5)
    mesh, _ = searched(inside, lattice)
    assert trace(mesh) == []  # no point of the coarse grid is on it: an island between the points is missed
    mesh, _ = searched(lambda _, x, y: np.abs(y - 0.625) < 0.3 * (1 - x), lattice)
    (tongue,) = trace(mesh)
    assert in_plane(tongue, lattice)[:, 0].max() > 0.9  # where it is narrower than a fifth of a coarse square


def test_two_classes_that_alternate_are_not_lost():
    lattice = Lattice(1, 2, 2, 0)
    for labels in ([0, 1, 1, 0], [1, 0, 0, 1]):
        mesh = refine(lattice, np.array(labels)[:, None], lambda *_: np.zeros((0, 1), int), 100)
        curves = trace(mesh)
        assert len(curves) == 2 and all(len(curve.points) == 2 for curve in curves)


def test_search_ends_at_larger_squares_where_points_are_too_many():
    lattice = Lattice(1, 9, 9, 6)

    def inside(_, x, y):
        return np.sin(40 * x) * np.sin(40 * y) > 0

    whole, _ = searched(inside, lattice)
    mesh, asked = searched(inside, lattice, most=len(whole.points) // 3)
    assert whole.size == 1 and mesh.size > 1
    assert len(mesh.points) == 81 + sum(asked) <= len(whole.points) // 3
    assert trace(mesh)


def test_nothing_differs():
    mesh, asked = searched(lambda _, x, y: 0 * x, Lattice(1, 4, 4, 3))
    assert trace(mesh) == [] and asked == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 3), st.integers(1, 2))
def test_search_finds_what_the_full_plane_has(seed, classes, labelings):
    """Of smooth random classifications: every crossing that is connected to one of the coarse grid, and no other."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(labelings, classes, 3))
    phases = rng.uniform(0, 2 * np.pi, (labelings, classes, 3))
    k = np.array([[1, 2], [2, -1], [3, 1]]) * 2.2

    def inside(_, x, y):
        angle = (k @ np.stack([x, y]))[None, None] + phases[..., None]
        return np.argmax(np.einsum("lcw,lcwp->lcp", waves, np.sin(angle)), axis=1).T

    lattice = Lattice(1, 6, 5, 3)
    mesh, _ = searched(inside, lattice)
    fine = Lattice(1, 5 * 8 + 1, 4 * 8 + 1, 0).coarse()
    full = inside(None, fine[:, 1] / 40, fine[:, 2] / 32).reshape(41, 33, labelings)
    for labeling in range(labelings):
        curves = trace(mesh, labeling)
        found = {
            (a, b) for curve in curves for a, b in (8 * curve.points).tolist() if (a % 1 == 0) != (b % 1 == 0)
        }  # fmt: skip
        every = crossing_edges(full[..., labeling])
        assert found <= every
        missed = every - found
        # what is missed is connected to nothing that was found
        assert not any(abs(a - c) + abs(b - d) <= 0.5 for a, b in missed for c, d in found)
        for curve in curves:
            low, high = (int(v) for v in curve.classes)
            assert low < high < classes
