"""What a stage is: one thing that a case does with its cells after training.

A stage is asked for by the sweep file. It owns a stem that the names of its variables begin with, their labels, and
what follows from them under the thresholds of the phases. What it trains goes through the chunks of the case, so that
it is kept, resumed and shared as the case's own training is.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, PyTree, Shaped

from superjax.engine.engine import Program
from superjax.engine.train import Cell
from superjax.problem.expectation import Objective
from superjax.problem.problem import Problem
from superjax.runs.checkpoint import Fits, Keep
from superjax.runs.chunks import Training, Tried
from superjax.spec import Case
from superjax.spec.grid import Grid

Variables = dict[str, tuple[tuple[str, ...], Shaped[np.ndarray, "..."]]]


class Trainee(NamedTuple):
    """The trained models of a case, leaves (models, ...): cell of each, and what is minimised of it."""

    models: PyTree
    cell: Int[np.ndarray, " models"]
    loss: Float[np.ndarray, " models"]


class Found(NamedTuple):
    """What a stage has found: variables with their dimensions, and the coordinates of its own."""

    variables: Variables
    coordinates: Mapping[str, Any] = {}


@runtime_checkable
class Running(Protocol):
    """What a stage may use of the case that is under way."""

    name: str
    case: Case
    problem: Problem
    grid: Grid
    cells: Cell
    chunks: dict[str, int]
    program: Program
    devices: int | None
    own: str

    def chunk(
        self, task: str, compiled: Program, objective: Objective, models: int, cells: Cell, *then: Objective
    ) -> int:
        """The size of chunks of a training that minimises an objective, and then others, chosen now if no earlier start
        of the run chose it."""
        ...

    def shares_chunks(self, task: str, other: str, models: int) -> None:
        """A task with so many models at once has chunks of the size of another's, where that spares compiling and these
        are not mostly empty."""
        ...

    def trained_at(self, task: str, grid: Grid) -> Trainee:
        """The restarts of the case at other points, trained as its own are, from the same starts."""
        ...

    def kept(self, task: str, about: list, fits: Fits, *inputs: np.ndarray) -> Keep:
        """Where what is found from the inputs is kept; `about` says all else that decides it and how it is laid out."""
        ...

    def kept_in(self, task: str, training: Training, *inputs: np.ndarray) -> Keep:
        """Where the chunks of a training are kept; `inputs` decide its numbers beside the settings of the case."""
        ...


class Stage(ABC):
    """One stage of a case. It is made before anything is trained: what it cannot do is refused then."""

    name: ClassVar[str]  # in the manifest
    stem: ClassVar[str]
    doing: ClassVar[str]  # in words
    labels: ClassVar[Mapping[str, str]] = {}

    @staticmethod
    @abstractmethod
    def asked(case: Case) -> bool:
        """Whether a case asks for it."""

    @staticmethod
    @abstractmethod
    def check(case: Case, problem: Problem) -> None:
        """Raise SweepError, before anything is compiled, if it cannot be done."""

    @staticmethod
    def numbers(case: Case) -> int:
        """How many numbers of every model it keeps; those of cells alone are few."""
        return 0

    @abstractmethod
    def __init__(self, running: Running): ...

    def tried(self, untrained: Trainee) -> Tried | None:
        """What it would take, from a moment of it with models that are not trained; None if that cannot be told, as it
        depends on what they become."""
        return None

    @abstractmethod
    def run(self, trained: Trainee) -> Found:
        """Do it, once all models are trained."""

    @classmethod
    def labels_of(cls, case: Case) -> Mapping[str, str]:
        """What its variables of a case are, in words, by name."""
        return cls.labels

    @staticmethod
    def derive(dataset: xr.Dataset, case: Case) -> Variables:
        """What follows from its variables in a dataset, under the thresholds of the phases."""
        return {}
