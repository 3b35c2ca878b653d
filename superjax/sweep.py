"""The command line: load a sweep, train it, analyse it, draw it.

    python -m superjax.sweep NAME|FILE.toml [KEY=VALUE ...] [--out DIR] [--fresh] [--figures-only] [--strict]
                             [--devices N] [--distributed auto|HOST:PORT,PROCESSES,PROCESS]
    python -m superjax.sweep --all [KEY=VALUE ...] [the same options but --distributed]
    python -m superjax.sweep --list | --version

`--all` runs every packaged sweep, one after the other, and leaves a page of figures and claims in DIR/index.html.

Exit status: 0 done; 2 the input is wrong (said before any training); 1 the run failed; 129, 130 or 143 interrupted.
"""

import argparse
import difflib
import errno
import os
import shlex
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from superjax import __version__, spec
from superjax.disk.files import checksum, write_json
from superjax.errors import clip
from superjax.runs import atlas
from superjax.runs.store import MANIFEST, Run, chunk_folder, environment, open_dataset, timed
from superjax.spec import Sweep, SweepError
from superjax.system import interrupt, machine, terminal

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

    def _print_message(self, message: str, file: Any = None) -> None:
        terminal.say(message, end="")


def _folder(text: str) -> Path:
    """The folder of `--out`, also where the shell has left a ~ in it."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{clip(text)}: there is no such user; ./~ is a folder called ~") from None


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
    commands.add_argument("--out", type=_folder, default=Path("results"), metavar="DIR", help="default: %(default)s")
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
    terminal.start()
    with interrupt.installed(), terminal.telling():
        status = _reported(argv)
    if (reason := terminal.lost()) and status == 0:
        terminal.fail(reason)
        return 1
    return status


def _reported(argv: list[str]) -> int:
    """The exit status; what goes wrong is said."""
    try:
        return _main(argv)
    except SweepError as error:
        terminal.fail(str(error))
        return 2
    except OSError as error:
        reason = f"{error.filename or 'input or output'}: {error.strerror or error}"
        if error.errno in _FULL:
            terminal.fail(f"{reason}\nmake room, or lift the limit; what was trained is kept.", _resume(argv))
        else:
            terminal.fail(reason)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not machine.is_out_of_memory(error):
            raise
        terminal.fail("there is not enough memory; what was trained is kept.", _resume(argv))
        return 1
    except interrupt.Interrupted as interruption:
        interrupt.caught()
        terminal.line_ends()
        terminal.fail(f"{interruption.reason or 'interrupted'}; what was trained is kept.", _resume(argv))
        return interruption.status


def _resume(argv: list[str]) -> str:
    return f"Resume with\n  {shlex.join(['python', '-m', 'superjax.sweep', *argv])}"


def _main(argv: list[str]) -> int:
    end = argv.index("--") if "--" in argv else len(argv)  # behind it argparse loses what begins with a dash
    try:
        arguments = parser().parse_intermixed_args(argv[:end])
    except SystemExit:  # --help and --version are answered
        return 0
    words = [word for word in (arguments.sweep, *arguments.overrides, *argv[end + 1 :]) if word is not None]
    arguments.sweep, arguments.overrides = words[0] if words else None, words[1:]
    if arguments.list:
        sweeps = spec.available()
        terminal.say("\n".join(f"{name:<{max(map(len, sweeps))}}  {title}" for name, title in sweeps.items()))
        return 0
    if arguments.sweep is None and not arguments.all:
        raise SweepError("which sweep? give NAME or FILE.toml, or --all\n  --list shows the packaged ones")
    _check_options(arguments)
    if arguments.all:
        return _run_all(arguments, argv)
    sweep = spec.load(arguments.sweep, *arguments.overrides)
    start = time.perf_counter()
    _import_jax()
    if arguments.distributed is None:
        return _lead(sweep, arguments, argv, start)
    from superjax.runs import hosts

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
    run, settled = None, ExitStack()
    try:
        try:
            with terminal.doing(f"{sweep.name}: making ready"):
                settled.enter_context(machine.settled(arguments.devices, "--devices"))
                run = Run(arguments.out / sweep.name, sweep, arguments.fresh, terminal.warn)
                plan = _prepare(sweep, run, arguments)
        except BaseException as error:
            said = str(error) if isinstance(error, SweepError) else "the first process has ended"
            tell({"error": said})
            raise
        _can_be_resumed(argv)
        chunks = {name: case_run.chunks for name, case_run in plan.running.items()}
        same = _settings(sweep, run.folder, chunks)
        tell({"chunks": chunks, "manifest": checksum(run.folder / MANIFEST), **same})
        return _execute(sweep, run, plan, arguments, start)
    finally:
        if run is not None:
            run.end()
        settled.close()


def _can_be_resumed(argv: list[str]) -> None:
    """From here on the command that resumes is not `--fresh`."""
    argv[:] = [word for word in argv if word != "--fresh"]


def _settings(sweep: Sweep, folder: Path, names: Iterable[str]) -> dict[str, str]:
    """What must be the same in all processes that run the cases `names`."""
    return {
        "settings": sweep.to_toml(),
        "folder": str(folder.resolve()),
        "code": "\n".join(f"code of {name} = {code}" for name, code in _codes(sweep, names, names).items()),
        "versions": str(environment()["versions"]),
    }


def _check_options(arguments: argparse.Namespace) -> None:
    machine.check_devices(arguments.devices, None, "--devices")
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
    each = {name: argparse.Namespace(**{**vars(arguments), "sweep": name}) for name in sweeps}
    _import_jax()
    with machine.settled(arguments.devices, "--devices"):
        _check_studies(sweeps)
        _begin_all(sweeps, each, argv)
    failed: dict[str, str] = {}
    diverged = False
    atlas.write_page(arguments.out, sweeps, failed, overrides)
    for name, sweep in sweeps.items():
        terminal.say(f"== {name}")
        try:
            diverged |= _lead(sweep, each[name], argv, time.perf_counter()) != 0
        except (SweepError, OSError) as error:
            failed[name] = str(error)
        except Exception as error:  # a bug
            terminal.bug()
            failed[name] = f"{type(error).__name__}: {error}"
        if name in failed:
            terminal.fail(f"{name} failed: {failed[name]}")
        with suppress(OSError):  # if it lasts, the last one is told
            atlas.write_page(arguments.out, sweeps, failed, overrides)
    page = atlas.write_page(arguments.out, sweeps, failed, overrides)
    terminal.say(f"{len(sweeps) - len(failed)} of {len(sweeps)} sweeps: {page}")
    if failed:
        terminal.fail(f"failed: {', '.join(failed)};", _resume(argv))
    return 1 if failed or diverged else 0


def _check_studies(sweeps: dict[str, Sweep]) -> None:
    """Refuse what a study cannot draw, before anything is compiled."""
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
            sizes[name] = _check(sweep, run, arguments[name]).size
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


def _import_jax():
    with terminal.doing("importing JAX"):
        return machine.import_jax()


def _prepare(sweep: Sweep, run: Run, arguments: argparse.Namespace) -> "_Plan":
    """What is to be done, once the folder is ready for it. Raises SweepError if it cannot be done."""
    plan = _check(sweep, run, arguments)
    run.begin(plan.size, plan.entries())
    for name, why in plan.lost.items():
        run.warn(f"{run.folder}: {why}; {name} is trained again")
    if plan.running:
        run.note(environment())
    return plan


class _Plan(NamedTuple):
    """By name: the cases that are to be run, the digests of their code, what is wrong with those that were done, and
    the datasets of the other cases."""

    running: dict[str, Any]
    codes: dict[str, str]
    lost: dict[str, str]
    stored: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(case_run.bytes for case_run in self.running.values())

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the manifest is to say of them."""
        return {
            name: {"chunks": case_run.chunks, "key": case_run.key, "code": self.codes[name]}
            for name, case_run in self.running.items()
        }


