"""One sweep in its folder: what is missing is trained, claims are checked, figures drawn, everything recorded."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import xarray as xr

from superjax import explorer, studies
from superjax.disk.files import write_json, write_text
from superjax.errors import clip
from superjax.runs import hosts, runner, worker
from superjax.runs.case_run import CaseRun
from superjax.runs.dataset import derive, thresholds
from superjax.runs.environment import environment
from superjax.runs.folder import Run
from superjax.runs.options import Options
from superjax.runs.planning import Todo, todo
from superjax.runs.reading import CLAIMS, EXPLORER
from superjax.spec import Case, Sweep, SweepError
from superjax.studies.captions import searched
from superjax.studies.left_out import left_out
from superjax.system import machine, terminal
from superjax.system.clock import timed


class Finished(NamedTuple):
    """A finished run of a sweep.

    Attributes:
        manifest: what was recorded, a copy.
        datasets: one per case.
        trained: whether anything was trained, else all is redrawn.
        models: how many models the grids of all cases have.
        searched: how many more were trained to search boundaries.
        diverged: how many models diverged, of `models`.
        left_out: the claims of its study that were not made, in words.
        files: figures and claims.
        failures: what a user's study could not do.
    """

    sweep: Sweep
    manifest: Mapping[str, Any]
    datasets: dict[str, xr.Dataset]
    trained: bool
    models: int
    searched: int
    diverged: int
    seconds: float
    claims: list[studies.Claim]
    left_out: str
    files: list[Path]
    failures: list[str]


def run(
    sweep: Sweep,
    shown: str,
    options: Options,
    start: float,
    begun: Callable[[], object] = lambda: None,
    tell: Callable[[dict[str, Any]], object] = lambda said: None,
    ready: Callable[[Todo], object] = lambda work: None,
) -> Finished:
    """The whole run, but for what other processes train.

    Args:
        shown: what messages call the sweep.
        start: `time.perf_counter()` when the run began, for its record.
        begun: is called once the folder is ready: from here on the command that resumes does not say `--fresh`.
        tell: lets other processes hear what is to be done, or why it cannot be.
        ready: hears what is to be done before it is.
    """
    seconds = {"import": time.perf_counter() - start}
    with ExitStack() as stack:
        try:
            with timed(seconds, "prepare"), terminal.doing(f"{sweep.name}: making ready"):
                stack.enter_context(machine.settled(options.devices, "--devices"))
                own = stack.enter_context(Run(options.out / sweep.name, sweep, options.fresh, terminal.warn))
                work = _prepare(sweep, shown, own, options)
        except BaseException as error:
            said = str(error) if isinstance(error, SweepError) else "the first process has ended"
            tell({"error": said})
            raise
        begun()
        ready(work)
        tell(worker.instructions(sweep, own, work))
        return _execute(sweep, own, work, start, seconds)


def _prepare(sweep: Sweep, shown: str, run: Run, options: Options) -> Todo:
    """What is to be done, once the folder is ready for it. Raises SweepError if it cannot be done."""
    work = todo(sweep, shown, run, options)
    run.begin(work.size, work.entries())
    for name, why in work.lost.items():
        run.warn(f"{run.folder}: {why}; {name} is trained again")
    if work.running:
        run.note(environment())
    return work


def _execute(sweep: Sweep, run: Run, work: Todo, start: float, seconds: dict[str, float]) -> Finished:
    trained = _train(work.running, run)
    datasets = {
        name: trained[name] if name in trained else _stored(name, case, work.stored[name], run)
        for name, case in sweep.cases.items()
    }
    results = studies.Results(sweep, datasets, run.manifest)
    failures: list[str] = []
    with timed(seconds, "claims"), terminal.doing(f"{sweep.name}: checking the claims"):
        claims = studies.claims(results, failures.append)
        write_json(run.folder / CLAIMS, [claim._asdict() for claim in claims])
        missing = left_out(sweep, [claim.claim for claim in claims])
    with timed(seconds, "draw"), terminal.doing(f"{sweep.name}: drawing"):
        figures = studies.draw(results, run.folder, terminal.warn, failures.append)
        figures += _explorer(results, run.folder / EXPLORER)
    seconds["all"] = time.perf_counter() - start
    files = [*figures, run.folder / CLAIMS]
    spent = {"seconds" if trained else "redraw_seconds": seconds}
    run.save(files=[file.name for file in files], claims_left_out=missing, finished=not failures, **spent)
    models = sum(dataset["loss"].size for dataset in datasets.values())
    diverged = sum(int((dataset["diverged_at"] >= 0).sum()) for dataset in datasets.values())
    counted = models, searched(datasets.values()), diverged, seconds["all"]
    return Finished(sweep, run.manifest, datasets, bool(trained), *counted, claims, missing, files, failures)


def _explorer(results: studies.Results, path: Path) -> list[Path]:
    """Write the page to look inside the maps, if there are any. What goes wrong is said: the run is done without it."""
    try:
        page = explorer.page(results)
    except Exception as error:
        terminal.warn(f"{path}: not written, {type(error).__name__}: {clip(str(error))}")
        return []
    if page is None:
        return []
    write_text(path, page)
    return [path]


def _train(running: Mapping[str, CaseRun], run: Run) -> dict[str, xr.Dataset]:
    """The datasets of the cases that are to be run, stored in the folder."""
    datasets: dict[str, xr.Dataset] = {}

    def finish(case_run: CaseRun) -> None:
        name, report = case_run.name, case_run.report
        with terminal.doing(f"{name}: finishing"):
            datasets[name] = case_run.finish()
            with report.timed("store"), terminal.doing(f"{name}: writing {name}.nc"):
                run.store(name, datasets[name])
            run.record(name, asdict(report))

    for case_run in running.values():
        if message := runner.plain_message(case_run.name, case_run.report):
            terminal.say(message)
        if case_run.report.nodes_because:
            terminal.say(runner.nodes_message(case_run.name, case_run.report))
        if taken := case_run.report.taken_over:
            others = case_run.report.models - taken
            terminal.tell(
                f"{case_run.name}: {taken:,} of {case_run.report.models:,} models are taken over from the finished run"
                + (f", {others:,} are trained" if others else "")
            )
        if share := case_run.trained():
            terminal.tell(f"{case_run.name}: goes on, {share:.0%} of the training is done")
        case_run.train(jax.process_index(), jax.process_count())
        if jax.process_count() == 1:
            finish(case_run)
    for case_run in running.values():
        if case_run.name not in datasets:
            if not case_run.complete():
                terminal.say(f"{case_run.name}: waiting for the other processes")
            hosts.wait_for_shares(case_run.complete)
            finish(case_run)
    return datasets


def _stored(name: str, case: Case, stored: xr.Dataset, run: Run) -> xr.Dataset:
    """A dataset that was there, under the thresholds that the case has now; stored again if they are others."""
    dataset = derive(stored, case)
    if (before := thresholds(stored)) != thresholds(dataset):
        terminal.say(f"{name}: phases anew under the thresholds {case.phases}, before {before}")
        run.store(name, dataset)
    return dataset
