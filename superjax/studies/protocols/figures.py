"""The figure of protocols: what each makes of the phase diagram, beside the optimum."""

from matplotlib.figure import Figure

from superjax import analysis, plots
from superjax.plots.canvas import fitted
from superjax.studies.captions import frame, partly, training_in_words
from superjax.studies.diagram import diagrams
from superjax.studies.phase_diagram.figures import MAX_ROWS, any_diverged, outcome_title, set_axes
from superjax.studies.results import Results


def figures(results: Results) -> dict[str, Figure]:
    return {"protocols": protocols(results)}


def protocols(results: Results) -> Figure:
    """A row per case: best of restarts and typical outcome of that protocol, the optimum, and how far they agree."""
    shown = diagrams(results)[:MAX_ROWS]
    figure = Figure(figsize=(16, 3.6 * len(shown) + 1.8), layout="constrained")
    rows = figure.subplots(len(shown) + 1, 4, height_ratios=[*[1] * len(shown), 0.15], squeeze=False)
    fraction = None
    for diagram, axes in zip(shown, rows, strict=False):
        x, y = diagram.importance, diagram.density
        for ax in axes:
            set_axes(ax, diagram)
        protocol = fitted(diagram.name.rpartition("_")[2], 2)
        axes[0].set_ylabel(f"{diagram.title}, {protocol}\n\n{axes[0].get_ylabel()}")
        plots.phase_map(axes[0], x, y, diagram.best("phase")[..., -1])
        plots.typical_map(axes[1], x, y, diagram.extra("typical_norm"), diagram.extra("typical_interference"))
        plots.phase_map(axes[2], x, y, diagram.extra("optimum_phase"))
        fraction = plots.value_map(axes[3], x, y, diagram.data["agreement"].values)
        measured, streams = diagram.boundary(), diagram.stream_boundaries()
        for ax, colour in zip(axes, ("white", "black", "white", "white"), strict=True):
            ax.plot(x, measured, color=colour, linewidth=1, linestyle=(0, (3, 2)))
        if diagram.case.train.streams > 1:
            axes[0].fill_between(x, *analysis.band(streams), color="white", alpha=0.6, linewidth=0)
    titles = (
        "Best of restarts\n(phase of the extra feature)",
        outcome_title(shown[0].case.restarts),
        "Optimum of the exact loss\n(phase of the extra feature)",
        "Restarts with the optimum's phases\n(all features)",
    )
    for ax, title in zip(rows[0], titles, strict=True):
        ax.set_title(title)
    rows[-1, 0].axis("off")
    diverged = any_diverged(shown)
    rows[-1, 0].legend(handles=plots.phase_handles(diverged), loc="center", ncols=2 if diverged else 3, frameon=False,
                       columnspacing=1)  # fmt: skip
    plots.typical_key(rows[-1, 1])
    rows[-1, 2].axis("off")
    rows[-1, 2].text(0.5, 0.5, "dashed: boundary of the optimum\nwhite band: of single restarts, central 80%",
                     ha="center", va="center")  # fmt: skip
    assert fraction is not None  # a sweep has at least one case
    figure.colorbar(fraction, cax=rows[-1, 3], orientation="horizontal").set_label("fraction of restarts")
    text = " ".join(f"{d.name}: {training_in_words(d.case)}." for d in shown)
    frame(figure, results, f"{text}{partly(len(shown), len(results.datasets), 'cases')}", 245)
    return figure
