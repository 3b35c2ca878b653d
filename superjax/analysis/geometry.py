"""Solutions recognised by their geometry: which uniform polytopes the features form, and how nearly.

Features interact in groups: the connected components of the graph whose edges are the overlaps Ŵ_i·Ŵ_j. Components
are orthogonal to each other, so the whole is their tegum product (paper, "The Geometry of Superposition"): a square is
two digons, an octahedron three, a triangular bipyramid a triangle and a digon. A component is compared with the
polytopes of as many vertices by what neither rotation nor the order of features changes: the overlaps of every vertex
with the others, and the eigenvalues of all of them.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components

from superjax.analysis.phases import norm

EDGE = 0.1  # an overlap |Ŵ_i·Ŵ_j| from which two features interact
TOLERANCE = 0.1  # a deviation up to which a component counts as a polytope
_GONS = {5: "pentagon", 6: "hexagon", 7: "heptagon", 8: "octagon"}
_SIMPLICES = {1: "single", 2: "digon", 3: "triangle", 4: "tetrahedron"}


class Polytope(NamedTuple):
    """A name and unit vertices (dimension, vertices), all alike."""

    name: str
    vertices: Float[np.ndarray, "dimension vertices"]

    @property
    def dimensionality(self) -> float:
        """D_i of every feature of it: dimensions per vertex."""
        dimension, vertices = self.vertices.shape
        return dimension / vertices


class Component(NamedTuple):
    """Features that interact with each other and with no other, and the polytope that they form.

    `deviation` is the largest difference of an overlap or of an eigenvalue (relative to the polytope's) from that of
    the nearest polytope; `polytope` is None if that exceeds the tolerance.
    """

    features: Int[np.ndarray, " members"]
    polytope: Polytope | None
    deviation: float


@functools.cache
def polytopes(vertices: int) -> tuple[Polytope, ...]:
    """The polytopes with so many vertices that are no tegum product: simplex, polygon, square antiprism."""
    found = [Polytope(_SIMPLICES.get(vertices, f"simplex of {vertices}"), _simplex(vertices))]
    if vertices >= 5:
        found.append(Polytope(_GONS.get(vertices, f"{vertices}-gon"), _polygon(vertices)))
    if vertices == 8:
        found.append(Polytope("square antiprism", _square_antiprism()))
    return tuple(found)


def _simplex(vertices: int) -> Float[np.ndarray, "dimension vertices"]:
    if vertices == 1:
        return np.ones((1, 1))
    gram = (np.eye(vertices) * vertices - 1) / (vertices - 1)
    values, vectors = np.linalg.eigh(gram)
    return (vectors * np.sqrt(np.maximum(values, 0))).T[1:]


def _polygon(vertices: int) -> Float[np.ndarray, "2 vertices"]:
    angle = 2 * math.pi * np.arange(vertices) / vertices
    return np.stack([np.cos(angle), np.sin(angle)])


def _square_antiprism() -> Float[np.ndarray, "3 8"]:
    """Of such a height that all dimensions carry the same (F = WWᵀ is a multiple of 1)."""
    angle = math.pi / 4 * np.arange(8)
    height = np.where(np.arange(8) % 2, -1, 1) * math.sqrt(1 / 3)
    return np.stack([math.sqrt(2 / 3) * np.cos(angle), math.sqrt(2 / 3) * np.sin(angle), height])


def interacting(
    W: Float[np.ndarray, "n_hidden n_features"],
    represented: Bool[np.ndarray, " n_features"],
    edge: float = EDGE,
) -> list[Int[np.ndarray, " members"]]:
    """The groups of represented features that interact, largest first, then by their first feature."""
    features = np.flatnonzero(represented)
    if not len(features):
        return []
    _, owner = connected_components(np.abs(_overlaps(W[:, features])) >= edge, directed=False)
    groups = [features[owner == k] for k in range(owner.max() + 1)]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def recognise(
    W: Float[np.ndarray, "n_hidden n_features"],
    represented: float = 0.5,
    edge: float = EDGE,
    tolerance: float = TOLERANCE,
) -> list[Component]:
    """The components of one model and the polytopes they form. Features below the norm `represented` are left out.

    Example:
        >>> [component.polytope.name for component in recognise(np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]))]
        ['digon', 'single']
    """
    found = []
    for features in interacting(W, norm(W) >= represented, edge):
        overlaps = _overlaps(W[:, features])
        candidates = [(_deviation(overlaps, polytope), polytope) for polytope in polytopes(len(features))]
        deviation, polytope = min(candidates, key=lambda candidate: candidate[0])
        found.append(Component(features, polytope if deviation <= tolerance else None, deviation))
    return found


def solution_name(components: list[Component]) -> str:
    """The tegum product in words, as "2 digons" or "triangle + digon"; "other" if a component is no polytope."""
    if any(component.polytope is None for component in components):
        return "other"
    names = [component.polytope.name for component in components if component.polytope]
    counts = {name: names.count(name) for name in names}  # in order: largest first
    return " + ".join(name if count == 1 else f"{count} {_plural(name)}" for name, count in counts.items()) or "nothing"


def _plural(name: str) -> str:
    return name.replace("simplex", "simplices") if name.startswith("simplex") else f"{name}s"


def _overlaps(W: Float[np.ndarray, "n_hidden members"]) -> Float[np.ndarray, "members members"]:
    units = W / np.linalg.norm(W, axis=0)
    return units.T @ units


def _deviation(overlaps: Float[np.ndarray, "members members"], polytope: Polytope) -> float:
    ideal = _overlaps(polytope.vertices)
    rows = np.abs(np.sort(overlaps, axis=1) - np.sort(ideal, axis=1)).max()
    values = np.abs(np.linalg.eigvalsh(overlaps) - np.linalg.eigvalsh(ideal)).max() * polytope.dimensionality
    return float(max(rows, values))
