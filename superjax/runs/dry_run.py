"""What a sweep would cost on this machine: its size by arithmetic, its time by training the first chunk of every case,
and of its stages, for a moment. Nothing is written."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from superjax import studies
from superjax.runs import planning
from superjax.runs.case_run import CaseRun
from superjax.runs.chunks import Tried
from superjax.runs.folder import Run
from superjax.runs.options import Options
from superjax.spec import Sweep, SweepError
from superjax.system import machine, terminal
from superjax.system.modules import beside

# Seconds that a stage takes that cannot be tried, for every second of training, as those of the packaged sweeps took:
# how long they search depends on what they find. Least, typical, most.
STAGES = (1.0, 3.0, 30.0)
# Seconds of what is not measured: imports, claims and figures, of a sweep and of a case.
BESIDES = (8.0, 1.5)


class Cost(NamedTuple):
    """What a case would cost: bytes, and seconds by phase; of a stage None if it cannot be tried.

    `done` is the part of the training that the folder has already. Of the `models`, `taken_over` are from a finished
    run with fewer."""

    name: str
    models: int
    taken_over: int
    done: float
    form: str
    chunk: int
    chunks: int
    memory: int
    disk: int
    compiling: float
    training: float
    evaluation: float
    stages: dict[str, float | None]

    @property
    def seconds(self) -> tuple[float, float, float]:
        """Least, typical and most."""
        measured = [seconds for seconds in self.stages.values() if seconds is not None]
        known = self.compiling + self.training + self.evaluation + sum(measured)
        unknown = (len(self.stages) - len(measured)) * self.training
        return tuple(known + factor * unknown for factor in STAGES)  # type: ignore[return-value]


class Found(NamedTuple):
    """What a sweep would cost in its folder: of every case that is to be run. `drawn` are the cases that are there.
    `refusal` says why the folder does not take the sweep; then the costs are those in an empty one."""

    costs: list[Cost]
    drawn: list[str]
    refusal: str


def found(sweep: Sweep, shown: str, options: Options) -> Found:
    """The cost of a sweep that messages call `shown`. Raises SweepError if it cannot be run in any folder."""
    try:
        with machine.settled(options.devices, "--devices"), _in_folder(sweep, options) as (run, refusal):
            missing = [name for name in sweep.cases if run is None or run.missing(name)]
            codes = planning.codes_of(sweep, sweep.cases, missing)
            studies.check(sweep)
            if run is not None and missing:
                try:
                    run.refuse_other_code(codes)
                except SweepError as error:
                    run, missing, refusal = None, list(sweep.cases), _first_line(error)
            costs = [_cost_in(run, sweep, name, codes, options) for name in missing]
            return Found(costs, [name for name in sweep.cases if name not in missing], refusal)
    except SweepError as error:
        raise SweepError(f"{shown}: {error}") from error


@contextmanager
def _in_folder(sweep: Sweep, options: Options) -> Iterator[tuple[Run | None, str]]:
    """The run that the folder holds, which may be an empty one, or None and why it does not take the sweep."""
    try:
        run = Run(options.out / sweep.name, sweep, warn=terminal.warn)
    except SweepError as error:
        yield None, _first_line(error)
        return
    with run:
        yield run, ""


def _first_line(error: SweepError) -> str:
    return str(error).partition("\n")[0]


def _cost_in(run: Run | None, sweep: Sweep, name: str, codes: Mapping[str, str], options: Options) -> Cost:
    with beside(sweep.path), terminal.doing(f"{name}: trying it out"):
        start = time.perf_counter()
        if run is None:
            running = CaseRun(name, sweep.cases[name], options.devices)
        else:
            running = planning.begun(sweep, [name], run, codes, options.devices)[name]
        return _cost(running, time.perf_counter() - start)


def _cost(running: CaseRun, made: float) -> Cost:
    report, done = running.report, running.trained()
    nothing = report.taken_over == report.models
    tried = Tried(0, 0.0, 0.0, 0.0) if nothing else running.tried()
    stages = {} if nothing else running.tried_stages()
    compiling = made + tried.compiling + sum(one.compiling for one in stages.values() if one)
    return Cost(
        running.name, report.models, report.taken_over, done, report.form, running.chunks["train"], tried.chunks,
        running.memory, running.bytes, compiling, (1 - done) * tried.training, (1 - done) * tried.evaluation,
        {name: one and one.training + one.evaluation for name, one in stages.items()},
    )  # fmt: skip


def lines(sweep: Sweep, found: Found) -> list[str]:
    """What is printed."""
    models = sum(case.n_models for case in sweep.cases.values())
    said = [f"{sweep.name}: {models:,} models in {_counted(len(sweep.cases), 'case')}; nothing is trained or written"]
    if found.refusal:
        said += [f"  {found.refusal}; what follows is what it costs in an empty one"]
    said += [f"  {name}: is there already, only drawn" for name in found.drawn]
    for cost in found.costs:
        there = f", {cost.taken_over:,} of them from the finished run" if cost.taken_over else ""
        there += f", {cost.done:.0%} of the training is done" if cost.done else ""
        said += [
            f"  {cost.name}: {cost.models:,} models{there}, form {cost.form}, {_counted(cost.chunks, 'chunk')} of "
            f"{cost.chunk:,}; memory {_bytes(cost.memory)}, disk {_bytes(cost.disk)}",
            f"    training {_time(cost.training)}, evaluation {_time(cost.evaluation)}, compiling "
            f"{_time(cost.compiling)}"
            + "".join(f", {name} {'not tried' if took is None else _time(took)}" for name, took in cost.stages.items()),
        ]
    low, typical, high = (
        BESIDES[0] + BESIDES[1] * len(sweep.cases) + sum(values)
        for values in np.transpose([(0.0, 0.0, 0.0), *(cost.seconds for cost in found.costs)])
    )
    between = f"; {_time(low)} to {_time(high)}, depending on what is not tried" if _time(high) != _time(low) else ""
    return [*said, f"  about {_time(typical)} in all{between}"]


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


def _bytes(size: int | float) -> str:
    """
    >>> _bytes(12), _bytes(999_600), _bytes(2.5e12)
    ('12 B', '1 MB', '2.5 TB')
    """
    units = ("B", "kB", "MB", "GB", "TB")
    k = min(len(units) - 1, int(np.log10(max(size, 1) * 1.0006) / 3))
    return f"{_short(size / 1000**k)} {units[k]}"


def _time(seconds: int | float) -> str:
    """
    >>> _time(0.2), _time(59.6), _time(125), _time(5985), _time(540_000)
    ('1 s', '60 s', '2.1 min', '100 min', '150 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{_short(seconds / 60)} min" if seconds < 6000 else f"{_short(seconds / 3600)} h"


def _short(number: int | float) -> str:
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}"
