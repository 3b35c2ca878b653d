"""In which form a program runs, and how many models a chunk has: what this device has room for, and what is faster.

On CPU forms and sizes follow from the shape, as was measured. An accelerator tries them.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from superjax.engine import kernel
from superjax.engine.chunk_sizes import LEAST, chunk_size
from superjax.engine.engine import Program
from superjax.engine.train import Cell
from superjax.engine.vectorised import Compiled
from superjax.errors import SweepError
from superjax.problem.expectation import Objective
from superjax.system.machine import usable_memory

_TRIAL_STEPS = 32
_CANNOT_RUN = (jax.errors.JaxRuntimeError, NotImplementedError)  # what a compiler or device says that cannot
PassedOver = Callable[[str, str], object]
_Call = Callable[[Int[np.ndarray, "streams models"]], tuple[Compiled, tuple]]  # for models of given cells


class Choice:
    """The forms of a program and the sizes of its chunks. What was found is kept, so that cases which share a program
    do not try it again."""

    def __init__(self, program: Program):
        self._program = program
        self._fastest: dict[tuple[Objective | int, ...], tuple[kernel.Form, int]] = {}
        self._evaluated: dict[tuple[kernel.Form, int], int] = {}

    def trained_models(self, objective: Objective, models: int, cells: Cell) -> int:
        """Models of one stream in a chunk, where a stream has so many to be trained: fewer if memory is short."""
        return self._trained_chunk(objective, self._program.form(objective), models, cells)[0]

    def fastest(
        self, objectives: Sequence[Objective], models: int, cells: Cell, passed_over: PassedOver
    ) -> tuple[kernel.Form, int]:
        """The form and size of chunks in which a step of a model takes least on this device, by trying them with the
        first of the objectives that are minimised one after the other; the others must run too.

        The forms are compared by their largest chunks, as every size that is tried is compiled; of the faster form
        smaller ones are tried too. A form that does not compile here, or has no room, is passed over, and
        `passed_over` is told of it and why.
        Raises SweepError if no form runs.
        """
        if (known := self._fastest.get((*objectives, models))) is not None:
            return known
        objective, *others = objectives
        found: list[tuple[float, kernel.Form, int]] = []
        for form in self._program.forms(objective):
            try:
                chunk, timed = self._trained_chunk(objective, form, models, cells)
                found.append((timed(chunk), form, chunk))
            except _CANNOT_RUN as error:
                passed_over(form, _first_line(error))
        for took, form, chunk in sorted(found):
            try:
                chunk = self._smaller(objective, form, models, cells, took, chunk)
                for other in others:
                    fits, timed = self._trained_chunk(other, form, models, cells)
                    chunk = min(chunk, fits)
                    timed(chunk)
            except _CANNOT_RUN as error:
                passed_over(form, _first_line(error))
            else:
                for one in objectives:
                    self._program.use("train", one, form)
                self._fastest[*objectives, models] = form, chunk
                return form, chunk
        raise SweepError("this device runs none of the forms of the training step")

    def evaluation_form(self, models: int, cells: Cell, passed_over: PassedOver) -> kernel.Form:
        """The first form in which this device evaluates; others are passed over, as in `fastest`."""
        program = self._program
        if (known := program.chosen("evaluate", program.fine)) is not None:
            return known
        for form in program.forms(program.fine):
            program.use("evaluate", program.fine, form)
            try:
                chunk = self.evaluated_models(models, cells)
                function, arguments = program.evaluation_of(form, cells, self._first_cell(1, chunk))
                jax.block_until_ready(function(*arguments))
            except _CANNOT_RUN as error:
                passed_over(form, _first_line(error))
            else:
                return form
        raise SweepError("this device runs none of the forms of the evaluation")

    def evaluated_models(self, models: int, cells: Cell) -> int:
        """Models of a chunk under evaluation, where so many are evaluated: fewer if memory is short.

        Chunks have one size, as a loss must not depend on the number of others. Those of large models, and of all in
        the plain form of an accelerator, are no larger than there are models."""
        program = self._program
        form = program.form(program.fine, "evaluate")
        if (known := self._evaluated.get((form, models))) is not None:
            return known
        on_trial = jax.default_backend() != "cpu"  # where a program that has no room ends the process
        # fresh inputs are as many as memory has
        largest = program.second if program.shape.problem.data.points else program.fine
        as_many = form == "mapped" or (on_trial and form == "plain")
        n = program.shape.problem.n_features
        chunk = chunk_size(largest, n, form, -(-models // program.mesh.size) if as_many else None)
        call = functools.partial(program.evaluation_of, form, cells)
        self._evaluated[form, models] = self._that_fits(chunk, form, 1, call, on_trial)
        return self._evaluated[form, models]

    def _trained_chunk(
        self, objective: Objective, form: kernel.Form, models: int, cells: Cell, share: int = 1
    ) -> tuple[int, Callable[[int], float]]:
        """The models of a chunk in a form, a part of the most that fit, and what steps of such a chunk take a model."""
        program = self._program
        # Every process should get its share, but in the plain form the size of a chunk changes the last digits.
        devices = program.mesh.size * (1 if form == "plain" else jax.process_count())
        most = chunk_size(objective, program.shape.problem.n_features, form, -(-models // devices))
        chunk = max(LEAST[form], most // share // LEAST[form] * LEAST[form])

        def call(cell: Int[np.ndarray, "streams models"], steps: int = 0) -> tuple[Compiled, tuple]:
            return program.steps_of(objective, form, cells, cell, steps)

        def timed(chunk: int) -> float:
            cell = self._first_cell(program.shape.streams, chunk)
            return _seconds(*call(cell, _TRIAL_STEPS)) / cell.size

        return self._that_fits(chunk, form, program.shape.streams, call, True), timed

    def _smaller(
        self, objective: Objective, form: kernel.Form, models: int, cells: Cell, took: float, chunk: int
    ) -> int:
        """Parts of a chunk are tried as long as they are faster by a twentieth."""
        for share in (4, 16, 64):
            part, timed = self._trained_chunk(objective, form, models, cells, share)
            if part >= chunk or (now := timed(part)) > 0.95 * took:
                break
            took, chunk = now, part
        return chunk

    def _that_fits(self, chunk: int, form: kernel.Form, streams: int, call: _Call, on_trial: bool) -> int:
        """The chunk, or half of it and so on, with which a function has room on a device: by the compiled program's
        own account and, `on_trial`, when it is called."""
        while chunk > LEAST[form] and not self._fits(chunk, streams, call, on_trial):
            chunk = max(LEAST[form], chunk // 2 // LEAST[form] * LEAST[form])
        return chunk

    def _fits(self, chunk: int, streams: int, call: _Call, on_trial: bool) -> bool:
        try:
            function, arguments = call(self._first_cell(streams, chunk))
            memory = function.compiled(*arguments).memory_analysis()
            needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
            if needed > memory_of_a_device(self._program.mesh.devices.flat[0]):
                return False
            if on_trial:
                jax.block_until_ready(function(*arguments))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return False
        return True

    def _first_cell(self, streams: int, chunk: int) -> Int[np.ndarray, "streams models"]:
        """The first cell for every model of a chunk on every device."""
        return np.zeros((streams, chunk * self._program.mesh.size), np.int32)


def choice_of(program: Program) -> Choice:
    """The choice of a program, which lives as long as the program."""
    if program.choice is None:
        program.choice = Choice(program)
    return program.choice


def memory_of_a_device(device: Any) -> int:
    """Bytes that programs on one device may use; devices of a CPU share its memory."""
    statistics = device.memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(0.9 * statistics["bytes_limit"])
    return usable_memory() // (2 * jax.local_device_count())


def _seconds(function: Callable, arguments: tuple) -> float:
    """What a call takes, the faster of two, after one that compiles."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        took.append(time.perf_counter() - start)
    return min(took[1:])


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
