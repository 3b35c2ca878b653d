"""Neurons of a privileged basis, as the paper draws them: each a bar of its weights, stacked by feature."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from superjax.plots.maps import BLUE, GREY, VERMILION

_EDGED = 0.02  # of the longest bar: smaller boxes have no edge
_WIDTH = 0.8
KINDS = {"monosemantic": BLUE, "polysemantic": VERMILION, "idle": GREY}  # neurons by how many features they serve


def neuron_kinds(serves: Bool[np.ndarray, "n_hidden n_features"]) -> list[str]:
    """The colours of neurons that serve one feature, several, or none."""
    names = np.array(["idle", "monosemantic", "polysemantic"])[np.minimum(serves.sum(1), 2)]
    return [KINDS[name] for name in names]


def neuron_handles() -> list[Patch]:
    """Legend handles of the colours of `neuron_kinds`."""
    return [Patch(color=colour, label=f"{kind} neuron") for kind, colour in KINDS.items()]


def neuron_bars(
    ax: Axes,
    W: Float[np.ndarray, "n_hidden n_features"],
    colours: Float[np.ndarray, "n_features rgba"],
    kinds: list[str],
    scaled: bool = False,
) -> PolyCollection:
    """A bar for each neuron, its weights stacked by feature, the first at 0: positive ones upwards, negative ones
    downwards (paper, "Superposition in a Privileged Basis").

    Args:
        colours: of the features.
        kinds: a colour for each neuron, drawn as a line under its bar (`neuron_kinds`).
        scaled: divide the weights of every neuron by the largest of them, in size.
    """
    W = np.asarray(W, float)
    if scaled:
        largest = np.abs(W).max(1, keepdims=True, initial=0.0)
        W = W / np.where(largest > 0, largest, 1)
    ends = np.maximum(W, 0).sum(1).max(initial=0.0), np.maximum(-W, 0).sum(1).max(initial=0.0)
    longest = max(*ends, 1e-9)
    boxes, faces, edges = [], [], []
    for k, weights in enumerate(W):
        for sign in (1, -1):
            start = 0.0
            for i in np.flatnonzero(sign * weights > 0):
                low, high = start, start + weights[i]
                left, right = k - _WIDTH / 2, k + _WIDTH / 2
                boxes.append([(left, low), (right, low), (right, high), (left, high)])
                faces.append(colours[i])
                edges.append(0.5 if abs(weights[i]) >= _EDGED * longest else 0.0)
                start = high
    drawn = PolyCollection(boxes, facecolors=faces, edgecolors="white", linewidths=edges)
    ax.add_collection(drawn)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    ax.set(xlim=(-0.6, len(W) - 0.4), xticks=[], ylim=(-1.06 * ends[1] - 0.12 * longest, 1.06 * longest))
    for k, colour in enumerate(kinds):
        ax.plot([k - _WIDTH / 2, k + _WIDTH / 2], [0.02, 0.02], color=colour, linewidth=4, solid_capstyle="butt",
                transform=ax.get_xaxis_transform())  # fmt: skip
    return drawn


def beyond(W: Float[np.ndarray, "..."], size: float) -> str:
    """At which ends of a colour bar from -size to size there are weights that are larger, as matplotlib names them.

    Example:
        >>> beyond(np.array([0.3, -2.0]), 1.0)
        'min'
    """
    low, high = W.min(initial=0.0) < -size, W.max(initial=0.0) > size
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[low, high]


def ends_in_words(W: Float[np.ndarray, "..."], size: float) -> str:
    """A sentence of a caption that colours end before weights do; nothing if they do not.

    Example:
        >>> ends_in_words(np.array([0.3, -2.0]), 1.2)
        ' Colours end at ±1.2; the largest weight is -2.00.'
    """
    if beyond(W, size) == "neither":
        return ""
    largest = W.ravel()[np.abs(W).argmax()]
    return f" Colours end at ±{size:g}; the largest weight is {largest:.2f}."


def neuron_weights(ax: Axes, W: Float[np.ndarray, "n_hidden n_features"], size: float = 1.0) -> AxesImage:
    """W as a heat map from blue at -size over white to red at size: a row for each feature, the first on top, a column
    for each neuron."""
    image = ax.imshow(np.asarray(W).T, cmap="RdBu_r", vmin=-size, vmax=size, interpolation="nearest", aspect="auto")
    ax.set(xticks=[], yticks=[])
    return image
