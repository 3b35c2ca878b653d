"""What a sweep would cost on this machine: its size by arithmetic, its time by training the first chunk of every case,
and of its stages, for a moment. Nothing is written."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from superjax import studies
from superjax.runs import planning
from superjax.runs.case_run import CaseRun
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
    """What a case would cost: bytes, and seconds by phase; of a stage None if it cannot be tried."""

    name: str
    models: int
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


def costs(sweep: Sweep, shown: str, options: Options) -> Iterator[Cost]:
    """The cost of every case of a sweep that messages call `shown`. Raises SweepError if it cannot be run."""
    try:
        with machine.settled(options.devices, "--devices"):
            planning.codes_of(sweep, sweep.cases, sweep.cases)
            studies.check(sweep)
            for name, case in sweep.cases.items():
                with beside(sweep.path), terminal.doing(f"{name}: trying it out"):
                    start = time.perf_counter()
                    running = CaseRun(name, case, options.devices)
                    yield _cost(running, time.perf_counter() - start)
    except SweepError as error:
        raise SweepError(f"{shown}: {error}") from error


def _cost(running: CaseRun, made: float) -> Cost:
    tried, stages = running.tried(), running.tried_stages()
    compiling = made + tried.compiling + sum(one.compiling for one in stages.values() if one)
    return Cost(
        running.name, running.report.models, running.report.form, running.chunks["train"], tried.chunks,
        running.memory, running.bytes, compiling, tried.training, tried.evaluation,
        {name: one and one.training + one.evaluation for name, one in stages.items()},
    )  # fmt: skip


def lines(sweep: Sweep, found: list[Cost]) -> list[str]:
    """What is printed."""
    models = sum(cost.models for cost in found)
    said = [
        f"{sweep.name}: {models:,} models in {_counted(len(found), 'case')}, all of them, as if the "
        "folder were empty; nothing is trained or written"
    ]
    for cost in found:
        said += [
            f"  {cost.name}: {cost.models:,} models, form {cost.form}, {_counted(cost.chunks, 'chunk')} of "
            f"{cost.chunk:,}; memory {_bytes(cost.memory)}, disk {_bytes(cost.disk)}",
            f"    training {_time(cost.training)}, evaluation {_time(cost.evaluation)}, compiling "
            f"{_time(cost.compiling)}"
            + "".join(f", {name} {'not tried' if took is None else _time(took)}" for name, took in cost.stages.items()),
        ]
    low, typical, high = (
        BESIDES[0] + BESIDES[1] * len(found) + sum(values) for values in np.transpose([cost.seconds for cost in found])
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
