"""Numbers of cells in words, and as lists for claims."""

from collections.abc import Iterable

import numpy as np

from superjax.studies.dictionary_learning.view import Dictionaries


def list_of(values: np.ndarray) -> list[float]:
    return [float(value) for value in np.ravel(values)]


def numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def listed(one: Dictionaries, cells: np.ndarray, values: np.ndarray) -> str:
    """Values of some cells by density, those of all correlations together."""
    rows = [(s, values[i][cells[i]]) for i, s in enumerate(one.density) if cells[i].any()]
    return "; ".join(f"{numbers(row)} at {s:g}" for s, row in rows)