def _check(sweep: Sweep, run: Run, arguments: argparse.Namespace) -> _Plan:
    """What is to be done. Changes nothing. Raises SweepError if it cannot be done."""
    missing = {name: why for name in sweep.cases if (why := run.missing(name))}
    if arguments.figures_only and missing:
        what = "; ".join(missing.values())
        raise SweepError(f"{run.folder}: cannot be redrawn, {what}; leave --figures-only out")
    from superjax import studies

    try:
        codes = _codes(sweep, sweep.cases if missing else (), missing)
        run.refuse_other_code(codes)  # all cases of a run have the same; redrawing needs none
        studies.check(sweep)
        chunks = {name: run.entry(name)["chunks"] for name in missing}
        running = _cases(run.folder, sweep, chunks, codes, arguments.devices)
    except SweepError as error:
        raise SweepError(f"{arguments.sweep}: {error}") from error
    stored = {name: open_dataset(run.path(name), case) for name, case in sweep.cases.items() if name not in missing}
    return _Plan(running, codes, {name: why for name, why in missing.items() if run.entry(name)["done"]}, stored)


def _codes(sweep: Sweep, names: Iterable[str], needed: Iterable[str]) -> dict[str, str]:
    """The digests of the code of cases, by name. Code that is gone is left out unless it is `needed`."""
    from superjax.runs import problems
    from superjax.system.modules import beside

    codes = {}
    for name in names:
        try:
            with beside(sweep.path):
                codes[name] = problems.code_of_case(sweep.cases[name])
        except SweepError:
            if name in needed:
                raise
    return codes


