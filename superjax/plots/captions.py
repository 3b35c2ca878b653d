"""What figures say of how they were made, from the specification of the run."""

import textwrap
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from superjax.spec import Case

if TYPE_CHECKING:
    from superjax.studies import Results


def frame(figure: Figure, results: "Results", text: str, width: int) -> None:
    """The title of a figure, with the section of the paper, and a caption below: `text`, models and time.

    `width` is that of a line of the caption in characters.
    """
    section = f"  ({results.sweep.section})" if results.sweep.section else ""
    figure.suptitle(f"{results.sweep.title}{section}", fontsize=14)
    figure.supxlabel(wrapped(f"{text} {model_time(results)}", width), fontsize=8.5, x=0.01, ha="left")


def wrapped(text: str, width: int) -> str:
    """Text in lines of at most so many characters."""
    return "\n".join(textwrap.wrap(text, width))


def model_time(results: "Results") -> str:
    """How many models were trained, and in which time."""
    models = sum(data["loss"].size for data in results.datasets.values())
    seconds = sum(sum(entry.get("seconds", {}).values()) for entry in results.manifest.get("cases", {}).values())
    return f"{models:,} models in {seconds:.0f} s."


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
        f"normal with standard deviation {_initial(case)}, bias 0"
    )


def _initial(case: Case) -> str:
    """The standard deviation of the initial weights, or those of an axis."""
    swept = [value for axis in case.axes.values() if axis.names == ("model.init_std",) for (value,) in axis.table()]
    return " or ".join(f"{value:g}" for value in swept) or str(case.model.init_std)
