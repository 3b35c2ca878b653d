"""Weights as the paper draws them: columns of W as vectors, WᵀW and b as a heat map, norms as bars."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.container import BarContainer
from matplotlib.image import AxesImage

from superjax.plots.maps import BLUE, GREY, VERMILION

INTERFERENCE = LinearSegmentedColormap.from_list("interference", [BLUE, VERMILION])
# Viridis as in the paper, the yellow end darkened: all of it is readable on white.
_IMPORTANCE = LinearSegmentedColormap.from_list("importance", ["#440154", "#35538b", "#1b8578", "#4f9a2f", "#b39100"])


def importance_scale(importance: Float[np.ndarray, " n_features"]) -> ScalarMappable:
    """Colours by importance, from violet (least important) to dark yellow; for a colour bar, and `to_rgba` of every
    feature."""
    low, high = float(np.min(importance)), float(np.max(importance))
    scale = ScalarMappable(Normalize(low, high if high > low else low + 1), _IMPORTANCE)
    scale.set_array(importance)
    return scale


def vectors(
    ax: Axes, W: Float[np.ndarray, "2 n_features"], colours, size: float = 1.4, alpha: float = 1.0, dots: float = 7.0
) -> None:
    """Columns of W in the plane, as lines from the origin that end in a dot (paper, introduction).

    Args:
        colours: one colour, or one a feature.
        size: of the frame, from -size to size.
        dots: their diameter in points.
    """
    _frame(ax, size)
    for k, (x, y) in enumerate(W.T):
        colour = colours if isinstance(colours, str) else colours[k]
        ax.plot([0, x], [0, y], color=colour, linewidth=2 * dots / 7, alpha=alpha, solid_capstyle="round")
        ax.plot([x], [y], "o", color=colour, markersize=dots, alpha=alpha)


def _frame(ax: Axes, size: float) -> None:
    ax.set(xlim=(-size, size), ylim=(-size, size), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    ax.axhline(0, color=GREY, linewidth=0.7, zorder=0)
    ax.axvline(0, color=GREY, linewidth=0.7, zorder=0)


def vectors_3d(ax, W: Float[np.ndarray, "3 n_features"], colours, size: float = 1.2, dots: float = 6.0) -> None:
    """Columns of W in space, in axes with `projection="3d"`, as `vectors` in the plane."""
    for k, (x, y, z) in enumerate(W.T):
        colour = colours if isinstance(colours, str) else colours[k]
        ax.plot([0, x], [0, y], [0, z], color=colour, linewidth=2)
        ax.plot([x], [y], [z], "o", color=colour, markersize=dots)
    limits = (-size, size)
    ax.set(xlim=limits, ylim=limits, zlim=limits, xticks=[-1, 0, 1], yticks=[-1, 0, 1], zticks=[-1, 0, 1])
    ax.set_box_aspect((1, 1, 1))


def gram(ax: Axes, W: Float[np.ndarray, "n_hidden n_features"], b: Float[np.ndarray, " n_features"]) -> AxesImage:
    """WᵀW and, set apart on its right, b, from blue at -1 over white to red at 1 (paper, "Demonstrating
    Superposition")."""
    n = W.shape[-1]
    gap, bar = max(1, round(n / 20)), max(1, round(n / 20))
    picture = np.full((n, n + gap + bar), np.nan)
    picture[:, :n], picture[:, n + gap :] = W.T @ W, b[:, None]
    image = ax.imshow(picture, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set(xticks=[(n - 1) / 2, n + gap + (bar - 1) / 2], xticklabels=["WᵀW", "b"], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def norm_bars(
    ax: Axes, norm: Float[np.ndarray, " n_features"], interference: Float[np.ndarray, " n_features"]
) -> BarContainer:
    """‖W_i‖ of every feature, the first on top, from blue (no interference) to vermilion (1 or more)."""
    colours = INTERFERENCE(np.clip(interference, 0, 1))
    bars = ax.barh(np.arange(len(norm)), norm, color=colours, height=0.9)
    ax.set(ylim=(len(norm) - 0.5, -0.5), xlim=(0, 1.3), yticks=[], xlabel="‖W$_i$‖")
    return bars


def interference_key() -> ScalarMappable:
    """The colours of `norm_bars`, for a colour bar."""
    return ScalarMappable(Normalize(0, 1), INTERFERENCE)
