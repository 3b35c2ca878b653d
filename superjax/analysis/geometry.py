"""Solutions recognised by their geometry: which uniform polytopes the features form, and how nearly.

Features interact in groups: the connected components of the graph whose edges are the overlaps Ŵ_i·Ŵ_j. Components
are orthogonal to each other, so the whole is their tegum product (paper, "The Geometry of Superposition"): a square is
two digons, an octahedron three, a triangular bipyramid a triangle and a digon. A component is compared with the
polytopes of as many vertices by what neither rotation nor the order of features changes: the overlaps of every vertex
with the others, and the eigenvalues of all of them.

The threshold of an edge may cut through features that all overlap a little. So what is outside counts too: members of a
polytope are nearly orthogonal to every other represented feature, and have its dimensionality among all of them.
"""

import functools
import hashlib
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from superjax.analysis.phases import norm

EDGE = 0.1  # an overlap |Ŵ_i·Ŵ_j| from which two features interact
TOLERANCE = 0.1  # a deviation up to which a component counts as a polytope
MAX_VERTICES = 12  # of a polytope that is looked for
MAX_NAMES = 1000
_AT_ONCE = 2**22  # overlaps held at a time
_LONG = 32  # bytes
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
    """Features joined by overlaps from the edge on, and the polytope that they form, None if they form none.

    `deviation` is how far they are from the nearest polytope, infinite if there is none of so many vertices; `polytope`
    is None if it exceeds the tolerance. It is the largest difference of an overlap Ŵ_i·Ŵ_j between two of them from the
    polytope's; of one with any other represented feature from 0; and (relative) of an eigenvalue of the overlaps or a
    dimensionality from the polytope's: D_i among all represented features, each at norm 1, as norms follow importance.
    """

    features: Int[np.ndarray, " members"]
    polytope: Polytope | None
    deviation: float


@functools.cache
def polytopes(vertices: int) -> tuple[Polytope, ...]:
    """The polytopes with so many vertices that are no tegum product: simplex, polygon, square antiprism; none beyond
    MAX_VERTICES."""
    if vertices > MAX_VERTICES:
        return ()
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