def _execute(sweep: Sweep, run: Run, plan: "_Plan", arguments: argparse.Namespace, start: float) -> int:
    import jax

    from superjax import studies
    from superjax.runs import hosts, runner
    from superjax.runs.dataset import derive, thresholds

    running = plan.running
    seconds = {"import": time.perf_counter() - start}
    datasets = {}

    def finish(case_run) -> None:
        name, report = case_run.name, case_run.report
        with terminal.doing(f"{name}: finishing"):
            datasets[name] = case_run.finish()
            with report.timed("store"), terminal.doing(f"{name}: writing {name}.nc"):
                run.store(name, datasets[name])
            run.record(name, asdict(report))

    for case_run in running.values():
        if case_run.report.form == "plain":
            terminal.say(runner.plain_message(case_run.name, case_run.report))
        if case_run.report.nodes_because:
            terminal.say(runner.nodes_message(case_run.name, case_run.report))
        if share := case_run.trained():
            terminal.say(f"{case_run.name}: goes on, {share:.0%} of the training is done")
        case_run.train(jax.process_index(), jax.process_count())
        if jax.process_count() == 1:
            finish(case_run)
    for case_run in running.values():
        if case_run.name not in datasets:
            if not case_run.complete():
                terminal.say(f"{case_run.name}: waiting for the other processes")
            hosts.wait_for_shares(case_run.complete)
            finish(case_run)
    for name, case in sweep.cases.items():
        if name not in datasets:
            datasets[name] = derive(plan.stored[name], case)
            if (before := thresholds(plan.stored[name])) not in (None, case.phases):
                terminal.say(f"{name}: phases anew under the thresholds {case.phases}, before {before}")
                run.store(name, datasets[name])
    datasets = {name: datasets[name] for name in sweep.cases}

    results = studies.Results(sweep, datasets, run.manifest)
    failures: list[str] = []  # of a user's study
    with timed(seconds, "claims"), terminal.doing(f"{sweep.name}: checking the claims"):
        claims = studies.claims(results, failures.append)
        write_json(run.folder / "claims.json", [claim._asdict() for claim in claims])
    with timed(seconds, "draw"), terminal.doing(f"{sweep.name}: drawing"):
        figures = studies.draw(results, run.folder, terminal.warn, failures.append)
    seconds["all"] = time.perf_counter() - start
    files = [*figures, run.folder / "claims.json"]
    spent = {"seconds" if running else "redraw_seconds": seconds}
    run.save(files=[file.name for file in files], finished=not failures, **spent)
    models = sum(dataset["loss"].size for dataset in datasets.values())
    said = f"{sweep.name}: {models:,} models {'trained' if running else 'redrawn'} in {seconds['all']:.1f} s"
    if running and (starts := run.manifest["starts"]) > 1:
        said += f", at start {starts} of a run begun {run.manifest['environment']['date']}"
    terminal.say(said)
    for name, case in sweep.cases.items():
        if case.phases != spec.Phases():
            terminal.say(f"  {name}: figures and claims under the thresholds {case.phases}")
    diverged = sum(int((dataset["diverged_at"] >= 0).sum()) for dataset in datasets.values())
    _summarise(claims, files, diverged)
    for failure in failures:
        terminal.fail(f"{failure}\nthe datasets are whole; the same command with --figures-only tries again")
    if arguments.strict and diverged:
        terminal.fail(f"--strict: {diverged:,} models diverged")
        return 1
    return 1 if failures else 0


