"""The features of some models as graphs, and the polytopes that they form."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from superjax.analysis.geometry import EDGE, TOLERANCE
from superjax.plots.graphs import feature_graph
from superjax.plots.maps import GREY
from superjax.studies.captions import frame, partly
from superjax.studies.results import Results
from superjax.studies.uniform_geometry.palette import COLOURS
from superjax.studies.uniform_geometry.view import NEAR, SHOWN, Uniform


def feature_graphs(results: Results, shown: list[Uniform]) -> Figure:
    """A row for every case: the represented features of some densities' models, and the polytopes that they form."""
    cells = [list(dict.fromkeys(row.cell(density) for density in SHOWN)) for row in shown]
    columns = max(map(len, cells))
    width = max(2.9 * columns, 12)
    figure = Figure(figsize=(width, 4.4 * len(shown) + 1.6), layout="constrained")
    graphs, key = np.atleast_1d(figure.subfigures(2, 1, height_ratios=[len(shown), 0.07]))
    grid = graphs.subplots(len(shown), columns, squeeze=False)
    for row, axes, chosen in zip(shown, grid, cells, strict=True):
        for ax in axes[len(chosen) :]:
            ax.set_axis_off()
        for ax, cell in zip(axes, chosen, strict=False):
            feature_graph(ax, row.W[cell], row.components[cell], COLOURS)
            density = row.density[cell]
            ax.set_title(
                f"{row.name}\ndensity {density:.3g}\n{row.represented[cell].sum()} features represented",
                fontsize=10,
            )
            ax.set_xlabel("\n".join(_counted(row, cell)), fontsize=9)
    handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=name) for name, colour in COLOURS.items()]
    handles.append(Line2D([], [], marker="o", linestyle="", color=GREY, label="no named polytope"))
    key.legend(handles=handles, loc="center", ncols=len(handles), frameon=False)
    drawn, of = sum(map(len, cells)), sum(len(row.density) for row in shown)
    frame(
        figure, results,
        f"Features of norm ≥ {shown[0].case.phases.represented:g}; lines as wide and dark as the inner "
        "product of two features' weights is large. Features "
        f"whose unit vectors overlap by {EDGE:g} or more are connected. A connected group is called a polytope if all "
        f"its overlaps, with other features too, are within {TOLERANCE:g} of the polytope's, and its Dᵢ within "
        f"{NEAR:.0%}; all others are grey.{partly(drawn, of, 'models')}",
        int(14.5 * width),
    )  # fmt: skip
    return figure


def _counted(shown: Uniform, cell: int) -> list[str]:
    """The kinds of components of a model, in words."""
    members, words = shown.members(cell), []
    for name, count in shown.factors(cell).items():
        if name == "other":
            features, groups = "s" * (members[name] > 1), "s" * (count > 1)
            words.append(f"{members[name]} feature{features} in {count} group{groups}\nwithout a name")
        else:
            words.append(f"{count} x {name}")
    return words
