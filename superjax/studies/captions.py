"""What figures say of how they were made, from the specification of the run."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from superjax.plots.canvas import heading, literal
from superjax.spec import Case
from superjax.studies.results import Results


def frame(figure: Figure, results: Results, text: str, width: int, size: int | float = 14) -> None:
    """The title of a figure, with the section of the paper, and a caption below: `text` and the number of models.

    `width` is that of a line of the caption in characters, if the figure has room for it.
    """
    section = f"  ({results.sweep.section})" if results.sweep.section else ""
    heading(figure, f"{results.sweep.title}{section}", size)
    width = min(width, int(14.5 * figure.get_figwidth()))  # what has room at this size of letters
    caption = textwrap.wrap(f"{text} {models_in_words(results)}", width)
    figure.supxlabel("\n".join(map(literal, caption)), fontsize=8.5, x=0.01, ha="left")


def models_in_words(results: Results) -> str:
    """How many models were trained; not in which time, as the same data must give the same figure."""
    every = (results.every or results.datasets).values()
    models, shown = (sum(data["loss"].size for data in some) for some in (every, results.datasets.values()))
    diverged = sum(int((data["diverged_at"] >= 0).sum()) for data in every)
    words = f"{models:,} models" + (f", of which {diverged:,} diverged" if diverged else "")
    return words + (", nothing is drawn where all did." if shown < models else ".")


def partly(shown: int, of: int, what: str) -> str:
    """A sentence that a figure shows not all of something; nothing if it does."""
    return f" Drawn: {shown} of {of} {what}." if shown < of else ""


def spread(size: int, most: int) -> list[int]:
    """At most so many of `size` things, from the first to the last."""
    return np.unique(np.linspace(0, size - 1, max(1, min(size, most))).round().astype(int)).tolist()


def nearest(values: np.ndarray, wanted: Sequence[float]) -> list[int]:
    """The numbers of the positive values nearest to those wanted, each once."""
    return list(dict.fromkeys(int(np.argmin(np.abs(np.log(values / value)))) for value in wanted))


def training_in_words(case: Case) -> str:
    """Model, objective, optimiser and initialisation of a case."""
    train = case.train
    streams = f" in {train.streams} streams" if train.streams > 1 else ""
    objective = {
        "exact": "the exact expected loss",
        "quasi": f"the loss of a fixed quasi-random sample of {train.batch}",
        "minibatch": f"the loss of fresh batches of {train.batch}{streams}",
    }[train.objective]
    return (
        f"{case.model.kind.replace('_', ' ')}, {train.steps} steps of {train.optimizer} on {objective} (learning rate "
        f"{train.learning_rate:g}, {train.schedule} schedule, weight decay {train.weight_decay:g}), initial weights "
        f"normal with standard deviation {_initial(case)}, bias {case.model.init_bias:g}"
    )


def _initial(case: Case) -> str:
    """The standard deviation of the initial weights, or those of an axis."""
    swept = [value for axis in case.axes.values() if axis.names == ("model.init_std",) for (value,) in axis.table()]
    return " or ".join(f"{value:g}" for value in swept) or str(case.model.init_std)