def _help(sweep: Sweep, arguments: argparse.Namespace, argv: list[str]) -> int:
    """What a process other than the first does: its share of the training, then it waits for the end."""
    import jax

    from superjax.runs import hosts

    plan, folder, settled = hosts.hear(), arguments.out / sweep.name, ExitStack()
    try:
        if "error" in plan:
            raise SweepError(plan["error"])
        _check_same(_settings(sweep, folder, plan["chunks"]), plan)
        if not hosts.sees(folder / MANIFEST, plan["manifest"]):
            raise SweepError(f"{folder}: is not the first process's folder, or not seen from here")
        settled.enter_context(machine.settled(arguments.devices, "--devices"))
        codes = _codes(sweep, plan["chunks"], plan["chunks"])
        running = _cases(folder, sweep, plan["chunks"], codes, arguments.devices)
    except SweepError as error:
        settled.close()
        hosts.answer(str(error))
        hosts.wait_for_end()
        raise
    with settled:
        hosts.answer("")
        _can_be_resumed(argv)
        for case_run in running.values():
            case_run.train(jax.process_index(), jax.process_count())
        hosts.share_done()
    terminal.say(f"process {jax.process_index()}: its share is done, the first process goes on")
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


def _cases(folder: Path, sweep: Sweep, chunks: dict[str, dict[str, int]], codes: dict[str, str], devices: int | None):
    """The cases to be run, by name, with the sizes of their chunks."""
    from superjax.runs.case_run import CaseRun, key_of
    from superjax.runs.checkpoint import Folder
    from superjax.system.modules import beside

    def keep(case: str, task: str, key: str) -> Folder:
        own = chunk_folder(folder, case, key_of(sweep.cases[case], codes[case]))
        return Folder(own / f"{task}-{key[:16]}", key, terminal.warn, folder)

    with beside(sweep.path):
        return {
            name: CaseRun(name, sweep.cases[name], devices, partial(keep, name), sizes, code=codes[name])
            for name, sizes in chunks.items()
        }


def _summarise(claims, files: list[Path], diverged: int) -> None:
    if diverged:
        terminal.say(f"  {diverged:,} of them diverged (diverged_at in the dataset says when)")
    for file in files:
        terminal.say(f"  {file}")
    failed = [claim for claim in claims if not claim.holds]
    terminal.say(f"  {len(claims) - len(failed)} of {len(claims)} claims hold")
    for claim in failed[:_SHOWN]:
        terminal.say(f"    does not hold: {claim.claim}")
    if len(failed) > _SHOWN:
        terminal.say(f"    and {len(failed) - _SHOWN} more, see claims.json")


def command() -> NoReturn:
    """The program: the command line, then the end of the process."""
    try:
        ended = main()
    except Exception:  # a bug: said here, as other processes must not wait for this one
        terminal.bug()
        ended = 1
    interrupt.uninstall()
    terminal.end()
    if "superjax.runs.hosts" in sys.modules:
        from superjax.runs import hosts

        hosts.leave()
        os._exit(ended)  # else JAX waits, perhaps in vain, for all processes to end
    sys.exit(ended)


if __name__ == "__main__":
    command()