@functools.cache
def possible_names(n_features: int, n_hidden: int) -> tuple[str, ...]:
    """The names that models of a shape can have, "diverged" first; where there are more than MAX_NAMES only those that
    are no product."""
    general = ("diverged", "nothing", "other")
    parts = [polytope for k in range(min(n_features, MAX_VERTICES), 0, -1) for polytope in polytopes(k)]
    products: list[list[Polytope]] = [[]]
    for polytope in parts:
        dimension, vertices = polytope.vertices.shape
        for product in list(products):
            free = n_hidden - sum(part.vertices.shape[0] for part in product)
            left = n_features - sum(part.vertices.shape[1] for part in product)
            more = min(free // dimension, left // vertices)
            products += [product + [polytope] * count for count in range(1, more + 1)]
        if len(products) > MAX_NAMES:
            return general
    return general + tuple(_in_words([part.name for part in product]) for product in products[1:])


class Solutions(NamedTuple):
    """What many models are: the number of a name, and the largest deviation of a component from its polytope.

    The numbers of the names are the same for all models of a shape with up to MAX_NAMES `possible_names`.
    """

    names: list[str]
    number: Int[np.ndarray, "..."]
    deviation: Float[np.ndarray, "..."]


def recognise(
    W: Float[np.ndarray, "n_hidden n_features"],
    represented: float = 0.5,
    edge: float = EDGE,
    tolerance: float = TOLERANCE,
) -> list[Component]:
    """The components of one model, largest first, and the polytopes they form. Features below the norm `represented`
    are left out.

    Example:
        >>> [component.polytope.name for component in recognise(np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]))]
        ['digon', 'single']
    """
    is_represented = norm(W) >= represented
    overlaps = _overlaps(W[None], is_represented[None])
    found = []
    for features in _groups(is_represented, np.abs(overlaps[0]) >= edge):
        (which,), (deviation,) = _nearest(overlaps, features, tolerance)
        found.append(Component(features, _polytope(len(features), which), float(deviation)))
    return found


def solutions(
    W: Float[np.ndarray, "... n_hidden n_features"],
    represented: float = 0.5,
    edge: float = EDGE,
    tolerance: float = TOLERANCE,
) -> Solutions:
    """`recognise` for many models: the name of each as a whole (`solution_name`); "diverged" if W is not finite."""
    shape, n = W.shape[:-2], W.shape[-1]
    models = W.reshape(-1, *W.shape[-2:])
    number, deviation = np.zeros(len(models), np.int32), np.full(len(models), np.nan, np.float32)
    known = possible_names(n, W.shape[-2])
    numbers = {name: k for k, name in enumerate(known)}  # more are added as they are met
    finite = np.flatnonzero(np.isfinite(models).all((-2, -1)))
    size = max(1, _AT_ONCE // n**2)
    for part in (finite[start : start + size] for start in range(0, len(finite), size)):
        some = models[part]
        if n**2 > _AT_ONCE:  # one model: only those that are represented are compared with each other, if need be
            some = some[:, :, norm(some[0]) >= represented]
        if n**2 > _AT_ONCE and some.shape[-1] > MAX_VERTICES * _most_components(some.shape[-2], edge):
            number[part], deviation[part] = numbers["other"], np.inf
        else:
            number[part], deviation[part] = _named(some, numbers, represented, edge, tolerance)
    names = [*known, *sorted(list(numbers)[len(known) :])]
    final = np.array([names.index(name) for name in numbers], np.int32)
    return Solutions(names, final[number].reshape(shape), deviation.reshape(shape))


def _most_components(n_hidden: int, edge: float) -> float:
    """How many components there can be at most: unit vectors whose overlaps are below the edge, by Welch's bound."""
    room = 1 - n_hidden * edge**2
    return n_hidden * (1 - edge**2) / room if room > 0 else math.inf


def _named(
    W: Float[np.ndarray, "models n_hidden n_features"],
    numbers: dict[str, int],
    represented: float,
    edge: float,
    tolerance: float,
) -> tuple[Int[np.ndarray, " models"], Float[np.ndarray, " models"]]:
    """The number of the name (new names get the next) and the deviation of every model, those with the same
    interactions together."""
    is_represented = norm(W) >= represented
    overlaps = _overlaps(W, is_represented)
    edges = np.abs(overlaps) >= edge
    pattern = np.packbits(np.concatenate([is_represented[:, None], edges], axis=1).reshape(len(W), -1), axis=1)
    if pattern.shape[1] > _LONG:  # sorting long rows takes long
        digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=_LONG).digest() for row in pattern)
        pattern = np.frombuffer(digests, np.uint8).reshape(-1, _LONG)
    number, deviation = np.zeros(len(W), np.int32), np.zeros(len(W), np.float32)
    for same in _alike(pattern):
        groups = _groups(is_represented[same[0]], edges[same[0]])
        some = overlaps[same]
        near = [_nearest(some, group, tolerance) for group in groups]
        which = np.array([which for which, _ in near], np.int8).reshape(len(near), len(same)).T
        for equal in _alike(which.view(np.uint8)):
            name = _product([_polytope(len(group), k) for group, k in zip(groups, which[equal[0]], strict=True)])
            number[same[equal]] = numbers.setdefault(name, len(numbers))
        if near:
            deviation[same] = np.max([off for _, off in near], axis=0)
    return number, deviation


