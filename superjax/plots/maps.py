"""Maps over two axes of a sweep: one flat cell per point, nothing interpolated.

Arrays are (x points, y points), as in the datasets. Colours are from the Okabe-Ito palette, which readers with any
common colour blindness can tell apart.
"""

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, Int, Int8
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, to_rgb
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from superjax.analysis import PHASES

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#f0e442", "#000000")  # kinds of things
GREY, BLUE, VERMILION, BLACK, GREEN = "#d0d0d0", "#0072b2", "#d55e00", "#000000", "#009e73"
PHASE_COLOURS = dict(zip(PHASES, (GREY, BLUE, VERMILION, BLACK), strict=True))
THEORY_LINE = {"color": "black", "linewidth": 1.6}
WHITE = {"color": "white", "path_effects": [withStroke(linewidth=2.8, foreground="black")]}  # seen on any colour
MEASURED_LINE = {**WHITE, "linewidth": 1.6, "linestyle": (0, (3, 2))}


def cell_edges(centres: Float[np.ndarray, " points"], log: bool) -> Float[np.ndarray, " points+1"]:
    """Edges of the cells around sorted points: midway between neighbours, as far beyond the first and last."""
    x = np.log(centres) if log else np.asarray(centres, float)
    if len(x) == 1:
        x = np.array([x[0] - 0.5, x[0] + 0.5])
        return np.exp(x) if log else x
    middle = (x[:-1] + x[1:]) / 2
    edges = np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
    return np.exp(edges) if log else edges


def _mesh(ax: Axes, x, y, colours, **keywords) -> QuadMesh:
    log = ax.get_xscale() == "log", ax.get_yscale() == "log"
    mesh = ax.pcolormesh(cell_edges(x, log[0]), cell_edges(y, log[1]), colours, rasterized=True, **keywords)
    return mesh


def phase_map(
    ax: Axes, x: Float[np.ndarray, " x"], y: Float[np.ndarray, " y"], phase: Int8[np.ndarray, "x y"]
) -> QuadMesh:
    """Cells coloured by phase: not represented grey, dedicated blue, superposed vermilion, diverged black."""
    colours = ListedColormap(list(PHASE_COLOURS.values()))
    return _mesh(ax, x, y, phase.T, cmap=colours, norm=BoundaryNorm(np.arange(-0.5, 4), 4))


def kind_map(
    ax: Axes, x: Float[np.ndarray, " x"], y: Float[np.ndarray, " y"], kind: Int[np.ndarray, "x y"], colours: list[str]
) -> QuadMesh:
    """Cells coloured by kind, a number from 0 on."""
    return _mesh(ax, x, y, kind.T, cmap=ListedColormap(colours), norm=BoundaryNorm(np.arange(len(colours) + 1) - 0.5,
                                                                                   len(colours)))  # fmt: skip


def phase_handles(diverged: bool = False) -> list[Patch]:
    """Legend handles of `phase_map`; diverged only if asked for."""
    shown = list(PHASE_COLOURS.items())[: 4 if diverged else 3]
    return [Patch(color=colour, label=name.replace("_", " ")) for name, colour in shown]


def typical_colours(
    norm: Float[np.ndarray, "..."], interference: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "... rgb"]:
    """The paper's 2-D colouring: grey at norm 0; at norm 1 from blue (no interference) to vermilion (1 or more).

    Black where not finite. Differs from Elhage et al. in the shade of red, which the colour-blind can tell.
    """
    grey, blue, red = (np.array(to_rgb(c)) for c in (GREY, BLUE, VERMILION))
    length = np.clip(np.nan_to_num(norm), 0, 1)[..., None]
    shared = np.clip(np.nan_to_num(interference), 0, 1)[..., None]
    colours = (1 - length) * grey + length * ((1 - shared) * blue + shared * red)
    return np.where(np.isfinite(norm + interference)[..., None], colours, 0.0)


def typical_map(ax: Axes, x, y, norm: Float[np.ndarray, "x y"], interference: Float[np.ndarray, "x y"]) -> QuadMesh:
    """Cells coloured by `typical_colours`."""
    return _mesh(ax, x, y, typical_colours(norm, interference).swapaxes(0, 1))


def typical_key(ax: Axes, size: int = 32) -> None:
    """The 2-D key of `typical_map`."""
    grid = (np.arange(size) + 0.5) / size
    norm, interference = np.meshgrid(grid, grid)
    ax.imshow(typical_colours(norm, interference), origin="lower", extent=(0, 1, 0, 1), aspect="auto")
    ax.set(xlabel="norm ‖W$_i$‖", ylabel="interference", xticks=[0, 0.5, 1], yticks=[0, 1], yticklabels=["0", "≥1"])


def value_map(
    ax: Axes, x, y, values: Float[np.ndarray, "x y"], vmin: float = 0.0, vmax: float = 1.0, cmap: str = "viridis"
) -> QuadMesh:
    """Cells coloured by a number; black where it is not known."""
    colours = matplotlib.colormaps[cmap].with_extremes(bad=BLACK)
    return _mesh(ax, x, y, np.ma.masked_invalid(values.T), cmap=colours, vmin=vmin, vmax=vmax)


def gap_map(ax: Axes, x, y, gap: Float[np.ndarray, "x y"], low: float = 1e-4, high: float = 10.0) -> QuadMesh:
    """Cells coloured by a relative gap on a logarithmic scale; white where no other solution is known."""
    colours = matplotlib.colormaps["cividis"].with_extremes(bad="white")
    return _mesh(ax, x, y, np.ma.masked_invalid(np.clip(gap, low, high).T), cmap=colours, norm=LogNorm(low, high))


def hatch(ax: Axes, x, y, where: Bool[np.ndarray, "x y"], pattern: str = "////", colour: str = "black") -> None:
    """Hatch whole cells."""
    if not where.any():
        return
    log = ax.get_xscale() == "log", ax.get_yscale() == "log"
    # every cell as two points at its own edges, so that contours follow the edges
    columns = np.repeat(cell_edges(x, log[0]), 2)[1:-1]
    rows = np.repeat(cell_edges(y, log[1]), 2)[1:-1]
    cells = np.repeat(np.repeat(where, 2, axis=0), 2, axis=1).T.astype(float)
    filled = ax.contourf(columns, rows, cells, levels=[0.5, 1.5], colors="none", hatches=[pattern])
    filled.set(edgecolor=colour, linewidth=0)
