"""What a sweep would cost on this machine: its size by arithmetic, its time by training the first chunk of every case,
and of its stages, for a moment. Nothing is written."""

import time
from collections.abc import Callable
from functools import partial
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

    Of the `models`, `taken_over` are from a finished run with fewer; training and evaluation are those of the others.
    The part `done` of these is in the folder already."""

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
        """Least, typical and most that is left."""
        measured = [seconds for seconds in self.stages.values() if seconds is not None]
        known = self.compiling + (1 - self.done) * (self.training + self.evaluation) + sum(measured)
        of_all = self.training * self.models / max(self.models - self.taken_over, 1)  # as stages are of all models
        unknown = (len(self.stages) - len(measured)) * of_all
        return tuple(known + factor * unknown for factor in STAGES)  # type: ignore[return-value]


class Found(NamedTuple):
    """What a sweep would cost: of every case that is to be run.

    Attributes:
        drawn: the cases that the folder has.
        lost: what is wrong with those that it had, by name.
        refusal: why the folder does not take the sweep, "" if it does; else the costs are those in an empty one.
    """

    costs: list[Cost]
    drawn: list[str]
    lost: dict[str, str]
    refusal: str


def found(sweep: Sweep, shown: str, options: Options) -> Found:
    """The cost of a sweep that messages call `shown`. Raises SweepError if it cannot be run in any folder."""
    try:
        with machine.settled(options.devices, "--devices"):
            studies.check(sweep)
            try:
                return _in_folder(sweep, options)
            except SweepError as error:
                refusal = str(error)
            planning.codes_of(sweep, sweep.cases, sweep.cases)
            costs = [_cost(name, sweep, partial(CaseRun, name, sweep.cases[name], options.devices))
                     for name in sweep.cases]  # fmt: skip
            return Found(costs, [], {}, refusal)
    except SweepError as error:
        raise SweepError(f"{shown}: {error}") from error


def _in_folder(sweep: Sweep, options: Options) -> Found:
    """The cost of what the folder has not. Raises SweepError if it does not take the sweep."""
    run = Run(options.out / sweep.name, sweep, warn=terminal.warn)
    run.end()  # nobody has to wait
    missing = {name: why for name in sweep.cases if (why := run.missing(name))}
    codes = planning.codes_of(sweep, sweep.cases, missing)
    if missing:
        run.refuse_other_code(codes)

    def begun(name: str) -> CaseRun:
        return planning.begun(sweep, [name], run, codes, options.devices, look_only=True)[name]

    costs = [_cost(name, sweep, partial(begun, name)) for name in missing]
    lost = {name: why for name, why in missing.items() if run.lost(name)}
    return Found(costs, [name for name in sweep.cases if name not in missing], lost, "")


def _cost(name: str, sweep: Sweep, make: Callable[[], CaseRun]) -> Cost:
    with beside(sweep.path), terminal.doing(f"{name}: trying it out"):
        start = time.perf_counter()
        running = make()
        made, report = time.perf_counter() - start, running.report
        tried = running.tried() if report.taken_over < report.models else Tried(0, 0.0, 0.0, 0.0)
        stages = running.tried_stages()
    compiling = made + tried.compiling + sum(one.compiling for one in stages.values() if one)
    return Cost(
        running.name, report.models, report.taken_over, running.trained(), report.form, running.chunks["train"],
        tried.chunks, running.memory, running.bytes, compiling, tried.training, tried.evaluation,
        {name: one and one.training + one.evaluation for name, one in stages.items()},
    )  # fmt: skip


def lines(sweep: Sweep, found: Found) -> list[str]:
    """What is printed."""
    models = sum(case.n_models for case in sweep.cases.values())
    said = [f"{sweep.name}: {models:,} models in {_counted(len(sweep.cases), 'case')}; nothing is trained or written"]
    if found.refusal:
        said += [f"  the run would be refused: {found.refusal}", "  in an empty folder it would cost:"]
    said += [f"  {name}: {why}, so it is trained again" for name, why in found.lost.items()]
    said += [f"  {name}: has been trained, would only be drawn" for name in found.drawn]
    for cost in found.costs:
        there = f", {cost.taken_over:,} of them from the finished run" if cost.taken_over else ""
        there += f", {_short(100 * cost.done)}% of the training is done" if cost.done else ""
        left = 1 - cost.done
        phases = {"training": left * cost.training, "evaluation": left * cost.evaluation, "compiling": cost.compiling}
        took = [f"{phase} {'not tried' if seconds is None else _time(seconds)}"
                for phase, seconds in {**phases, **cost.stages}.items()]  # fmt: skip
        said += [
            f"  {cost.name}: {cost.models:,} models{there}, form {cost.form}, {_counted(cost.chunks, 'chunk')} of "
            f"{cost.chunk:,}; memory {_bytes(cost.memory)}, disk {_bytes(cost.disk)}",
            f"    {', '.join(took)}",
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
