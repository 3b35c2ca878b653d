"""The command line: load a sweep, train it, analyse it, draw it.

    python -m superjax.sweep NAME|FILE.toml [KEY=VALUE ...] [--out DIR] [--fresh] [--figures-only] [--strict]
                             [--devices N] [--distributed auto|HOST:PORT,PROCESSES,PROCESS]
    python -m superjax.sweep --all [KEY=VALUE ...] [the same options but --distributed]
    python -m superjax.sweep --list | --version

`--all` runs every packaged sweep, one after the other, and leaves a page of figures and claims in DIR/index.html.

Exit status: 0 done; 2 the input is wrong (said before any training); 1 the run failed; 130 or 143 interrupted.
"""

import argparse
import difflib
import errno
import os
import shlex
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

from superjax import __version__, atlas, interrupt, spec
from superjax.cores import usable_cores
from superjax.files import checksum, write_json
from superjax.spec import Sweep, SweepError
from superjax.spec.errors import clip
from superjax.store import MANIFEST, Run, chunk_folder, environment, timed

_SHOWN = 10  # claims that do not hold, in the summary
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        words = message.replace(":", " ").split()
        unknown = next((word.split("=")[0] for word in words if word.startswith("-") and word not in flags), "")
        near = difflib.get_close_matches(unknown, flags, 1, 0.75)
        hint = f"; did you mean {near[0]}?" if near else ""
        if unknown in ("--resume", "--continue"):
            hint = "; the same command goes on with an unfinished run"
        raise SweepError(f"{message}{hint}\n  see python -m superjax.sweep --help")