def _alike(rows: UInt8[np.ndarray, "rows bytes"]) -> list[Int[np.ndarray, " equal"]]:
    """The numbers of equal rows, for every row that there is."""
    words = np.zeros((len(rows), max(8, -(-rows.shape[1] // 8) * 8)), np.uint8)
    words[:, : rows.shape[1]] = rows
    words = words.view(np.uint64)
    order = np.lexsort(words.T)
    return np.split(order, np.flatnonzero((words[order][1:] != words[order][:-1]).any(1)) + 1)


def _groups(
    represented: Bool[np.ndarray, " n_features"], edges: Bool[np.ndarray, "n_features n_features"]
) -> list[Int[np.ndarray, " members"]]:
    """The connected components of the represented features, largest first, then by their first feature."""
    from scipy.sparse import csgraph, csr_array  # a quarter of a second to import

    _, owner = csgraph.connected_components(csr_array(edges), directed=False)
    groups = [np.flatnonzero((owner == k) & represented) for k in np.unique(owner[represented])]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def ideal(name: str, n_hidden: int, n_features: int) -> Float[np.ndarray, "n_hidden n_features"]:
    """Weights of norm 1 whose first features form the polytopes of a `solution_name`, the others 0.

    Raises ValueError if there is no such solution, or no room for it.
    """
    known = {polytope.name: polytope for k in range(1, MAX_VERTICES + 1) for polytope in polytopes(k)}
    singular = {_plural(one): one for one in known}
    W, row, column = np.zeros((n_hidden, n_features)), 0, 0
    for part in name.split(" + "):
        count, _, rest = part.partition(" ")
        several = count.isdigit() and rest in singular
        polytope = known.get(singular[rest] if several else part)
        if polytope is None:
            raise ValueError(f"no solution is called {part!r}; there are {', '.join(known)}, as in '2 digons + single'")
        for _ in range(int(count) if several else 1):
            dimension, vertices = polytope.vertices.shape
            if row + dimension > n_hidden or column + vertices > n_features:
                raise ValueError(f"{name} has no room in {n_features} features and {n_hidden} dimensions")
            W[row : row + dimension, column : column + vertices] = polytope.vertices
            row, column = row + dimension, column + vertices
    return W


def solution_name(components: list[Component]) -> str:
    """The tegum product in words, as "2 digons" or "triangle + digon"; "other" if a component is no polytope."""
    return _product([component.polytope for component in components])


def _product(found: list[Polytope | None]) -> str:
    names = [polytope.name for polytope in found if polytope]
    return "other" if len(names) < len(found) else _in_words(names) or "nothing"


def _polytope(vertices: int, which: int | np.integer) -> Polytope | None:
    """As `_nearest` numbers them."""
    return polytopes(vertices)[which] if which >= 0 else None


def _in_words(names: list[str]) -> str:
    counts = {name: names.count(name) for name in sorted(names, key=_ORDER.__getitem__)}  # largest first
    return " + ".join(name if count == 1 else f"{count} {_plural(name)}" for name, count in counts.items())


def _plural(name: str) -> str:
    return name.replace("simplex", "simplices") if name.startswith("simplex") else f"{name}s"


def _overlaps(
    W: Float[np.ndarray, "models n_hidden n_features"], which: Bool[np.ndarray, "models n_features"]
) -> Float[np.ndarray, "models n_features n_features"]:
    """Ŵ_i·Ŵ_j of the features chosen, 0 for others."""
    units = W * np.where(which, 1 / np.where(which, norm(W), 1), 0)[:, None, :]
    return np.einsum("khi,khj->kij", units, units)


def _nearest(
    overlaps: Float[np.ndarray, "models n_features n_features"], group: Int[np.ndarray, " members"], tolerance: float
) -> tuple[Int[np.ndarray, " models"], Float[np.ndarray, " models"]]:
    """Which of the polytopes with so many vertices a group of features is nearest to, -1 if to none near enough, and
    how far it is (`Component`)."""
    candidates = polytopes(len(group))
    if not candidates:
        return np.full(len(overlaps), -1), np.full(len(overlaps), np.inf)
    inside = overlaps[:, group[:, None], group]
    with np.errstate(divide="ignore"):  # of models that diverged
        dimensionality = 1 / np.square(overlaps[:, group]).sum(-1)
    rows, values = np.sort(inside, axis=-1), np.linalg.eigvalsh(inside)
    foreign = np.abs(np.delete(overlaps[:, group], group, axis=-1)).max((-2, -1), initial=0.0)
    deviations = []
    for polytope in candidates:
        ideal = polytope.vertices.T @ polytope.vertices
        off = np.abs(rows - np.sort(ideal, axis=-1)).max((-2, -1))
        spread = np.abs(values - np.linalg.eigvalsh(ideal)).max(-1) * polytope.dimensionality
        share = np.abs(dimensionality / polytope.dimensionality - 1).max(-1)
        deviations.append(np.max([off, foreign, spread, share], axis=0))
    deviation = np.min(deviations, axis=0)
    return np.where(deviation <= tolerance, np.argmin(deviations, axis=0), -1), deviation


_ORDER = {polytope.name: (-k, polytope.name) for k in range(1, MAX_VERTICES + 1) for polytope in polytopes(k)}
