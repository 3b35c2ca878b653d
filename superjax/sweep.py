"""The command line: load a sweep, train it, analyse it, draw it.

    python -m superjax.sweep NAME|FILE.toml [KEY=VALUE ...] [--out DIR] [--fresh] [--figures-only] [--strict]
                             [--devices N]
    python -m superjax.sweep --list | --version

Exit status: 0 done; 2 the input is wrong (said before any training); 1 the run failed; 130 or 143 interrupted.
"""

import argparse
import difflib
import shlex
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from superjax import __version__, spec
from superjax.cores import usable_cores
from superjax.spec import Sweep, SweepError
from superjax.store import Run, timed


class Interrupted(BaseException):
    """A signal asked the process to stop."""

    def __init__(self, number: int):
        self.status = 128 + number


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        unknown = next((word for word in message.split() if word.startswith("-") and word not in flags), None)
        near = difflib.get_close_matches(unknown.split("=")[0], flags, 1) if unknown else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SweepError(f"{message}{hint}\n  see python -m superjax.sweep --help")


def parser() -> argparse.ArgumentParser:
    commands = _Parser(
        prog="python -m superjax.sweep",
        description="Train every toy model of a sweep at once, and draw what superposition does.",
        epilog='KEY=VALUE sets any field of the sweep, as restarts=3, axes.density.points=40, "importance=[1, 0.5]" '
        "or case.n3_m2.train.steps=500; cases=a,b selects cases. See the README for the sweep file.",
        allow_abbrev=False,
    )
    commands.add_argument("sweep", nargs="?", metavar="NAME|FILE.toml", help="a packaged sweep or a sweep file")
    commands.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="change a field of the sweep")
    commands.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: %(default)s")
    commands.add_argument("--fresh", action="store_true", help="start over if the folder holds another run")
    commands.add_argument("--figures-only", action="store_true", help="redraw a finished run, train nothing")
    commands.add_argument("--strict", action="store_true", help="fail if a model diverged")
    commands.add_argument("--devices", type=int, metavar="N", help="how many devices to use (default: all)")
    commands.add_argument("--list", action="store_true", help="list the packaged sweeps")
    commands.add_argument("--version", action="version", version=f"superjax {__version__}")
    return commands


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as in the background of a shell
            signal.signal(number, _interrupt)
    try:
        return _main(argv)
    except SweepError as error:
        print(f"superjax: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"superjax: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        _interruption_caught()
        status = interruption.status
        again = shlex.join(["python", "-m", "superjax.sweep", *(word for word in argv if word != "--fresh")])
        print(f"\nsuperjax: interrupted; finished cases are kept. Resume with\n  {again}", file=sys.stderr)
        return status


def _interrupt(number, frame) -> NoReturn:
    # Python drops what is raised inside a destructor or the callback of a weak reference: again until it is caught.
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: _interrupt(number, None))
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        sys.unraisablehook = lambda dropped: None
    raise Interrupted(number)


def _interruption_caught() -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def _main(argv: list[str]) -> int:
    arguments = parser().parse_intermixed_args(argv)
    if arguments.list:
        sweeps = spec.available()
        print("\n".join(f"{name:<{max(map(len, sweeps))}}  {title}" for name, title in sweeps.items()))
        return 0
    if arguments.sweep is None:
        raise SweepError("which sweep? give NAME or FILE.toml\n  --list shows the packaged ones")
    sweep = spec.load(arguments.sweep, *arguments.overrides)
    _check_devices(arguments.devices)
    if arguments.fresh and arguments.figures_only:
        raise SweepError("--fresh trains anew and --figures-only trains nothing: give one of them")
    run = Run(arguments.out / sweep.name, sweep, fresh=arguments.fresh)
    todo = [name for name in sweep.cases if not run.is_done(name)]
    if arguments.figures_only and todo:
        missing = ", ".join(todo)
        raise SweepError(f"{run.folder}: nothing to redraw, {missing} has not been run; leave --figures-only out")
    return _execute(sweep, run, todo, arguments)


def _check_devices(devices: int | None) -> None:
    if devices is not None and devices < 1:
        raise SweepError(f"--devices {devices}: must be at least 1")


def _execute(sweep: Sweep, run: Run, todo: list[str], arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    import jax

    # One CPU device per core; it changes nothing where there is an accelerator.
    jax.config.update("jax_num_cpu_devices", usable_cores())
    from superjax import runner, store, studies
    from superjax.dataset import derive, thresholds

    if arguments.devices is not None and arguments.devices > len(jax.devices()):
        raise SweepError(f"--devices {arguments.devices}: this machine has {len(jax.devices())}")
    try:
        studies.check(sweep)
        for name in todo:
            runner.program_of(sweep.cases[name], arguments.devices)
    except SweepError as error:
        raise SweepError(f"{arguments.sweep}: {error}") from error
    run.begin()
    seconds = {"import": time.perf_counter() - start}

    datasets, diverged = {}, 0
    for name, case in sweep.cases.items():
        if name in todo:
            datasets[name], report = runner.run_case(name, case, devices=arguments.devices, progress=True)
            if report.form == "plain":
                print(runner.plain_message(name, report))
            with report.timed("store"):
                run.store(name, datasets[name], **asdict(report))
        else:
            stored = store.open_dataset(run.path(name))
            datasets[name] = derive(stored, case)
            if thresholds(stored) not in (None, case.phases):
                run.store(name, datasets[name], **run.manifest["cases"][name])
        diverged += int((datasets[name]["diverged_at"] >= 0).sum())
    if todo:
        run.save(environment=store.environment())

    results = studies.Results(sweep, datasets, run.manifest)
    with timed(seconds, "claims"):
        claims = studies.claims(results)
        store.write_json(run.folder / "claims.json", [claim._asdict() for claim in claims])
    with timed(seconds, "draw"):
        figures = studies.draw(results, run.folder)
    seconds["all"] = time.perf_counter() - start
    files = [*figures, run.folder / "claims.json"]
    run.save(files=[file.name for file in files], finished=True, **{"seconds" if todo else "redraw_seconds": seconds})
    models = sum(dataset["loss"].size for dataset in datasets.values())
    print(f"{sweep.name}: {models:,} models {'trained' if todo else 'redrawn'} in {seconds['all']:.1f} s")
    _summarise(claims, files, diverged)
    return 1 if arguments.strict and diverged else 0


def _summarise(claims, files: list[Path], diverged: int) -> None:
    if diverged:
        print(f"  {diverged:,} of them diverged (diverged_at in the dataset says when)")
    for file in files:
        print(f"  {file}")
    failed = [claim for claim in claims if not claim.holds]
    print(f"  {len(claims) - len(failed)} of {len(claims)} claims hold")
    for claim in failed:
        print(f"    does not hold: {claim.claim}")


if __name__ == "__main__":
    sys.exit(main())