def parser() -> argparse.ArgumentParser:
    commands = _Parser(
        prog="python -m superjax.sweep",
        description="Train every toy model of a sweep at once, and draw what superposition does.",
        epilog='KEY=VALUE sets any field of the sweep, as restarts=3, axes.density.points=40, "importance=[1, 0.5]" '
        "or case.n3_m2.train.steps=500; cases=a,b selects cases. With --all it applies to all sweeps, of an axis or "
        "a case to those that have it. See the README for the sweep file.",
        allow_abbrev=False,
    )
    commands.add_argument("sweep", nargs="?", metavar="NAME|FILE.toml", help="a packaged sweep or a sweep file")
    commands.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="change a field of the sweep")
    commands.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: %(default)s")
    commands.add_argument("--fresh", action="store_true", help="start over if the folder holds another run")
    commands.add_argument("--figures-only", action="store_true", help="redraw a finished run, train nothing")
    commands.add_argument("--strict", action="store_true", help="fail if a model diverged")
    commands.add_argument("--devices", type=int, metavar="N", help="how many devices to use (default: all)")
    commands.add_argument(
        "--distributed",
        metavar="auto|HOST:PORT,PROCESSES,PROCESS",
        help="this is one of several processes; auto under Slurm, Open MPI and on TPU pods",
    )
    commands.add_argument("--all", action="store_true", help="run every packaged sweep; DIR/index.html shows them")
    commands.add_argument("--list", action="store_true", help="list the packaged sweeps")
    commands.add_argument("--version", action="version", version=f"superjax {__version__}")
    return commands


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    interrupt.install()
    try:
        return _main(argv)
    except SweepError as error:
        print(f"superjax: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"superjax: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        if error.errno in _FULL:
            print(f"  make room, or lift the limit; what was trained is kept. {_resume(argv)}", file=sys.stderr)
        return 1
    except interrupt.Interrupted as interruption:
        interrupt.caught()
        what = interruption.reason or "interrupted"
        print(f"\nsuperjax: {what}; what was trained is kept. {_resume(argv)}", file=sys.stderr)
        return interruption.status


def _resume(argv: list[str]) -> str:
    return f"Resume with\n  {shlex.join(['python', '-m', 'superjax.sweep', *argv])}"


def _warn(message: str) -> None:
    print(f"superjax: warning: {message}", file=sys.stderr)


def _main(argv: list[str]) -> int:
    arguments = parser().parse_intermixed_args(argv)
    if arguments.list:
        sweeps = spec.available()
        print("\n".join(f"{name:<{max(map(len, sweeps))}}  {title}" for name, title in sweeps.items()))
        return 0
    if arguments.sweep is None and not arguments.all:
        raise SweepError("which sweep? give NAME or FILE.toml, or --all\n  --list shows the packaged ones")
    _check_options(arguments)
    if arguments.all:
        return _run_all(arguments, argv)
    sweep = spec.load(arguments.sweep, *arguments.overrides)
    start = time.perf_counter()
    if arguments.distributed is None:
        return _lead(sweep, arguments, argv, start)
    _import_jax()
    from superjax import hosts

    hosts.join(arguments.distributed)
    interrupt.install()  # again: JAX has put its own handler of SIGTERM in place
    with hosts.together():
        if not hosts.is_first():
            return _help(sweep, arguments, argv)
        try:
            status = _lead(sweep, arguments, argv, start, hosts.tell)
        except SweepError:
            hosts.end(2)
            raise
        hosts.end(status)
        return status


def _lead(sweep: Sweep, arguments: argparse.Namespace, argv: list[str], start: float, tell=lambda plan: None) -> int:
    """The whole run, but for what other processes train, who are told what is to be done or why it cannot be."""
    run = None
    try:
        try:
            run = Run(arguments.out / sweep.name, sweep, arguments.fresh, _warn)
            running = _prepare(sweep, run, arguments)
        except BaseException as error:
            said = str(error) if isinstance(error, SweepError) else "the first process has ended"
            tell({"error": said})
            raise
        _can_be_resumed(argv)
        chunks = {name: case_run.chunks for name, case_run in running.items()}
        tell({"chunks": chunks, "manifest": checksum(run.folder / MANIFEST), **_settings(sweep, run.folder)})
        return _execute(sweep, run, running, arguments, start)
    finally:
        if run is not None:
            run.end()


def _can_be_resumed(argv: list[str]) -> None:
    """From here on the command that resumes is not `--fresh`."""
    argv[:] = [word for word in argv if word != "--fresh"]


def _settings(sweep: Sweep, folder: Path) -> dict[str, str]:
    """What must be the same in all processes."""
    return {
        "settings": sweep.to_toml(),
        "folder": str(folder.resolve()),
        "versions": str(environment()["versions"]),
    }


def _check_options(arguments: argparse.Namespace) -> None:
    _check_devices(arguments.devices)
    if arguments.fresh and arguments.figures_only:
        raise SweepError("--fresh trains anew and --figures-only trains nothing: give one of them")
    if arguments.all and arguments.distributed is not None:
        raise SweepError("--all runs in one process: leave --distributed out, or run the sweeps one by one")


def _run_all(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Every packaged sweep. What can be refused is refused before any is trained; one that fails stops no other."""
    overrides = [word for word in (arguments.sweep, *arguments.overrides) if word is not None]
    if names := [word for word in overrides if "=" not in word]:
        raise SweepError(f"--all runs every packaged sweep: leave {clip(names[0])} out, or --all")
    sweeps = atlas.resolve(overrides)
    _check_studies(sweeps)
    each = {name: argparse.Namespace(**{**vars(arguments), "sweep": name}) for name in sweeps}
    _begin_all(sweeps, each, argv)
    failed: dict[str, str] = {}
    diverged = False
    atlas.write_page(arguments.out, sweeps, failed, overrides)
    for name, sweep in sweeps.items():
        print(f"== {name}", flush=True)
        try:
            diverged |= _lead(sweep, each[name], argv, time.perf_counter()) != 0
        except (SweepError, OSError) as error:
            failed[name] = str(error)
        except Exception as error:  # a bug
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
        if name in failed:
            print(f"superjax: {name} failed: {failed[name]}", file=sys.stderr, flush=True)
        with suppress(OSError):  # if it lasts, the last one is told
            atlas.write_page(arguments.out, sweeps, failed, overrides)
    page = atlas.write_page(arguments.out, sweeps, failed, overrides)
    print(f"{len(sweeps) - len(failed)} of {len(sweeps)} sweeps: {page}")
    if failed:
        print(f"superjax: failed: {', '.join(failed)}; {_resume(argv)}", file=sys.stderr)
    return 1 if failed or diverged else 0


def _check_studies(sweeps: dict[str, Sweep]) -> None:
    """Refuse what a study cannot draw, before anything is compiled."""
    _import_jax()
    from superjax import studies  # after JAX has its devices

    for name, sweep in sweeps.items():
        try:
            studies.check(sweep)
        except SweepError as error:
            raise SweepError(f"{name}: {error}") from error


def _begin_all(sweeps: dict[str, Sweep], arguments: dict[str, argparse.Namespace], argv: list[str]) -> None:
    """Refuse what cannot be done, then make all folders, or clear them for `--fresh`: at once, so that the command
    that resumes need not say it."""
    sizes = {}
    for name, sweep in sweeps.items():
        with _run_of(sweep, arguments[name]) as run:
            sizes[name] = sum(case_run.bytes for case_run in _check(sweep, run, arguments[name]).values())
    for name, sweep in sweeps.items():
        with _run_of(sweep, arguments[name]) as run:
            run.begin(sizes[name])
    for own in arguments.values():
        own.fresh = False
    _can_be_resumed(argv)


@contextmanager
def _run_of(sweep: Sweep, arguments: argparse.Namespace):
    """The run of a sweep, held while it is looked at; what it warns of is said later, by the one that trains."""
    run = Run(arguments.out / sweep.name, sweep, arguments.fresh, lambda message: None)
    try:
        yield run
    finally:
        run.end()


def _check_devices(devices: int | None, there: int | None = None) -> None:
    if devices is not None and devices < 1:
        raise SweepError(f"--devices {devices}: must be at least 1")
    if devices is not None and there is not None and devices > there:
        raise SweepError(f"--devices {devices}: this machine has {there}")


def _import_jax():
    import jax

    # One CPU device per core; it changes nothing where there is an accelerator.
    if jax.config.values["jax_num_cpu_devices"] != usable_cores():  # cannot be set, even to the same, once it is used
        jax.config.update("jax_num_cpu_devices", usable_cores())
    return jax


def _prepare(sweep: Sweep, run: Run, arguments: argparse.Namespace):
    """The cases that are still to be run, by name. Raises SweepError if something cannot be done."""
    running = _check(sweep, run, arguments)
    run.begin(sum(case_run.bytes for case_run in running.values()))
    if running:
        run.note(environment())
    return running


def _check(sweep: Sweep, run: Run, arguments: argparse.Namespace):
    """The same, and nothing is written."""
    missing = {name: why for name in sweep.cases if (why := run.missing(name))}
    if arguments.figures_only and missing:
        what = "; ".join(missing.values())
        raise SweepError(f"{run.folder}: cannot be redrawn, {what}; leave --figures-only out")
    for name, why in missing.items():
        if run.entry(name)["done"]:
            run.warn(f"{run.folder}: {why}; {name} is trained again")
            run.undo(name)
    todo = list(missing)
    jax = _import_jax()
    from superjax import models, studies
    from superjax.modules import beside

    _check_devices(arguments.devices, jax.local_device_count())
    try:
        for name, case in sweep.cases.items():
            try:
                with beside(sweep.path):
                    code = models.code_of(case.model.kind)
            except SweepError:
                if name in todo:
                    raise
            else:
                run.check_code(name, case.model.kind, code)
        studies.check(sweep)
        return _cases(run.folder, sweep, {name: run.entry(name)["chunks"] for name in todo}, arguments.devices)
    except SweepError as error:
        raise SweepError(f"{arguments.sweep}: {error}") from error


def _execute(sweep: Sweep, run: Run, running, arguments: argparse.Namespace, start: float) -> int:
    import jax

    from superjax import hosts, runner, store, studies
    from superjax.dataset import derive, thresholds

    seconds = {"import": time.perf_counter() - start}
    datasets = {}

    def finish(case_run) -> None:
        name, report = case_run.name, case_run.report
        datasets[name] = case_run.finish()
        with report.timed("store"):
            run.store(name, datasets[name])
        run.entry(name).update(asdict(report))
        run.save()

    for case_run in running.values():
        if case_run.report.form == "plain":
            print(runner.plain_message(case_run.name, case_run.report))
        if case_run.report.nodes_because:
            print(runner.nodes_message(case_run.name, case_run.report))
        if share := case_run.trained():
            print(f"{case_run.name}: goes on, {share:.0%} of the training is done")
        case_run.train(True, jax.process_index(), jax.process_count())
        if jax.process_count() == 1:
            finish(case_run)
    for case_run in running.values():
        if case_run.name not in datasets:
            if not case_run.complete():
                print(f"{case_run.name}: waiting for the other processes", flush=True)
            hosts.wait_for_shares(case_run.complete)
            finish(case_run)
    for name, case in sweep.cases.items():
        if name not in datasets:
            stored = store.open_dataset(run.path(name))
            datasets[name] = derive(stored, case)
            if (before := thresholds(stored)) not in (None, case.phases):
                print(f"{name}: phases anew under the thresholds {case.phases}, before {before}")
                run.store(name, datasets[name])
    datasets = {name: datasets[name] for name in sweep.cases}

    results = studies.Results(sweep, datasets, run.manifest)
    with timed(seconds, "claims"):
        claims = studies.claims(results)
        write_json(run.folder / "claims.json", [claim._asdict() for claim in claims])
    with timed(seconds, "draw"):
        figures = studies.draw(results, run.folder)
    seconds["all"] = time.perf_counter() - start
    files = [*figures, run.folder / "claims.json"]
    spent = {"seconds" if running else "redraw_seconds": seconds}
    run.save(files=[file.name for file in files], finished=True, **spent)
    models = sum(dataset["loss"].size for dataset in datasets.values())
    print(f"{sweep.name}: {models:,} models {'trained' if running else 'redrawn'} in {seconds['all']:.1f} s", end="")
    if running and (starts := run.manifest["starts"]) > 1:
        print(f", at start {starts} of a run begun {run.manifest['environment']['date']}", end="")
    print()
    for name, case in sweep.cases.items():
        if case.phases != spec.Phases():
            print(f"  {name}: figures and claims under the thresholds {case.phases}")
    diverged = sum(int((dataset["diverged_at"] >= 0).sum()) for dataset in datasets.values())
    _summarise(claims, files, diverged)
    if arguments.strict and diverged:
        print(f"superjax: --strict: {diverged:,} models diverged", file=sys.stderr)
        return 1
    return 0


def _help(sweep: Sweep, arguments: argparse.Namespace, argv: list[str]) -> int:
    """What a process other than the first does: its share of the training, then it waits for the end."""
    import jax

    from superjax import hosts

    plan, folder = hosts.hear(), arguments.out / sweep.name
    try:
        if "error" in plan:
            raise SweepError(plan["error"])
        _check_same(_settings(sweep, folder), plan)
        if not hosts.sees(folder / MANIFEST, plan["manifest"]):
            raise SweepError(f"{folder}: is not the first process's folder, or not seen from here")
        _check_devices(arguments.devices, jax.local_device_count())
        running = _cases(folder, sweep, plan["chunks"], arguments.devices)
    except SweepError as error:
        hosts.answer(str(error))
        hosts.wait_for_end()
        raise
    hosts.answer("")
    _can_be_resumed(argv)
    for case_run in running.values():
        case_run.train(True, jax.process_index(), jax.process_count())
    hosts.share_done()
    print(f"process {jax.process_index()}: its share is done, the first process goes on", flush=True)
    return hosts.wait_for_end()


def _check_same(here: dict[str, str], plan: dict[str, Any]) -> None:
    """Raises SweepError if this process was started otherwise than the first."""
    lines = []
    for name in (name for name in here if here[name] != plan[name]):
        pairs = zip_longest(here[name].splitlines(), plan[name].splitlines(), fillvalue="nothing")
        ours, theirs = next((one, other) for one, other in pairs if one != other)
        lines.append(f"  {clip(ours, 100)} here, {clip(theirs, 100)} in the first process")
    if lines:
        lines.insert(0, "has other settings than the first process; start all with the same command")
        raise SweepError("\n".join(lines))


def _cases(folder: Path, sweep: Sweep, chunks: dict[str, dict[str, int]], devices: int | None):
    """The cases to be run, by name, with the sizes of their chunks."""
    from superjax.checkpoint import Folder
    from superjax.modules import beside
    from superjax.runner import CaseRun

    def keep(case: str, task: str, key: str) -> Folder:
        return Folder(chunk_folder(folder, case) / task, key, _warn)

    with beside(sweep.path):
        return {
            name: CaseRun(name, sweep.cases[name], devices, partial(keep, name), sizes)
            for name, sizes in chunks.items()
        }


def _summarise(claims, files: list[Path], diverged: int) -> None:
    if diverged:
        print(f"  {diverged:,} of them diverged (diverged_at in the dataset says when)")
    for file in files:
        print(f"  {file}")
    failed = [claim for claim in claims if not claim.holds]
    print(f"  {len(claims) - len(failed)} of {len(claims)} claims hold")
    for claim in failed[:_SHOWN]:
        print(f"    does not hold: {claim.claim}")
    if len(failed) > _SHOWN:
        print(f"    and {len(failed) - _SHOWN} more, see claims.json")


def _exit(status: int) -> NoReturn:
    if "superjax.hosts" in sys.modules:
        from superjax import hosts

        interrupt.uninstall()
        sys.stdout.flush()
        sys.stderr.flush()
        hosts.leave()
        os._exit(status)  # else JAX waits, perhaps in vain, for all processes to end
    sys.exit(status)


if __name__ == "__main__":
    try:
        ended = main()
    except Exception:  # a bug: said here, as other processes must not wait for this one
        traceback.print_exc()
        ended = 1
    _exit(ended)
