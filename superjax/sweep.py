"""The command line: load a sweep, train it, analyse it, draw it.

    python -m superjax.sweep NAME|FILE.toml [KEY=VALUE ...] [--out DIR] [--fresh] [--figures-only] [--strict]
                             [--devices N] [--distributed auto|HOST:PORT,PROCESSES,PROCESS]
    python -m superjax.sweep --all [KEY=VALUE ...] [the same options but --distributed]
    python -m superjax.sweep NAME|FILE.toml [KEY=VALUE ...] --dry-run [--out DIR] [--devices N]
    python -m superjax.sweep --new FILE.toml
    python -m superjax.sweep --list | --version

`--all` runs every packaged sweep, one after the other, and leaves a page of figures and claims in DIR/index.html.

Exit status: 0 done; 2 the input is wrong (said before any training); 1 the run failed; 129, 130 or 143 interrupted.

What needs JAX is imported where it is used: the list, the help and what is wrong with a command must not wait for it.
"""

import argparse
import difflib
import errno
import os
import shlex
import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from superjax import __version__, spec
from superjax.errors import SweepError, clip
from superjax.runs.options import Options
from superjax.spec import starter, sweep_files
from superjax.system import interrupt, machine, terminal

if TYPE_CHECKING:
    from superjax.runs.one_sweep import Finished

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


