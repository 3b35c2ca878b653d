"""The integrals of the reference: expected squared errors of the outputs of a tied toy model, exact, in float64.

How the integral is made exact. The integrand is a polynomial of total degree 2 on either side of the
hyperplane `z = 0`. Integrate one feature after another, the outermost first. Once the `d` features inside
it have been integrated, the integrand of a feature is a continuous piecewise polynomial of degree at most
`2 + d`, which changes form only where the hyperplane passes through a vertex of the cube of those `d`
features. Split [0, 1] at these `2^d` points and Gauss-Legendre with `⌈(3+d)/2⌉` nodes is exact on each
piece. The derivatives of the integrand by `G_ij` and `b_i` have the same degree and jump only
where z = 0, so the same nodes give the exact gradient (the boundary terms cancel because the integrand is
continuous there). Nothing is divided by a coefficient except to place a split, so small and vanishing
coefficients do no harm.

An output needs 4, 24, 360, 9720 nodes for 1, 2, 3, 4 active features.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import combinations, product

import numpy as np

_NODES_AT_ONCE = 2**18  # quadrature nodes evaluated together: a few MB of scratch, within reach of the cache


@cache
def _active_sets(n_features: int, size: int):
    """Index sets of one size (sets, size), and as one-hot rows (sets, size, n_features)."""
    sets = np.array(list(combinations(range(n_features), size)))
    return sets, np.eye(n_features)[sets]


@cache
def _gauss(n_nodes: int):
    """Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    return (nodes + 1) / 2, weights / 2


@cache
def _vertices(dimension: int):
    """Vertices of the unit cube, (2^dimension, dimension)."""
    return np.array(list(product((0.0, 1.0), repeat=dimension))).reshape(2**dimension, dimension)


def _nodes_per_row(size: int, relu: bool) -> int:
    """Quadrature nodes for one integral over `size` active features."""
    per_level = [((2**d + 1) * ((4 + d) // 2) if relu else 2) for d in range(size)]
    return int(np.prod(per_level))


def _split_quadrature(a, b, relu):
    """Nodes `x` (k arrays (rows, nodes)), weights and `z = b + a·x` that integrate over the cube exactly.

    `a` (rows, k) are the coefficients of the active features and `b` (rows,) the bias. Without ReLU there is
    nothing to split.
    """
    rows, k = a.shape
    z, weights, xs = b[:, None], np.ones((rows, 1)), []
    for level in range(k):
        inner = k - level - 1
        slope = a[:, level, None, None]
        if relu:
            corners = z[:, :, None] + (a[:, level + 1 :] @ _vertices(inner).T)[:, None, :]
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                cuts = np.where(slope == 0, 0.0, -corners / slope)
            cuts = np.clip(cuts, 0.0, 1.0)
            if inner:
                cuts.sort(axis=-1)
            edges = np.empty((*cuts.shape[:2], cuts.shape[2] + 2))
            edges[..., 0], edges[..., 1:-1], edges[..., -1] = 0.0, cuts, 1.0
            nodes, node_weights = _gauss((4 + inner) // 2)
        else:
            edges = np.broadcast_to(np.array([0.0, 1.0]), (*z.shape, 2))
            nodes, node_weights = _gauss(2)
        left, width = edges[..., :-1], np.diff(edges, axis=-1)
        x = left[..., None] + width[..., None] * nodes
        per_node = x.shape[2] * x.shape[3]
        weights = (weights[:, :, None, None] * width[..., None] * node_weights).reshape(rows, -1)
        z = (z[:, :, None, None] + slope[..., None] * x).reshape(rows, -1)
        xs = [np.repeat(outer, per_node, axis=1) for outer in xs]
        xs.append(x.reshape(rows, -1))
    return xs, weights, z


def _integrals(G, b, density, relu, gradient):
    """Unweighted losses (models, n), their derivatives by G_ij (models, n, n) and by b_i (models, n)."""
    models, n = b.shape
    level = np.maximum(b, 0.0) if relu else b
    nothing_active = np.prod(1 - density, axis=-1)[:, None]
    loss, d_b, d_G = nothing_active * level**2, 2 * nothing_active * level, np.zeros_like(G)
    for size in range(1, n + 1):
        sets, one_hot = _active_sets(n, size)
        chosen = one_hot.sum(axis=1) > 0
        probability = np.prod(np.where(chosen, density[:, None, :], 1 - density[:, None, :]), axis=-1)
        if not probability.any():
            continue
        a = np.moveaxis(G[:, :, sets], 2, 1)  # (models, sets, outputs, size)
        rows = models * len(sets) * n
        offsets = np.broadcast_to(b[:, None, :], a.shape[:3])
        xs, weights, z = _split_quadrature(a.reshape(rows, size), offsets.reshape(rows), relu)
        nodes = weights.shape[1]
        target = np.zeros((models, len(sets), n, nodes))
        for position, x in enumerate(xs):
            x = x.reshape(target.shape)
            for s, members in enumerate(sets):
                target[:, s, members[position]] = x[:, s, members[position]]
        output = np.maximum(z, 0.0) if relu else z
        residual = target.reshape(rows, nodes) - output
        weighted = weights * residual
        per_set = np.einsum("rp,rp->r", weighted, residual).reshape(models, len(sets), n)
        loss = loss + np.einsum("ms,msi->mi", probability, per_set)
        if gradient:
            slope = weighted * (z > 0) if relu else weighted
            d_offset = slope.sum(axis=1).reshape(models, len(sets), n)
            d_b = d_b - 2 * np.einsum("ms,msi->mi", probability, d_offset)
            d_a = np.stack([np.einsum("rp,rp->r", slope, x) for x in xs], axis=-1)
            d_a = d_a.reshape(models, len(sets), n, size)
            d_G -= 2 * np.einsum("ms,msik,skj->mij", probability, d_a, one_hot)
    return loss, d_G, d_b


def evaluate(W, b, density, relu, gradient):
    """Unweighted losses (models, n) of W (models, n_hidden, n), b and density (models, n), their derivatives by G_ij
    (models, n, n) and by b_i (models, n), 0 without `gradient`: a block of models at a time on every core."""
    models, n = b.shape
    G = np.einsum("mhi,mhj->mij", W, W)
    block = max(1, _NODES_AT_ONCE // (n * _nodes_per_row(n, relu)))

    def part(at: int):
        return _integrals(G[at : at + block], b[at : at + block], density[at : at + block], relu, gradient)

    starts = range(0, max(models, 1), block)
    if len(starts) == 1:
        return part(0)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(part, starts))
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
