"""Features as a graph: edges are their overlaps, connected components the factors of a tegum product."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from superjax.analysis import Component
from superjax.plots.maps import GREY

_LEAST = 0.1  # |W_i·W_j| of an edge that is drawn


def feature_graph(
    ax: Axes, W: Float[np.ndarray, "n_hidden n_features"], components: Sequence[Component], colours: Mapping[str, str]
) -> None:
    """Every component of features as a circle of dots, joined by lines as wide and dark as |W_i·W_j| (paper, "Uniform
    Superposition").

    Args:
        components: as `analysis.recognise` gives them, largest first.
        colours: of the polytopes, by name; grey for what is not named or no polytope.
    """
    W = np.asarray(W, float)
    places = np.zeros((W.shape[1], 2))
    for component, centre in zip(components, _shelves([_radius(c) for c in components]), strict=True):
        places[component.features] = centre + _radius(component) * _circle(W[:, component.features])
    segments, strengths = [], []
    for component in components:
        at, overlap = places[component.features], np.abs(W[:, component.features].T @ W[:, component.features])
        i, j = np.nonzero(np.triu(overlap, 1) >= _LEAST)
        segments.append(np.stack([at[i], at[j]], 1))
        crowd = min(1.0, 30 / len(at))  # the lines of a large component would hide each other
        strengths.append(crowd * np.clip(overlap[i, j], 0, 1))
        colour = colours.get(component.polytope.name, GREY) if component.polytope else GREY
        ax.plot(*at.T, "o", color=colour, markersize=5, markeredgecolor="black", markeredgewidth=0.4, zorder=2)
    if components:
        strength = np.concatenate(strengths)
        shades = np.pad(
            np.maximum(strength, 0.1)[:, None], ((0, 0), (3, 0)), constant_values=0.35
        )  # red green blue alpha
        lines = LineCollection(
            list(np.concatenate(segments)), linewidths=np.maximum(2 * strength, 0.3), colors=list(shades), zorder=1
        )
        ax.add_collection(lines)
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.margins(0.05)
    ax.spines[:].set_visible(False)


def _radius(component: Component) -> float:
    """So that neighbours on a circle are alike far apart in all large components."""
    return 0.0 if len(component.features) == 1 else max(0.5, 0.16 * len(component.features))


def _circle(W: np.ndarray) -> Float[np.ndarray, "features 2"]:
    """Places on the unit circle, in the order of the angles in the plane that holds most of the weights."""
    plane = np.linalg.svd(W, full_matrices=False)[0][:, :2]
    angles = np.arctan2(*(np.pad(plane.T @ W, ((0, 2 - plane.shape[1]), (0, 0)))))
    turn = 2 * np.pi * np.argsort(np.argsort(angles)) / W.shape[1] + np.pi / 2
    return np.stack([np.cos(turn), np.sin(turn)], 1)


def _shelves(radii: Sequence[float], gap: float = 0.35) -> list[np.ndarray]:
    """Centres of circles set out in rows, in about a square."""
    widths = 2 * np.array(radii) + 2 * gap
    row_width = max(np.sqrt(np.sum(widths**2)), widths.max(initial=0.0)) * 1.0001
    centres, x, y, height = [], 0.0, 0.0, 0.0
    for width in widths:
        if x + width > row_width:
            x, y, height = 0.0, y - height, 0.0
        centres.append(np.array([x + width / 2, y - width / 2]))
        x, height = x + width, max(height, width)
    return centres