def _path(text: str) -> Path:
    """A path of the user's, also where the shell has left a ~ in it."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{clip(text)}: there is no such user; ./~ is a folder called ~") from None


def parser() -> argparse.ArgumentParser:
    commands = _Parser(
        prog="python -m superjax.sweep",
        description="Train every toy model of a sweep at once, and draw what superposition does.",
        epilog='KEY=VALUE sets any field of the sweep, as restarts=3, axes.density.points=40, "importance=[1, 0.5]" '
        "or case.n3_m2.train.steps=500; cases=a,b selects cases. With --all it goes to every sweep where it has an "
        "effect; one of an axis or a case goes to the sweeps that have it. docs/sweep_file.md has all fields.",
        allow_abbrev=False,
    )
    commands.add_argument("sweep", nargs="?", metavar="NAME|FILE.toml", help="a packaged sweep or a sweep file")
    commands.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="change a field of the sweep")
    commands.add_argument("--out", type=_path, default=Path("results"), metavar="DIR", help="default: %(default)s")
    commands.add_argument("--fresh", action="store_true", help="start over if the folder holds another run")
    commands.add_argument("--figures-only", action="store_true", help="redraw a finished run, train nothing")
    commands.add_argument("--dry-run", action="store_true", help="say what it would cost here, train nothing")
    commands.add_argument("--strict", action="store_true", help="exit status 1 if a model diverged")
    commands.add_argument("--devices", type=int, metavar="N", help="use the first N devices (default: all)")
    commands.add_argument(
        "--distributed",
        metavar="auto|HOST:PORT,PROCESSES,PROCESS",
        help="this is one of several processes; auto under Slurm, Open MPI and on TPU pods",
    )
    commands.add_argument("--all", action="store_true", help="run every packaged sweep; DIR/index.html shows them")
    commands.add_argument("--new", type=_path, metavar="FILE.toml", help="write a sweep file to start from")
    commands.add_argument(
        "--list", action="store_true", help="list the packaged sweeps: what each shows, how long it takes"
    )
    commands.add_argument("--version", action="version", version=f"superjax {__version__}")
    return commands


class _Resume:
    """The command that goes on with what a command began: the same one, from `begun` on without `--fresh`."""

    def __init__(self, argv: list[str]):
        self._same, self._without_fresh = _command(argv), _command([word for word in argv if word != "--fresh"])
        self._begun = False

    def begun(self) -> None:
        """The folders are ready, and cleared if they are to be."""
        self._begun = True

    def __str__(self) -> str:
        return f"Resume with\n  {self._without_fresh if self._begun else self._same}"


def _command(argv: list[str]) -> str:
    return shlex.join(["python", "-m", "superjax.sweep", *argv])


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
    resume = _Resume(argv)
    try:
        return _main(argv, resume)
    except SweepError as error:
        terminal.fail(str(error))
        return 2
    except OSError as error:
        reason = f"{error.filename or 'input or output'}: {error.strerror or error}"
        if error.errno in _FULL:
            terminal.fail(f"{reason}\nmake room, or lift the limit; what was trained is kept.", str(resume))
        else:
            terminal.fail(reason)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not machine.is_out_of_memory(error):
            raise
        terminal.fail("there is not enough memory; what was trained is kept.", str(resume))
        return 1
    except interrupt.Interrupted as interruption:
        interrupt.caught()
        terminal.line_ends()
        terminal.fail(f"{interruption.reason or 'interrupted'}; what was trained is kept.", str(resume))
        return interruption.status


def _main(argv: list[str], resume: _Resume) -> int:
    end = argv.index("--") if "--" in argv else len(argv)  # behind it argparse loses what begins with a dash
    try:
        arguments = parser().parse_intermixed_args(argv[:end])
    except SystemExit:  # --help and --version are answered
        return 0
    words = [word for word in (arguments.sweep, *arguments.overrides, *argv[end + 1 :]) if word is not None]
    if arguments.list:
        _list()
        return 0
    if arguments.new is not None:
        if words or arguments.all:
            raise SweepError("--new only writes a file: leave the other words out")
        starter.write(arguments.new)
        terminal.say(f"{arguments.new}: written. Change it, and run it with")
        terminal.say(f"  python -m superjax.sweep {shlex.quote(starter.named(arguments.new))}")
        return 0
    if not words and not arguments.all:
        raise SweepError("which sweep? give NAME or FILE.toml, or --all\n  --list shows the packaged ones")
    options = Options(
        arguments.out, arguments.devices, arguments.fresh, arguments.figures_only, arguments.strict,
        arguments.distributed,
    )  # fmt: skip
    options.check()
    if arguments.dry_run:
        if arguments.all or arguments.distributed is not None or arguments.fresh or arguments.figures_only:
            raise SweepError(
                "--dry-run tries one sweep out and writes nothing: give the sweep, --out and --devices alone"
            )
        return _dry_run(words[0], words[1:], options)
    return _run_all(words, options, resume) if arguments.all else _run(words[0], words[1:], options, resume)


def _list() -> None:
    """The packaged sweeps, as wide as the terminal."""
    width = max(shutil.get_terminal_size().columns, 60)
    for name, (title, about, takes) in sweep_files.described().items():
        terminal.say(f"{name}: {title}" if title else name)
        words = f"{about} ({takes} on 2 cores)" if takes else about
        for line in textwrap.wrap(words, width, initial_indent="    ", subsequent_indent="    "):
            terminal.say(line)


def _run(name: str, overrides: list[str], options: Options, resume: _Resume) -> int:
    """One sweep, by all processes that run it."""
    sweep_files.read(name)  # what is no sweep is said at once
    start = time.perf_counter()
    _import_jax()
    from superjax.runs import one_sweep

    sweep = spec.load(name, *overrides)

    if options.distributed is None:
        return _summarise(one_sweep.run(sweep, name, options, start, resume.begun), options.strict)
    from superjax.runs import hosts, worker

    hosts.join(options.distributed)
    interrupt.install()  # again: JAX has put its own handler of SIGTERM in place
    with hosts.together():
        if not hosts.is_first():
            return worker.work(sweep, options, resume.begun)
        try:
            finished = one_sweep.run(sweep, name, options, start, resume.begun, hosts.tell)
            status = _summarise(finished, options.strict)
        except SweepError:
            hosts.end(2)
            raise
        hosts.end(status)
        return status


def _dry_run(name: str, overrides: list[str], options: Options) -> int:
    """What a sweep would cost."""
    sweep_files.read(name)
    _import_jax()
    from superjax.runs import dry_run

    sweep = spec.load(name, *overrides)
    for line in dry_run.lines(sweep, dry_run.found(sweep, name, options)):
        terminal.say(line)
    return 0


def _run_all(overrides: list[str], options: Options, resume: _Resume) -> int:
    """Every packaged sweep."""
    if options.distributed is not None:
        raise SweepError("--all runs in one process: leave --distributed out, or run the sweeps one by one")
    if names := [word for word in overrides if "=" not in word]:
        raise SweepError(f"--all runs every packaged sweep: leave {clip(names[0])} out, or --all")
    _import_jax()
    from superjax.runs import all_sweeps

    sweeps = all_sweeps.resolve(overrides)
    statuses = []
    failed = all_sweeps.run(
        sweeps, overrides, options, resume.begun, lambda finished: statuses.append(_summarise(finished, options.strict))
    )
    if failed:
        terminal.fail(f"failed: {', '.join(failed)};", str(resume))
    return 1 if failed or any(statuses) else 0


def _import_jax() -> None:
    with terminal.doing("importing JAX"):
        machine.import_jax()


def _summarise(finished: "Finished", strict: bool) -> int:
    """Tell of a finished run; the exit status."""
    from superjax.studies.captions import counted
    from superjax.studies.claim import holding

    sweep, manifest = finished.sweep, finished.manifest
    done = "trained" if finished.trained else "redrawn"
    said = f"{sweep.name}: {counted(finished.models, finished.searched)} {done} in {finished.seconds:.1f} s"
    if finished.trained and (taken := sum(case.get("taken_over", 0) for case in manifest["cases"].values())):
        said += f", {taken:,} of them taken over from an earlier run"
    if finished.trained and (starts := manifest["starts"]) > 1:
        said += f", at start {starts} of a run begun {manifest['environment']['date']}"
    terminal.say(said)
    for name, case in sweep.cases.items():
        if case.phases != spec.Phases():
            terminal.say(f"  {name}: figures and claims under the thresholds {case.phases}")
    if finished.diverged:
        terminal.say(f"  {finished.diverged:,} of them diverged (diverged_at in the dataset says when)")
    for file in finished.files:
        terminal.say(f"  {file}")
    failed = [claim for claim in finished.claims if not claim.holds]
    terminal.say(f"  {holding(((claim.kind, claim.holds) for claim in finished.claims), finished.left_out)}")
    for claim in failed[:_SHOWN]:
        terminal.say(f"    does not hold: {claim.claim}")
    if len(failed) > _SHOWN:
        terminal.say(f"    and {len(failed) - _SHOWN} more, see claims.json")
    for failure in finished.failures:
        terminal.fail(f"{failure}\nthe datasets are whole; the same command with --figures-only tries again")
    if strict and finished.diverged:
        terminal.fail(f"--strict: {finished.diverged:,} models diverged")
        return 1
    return 1 if finished.failures else 0


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
