"""What figures say of how they were made, from the specification of the run."""

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.text import Text

from superjax.plots.canvas import heading, least, literal
from superjax.problem.models.base import notebook_init_std
from superjax.spec import Case
from superjax.studies.claim import signed
from superjax.studies.results import Results

_LETTERS, _PER_INCH, _SPACING = 8.5, 14.5, 1.2  # points of a caption, characters that an inch has room for, line height


def frame(figure: Figure, results: Results, text: str, width: int, size: int | float = 14) -> None:
    """The title of a figure, with the section of the paper, and a caption below: `text` and the number of models.

    `width` is that of a line of the caption in characters, if the figure has room for it. The figure grows by what the
    caption needs in letters that can be read in a page.
    """
    section = f"  ({results.sweep.section})" if results.sweep.section else ""
    heading(figure, f"{results.sweep.title}{section}", size)
    width, letters = min(width, int(_PER_INCH * figure.get_figwidth())), max(_LETTERS, least(figure))
    text = f"{text} {models_in_words(results)}"
    small, caption = (textwrap.wrap(text, int(width * _LETTERS / points)) for points in (_LETTERS, letters))
    figure.supxlabel("\n".join(map(literal, caption)), fontsize=letters, x=0.01, ha="left")
    lines = len(caption) * letters - len(small) * _LETTERS
    figure.set_figheight(figure.get_figheight() + _SPACING * lines / 72)


def minus_signs(figure: Figure) -> None:
    """Give negative numbers in the texts of a figure a minus sign, which matplotlib gives those of axes."""
    for text in figure.findobj(Text):
        if "$" not in text.get_text():
            text.set_text(signed(text.get_text()))


def models_in_words(results: Results) -> str:
    """How many models were trained; not in which time, as the same data must give the same figure."""
    every = (results.every or results.datasets).values()
    models, shown = (sum(data["loss"].size for data in some) for some in (every, results.datasets.values()))
    diverged = sum(int((data["diverged_at"] >= 0).sum()) for data in every)
    words = counted(models, searched(every)) + (f", of which {diverged:,} diverged" if diverged else "")
    return words + (", nothing is drawn where all did." if shown < models else ".")


def searched(datasets: Iterable[xr.Dataset]) -> int:
    """How many models were trained to search boundaries, those of the grid not among them."""
    return sum(int(data["boundary_models"]) - data["loss"].size for data in datasets if "boundary_models" in data)


def counted(models: int, searched: int) -> str:
    """
    >>> counted(5000, 0), counted(192, 13025)
    ('5,000 models', '192 models of the grid and 13,025 of the search')
    """
    return f"{models:,} models" + (f" of the grid and {searched:,} of the search" if searched else "")


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
    """Model, objective, optimiser and initialisation of a case, and every other setting of `train` and `model` that is
    not the default."""
    train, model = case.train, case.model
    streams = f" in {train.streams} streams" if train.streams > 1 else ""
    objective = {
        "exact": "the exact expected loss",
        "quasi": f"the loss of a fixed quasi-random sample of {train.batch}",
        "minibatch": f"the loss of fresh batches of {train.batch}{streams}",
    }[train.objective]
    others = "".join(f", {words}" for words in _others(case))
    bias = "0" if model.init_bias == 0 else f"{model.init_bias:g}"
    return (
        f"{model.kind.replace('_', ' ')}, {train.steps} steps of {train.optimizer} on {objective} (learning rate "
        f"{train.learning_rate:g}, {train.schedule} schedule, weight decay {train.weight_decay:g}"
        f"{others}), initial weights{_IN_EVERY_CELL[train.starts]} normal with standard "
        f"deviation {_initial(case)}, bias {bias}"
    )


_SAID = {
    "train": ("objective", "batch", "streams", "steps", "optimizer", "learning_rate", "schedule", "weight_decay",
              "starts", "snapshots"),
    "model": ("kind", "init_std", "init_bias", "init_instances"),
}  # fmt: skip
_WORDS = {
    "skip_empty": "inputs that are all 0 counted exactly",
    "nodes": "{value} quadrature nodes a feature",
    "evaluation_samples": "stored losses of {value} samples",
    "clip_norm": "gradients clipped to norm {value}",
    "warmup_steps": "{value} steps of warm-up",
    "decayed": "of weights alone",
    ("normalize", "features"): "the loss divided by n",
    ("normalize", "none"): "the loss as it is",
}
_IN_EVERY_CELL = {"common": "", "independent": ", others in every cell,"}


def _others(case: Case) -> list[str]:
    """The settings that the words above leave out and that are not the default."""
    found = []
    for part, said in _SAID.items():
        table = getattr(case, part)
        for name, field in type(table).model_fields.items():
            value = getattr(table, name)
            if name not in said and value != field.get_default(call_default_factory=True):
                shown = f"{value:g}" if isinstance(value, float) else value
                found.append(
                    _WORDS.get((name, value), _WORDS.get(name, "{name} {value}")).format(
                        name=name.replace("_", " "), value=shown
                    )
                )
    return found


def _initial(case: Case) -> str:
    """The standard deviation of the initial weights, or those of an axis."""
    swept = [value for axis in case.axes.values() if axis.names == ("model.init_std",) for (value,) in axis.table()]
    if case.model.init_std != "notebook":
        return " or ".join(f"{value:g}" for value in swept) or f"{case.model.init_std:g}"
    instances = case.model.init_instances
    std = notebook_init_std(case.n_features, case.n_hidden, instances)
    return f"{std:.3g} (the notebook's, of {instances} models at once)"
