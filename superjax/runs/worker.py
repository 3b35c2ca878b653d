"""What a process other than the first does: its share of the training."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jax

from superjax.disk.files import checksum
from superjax.errors import clip
from superjax.runs import hosts
from superjax.runs.environment import environment
from superjax.runs.folder import Run
from superjax.runs.growth import open_earlier
from superjax.runs.options import Options
from superjax.runs.planning import Todo, case_runs, codes_of
from superjax.runs.reading import MANIFEST
from superjax.spec import Sweep, SweepError
from superjax.system import machine, terminal


def instructions(sweep: Sweep, run: Run, todo: Todo) -> dict[str, Any]:
    """What the first process tells the others: what is to be done, and what must be the same there."""
    chunks = {name: case_run.chunks for name, case_run in todo.running.items()}
    earlier = {name: digest for name in chunks if (digest := run.earlier(name))}
    seen = {MANIFEST: checksum(run.folder / MANIFEST), **{run.path(name).name: earlier[name] for name in earlier}}
    return {"chunks": chunks, "earlier": list(earlier), "files": seen, **_settings(sweep, run.folder, chunks)}


def work(sweep: Sweep, options: Options, begun: Callable[[], object]) -> int:
    """Train what falls to this process, wait for the end, and return the status that the first process ends with.

    `begun` is called once all agree. Raises SweepError if what the first process says cannot be done here.
    """
    said, folder, settled = hosts.hear(), options.out / sweep.name, ExitStack()
    try:
        if "error" in said:
            raise SweepError(said["error"])
        _refuse_differences(_settings(sweep, folder, said["chunks"]), said)
        if not all(hosts.sees(folder / file, digest) for file, digest in said["files"].items()):
            raise SweepError(f"{folder}: is not the first process's folder, or not seen from here")
        settled.enter_context(machine.settled(options.devices, "--devices"))
        codes = codes_of(sweep, said["chunks"], said["chunks"])
        earlier = {name: open_earlier(folder / f"{name}.nc") for name in said["earlier"]}
        running = case_runs(folder, sweep, said["chunks"], codes, options.devices, earlier)
    except SweepError as error:
        settled.close()
        hosts.answer(str(error))
        hosts.wait_for_end()
        raise
    with settled:
        hosts.answer("")
        begun()
        for case_run in running.values():
            case_run.train(jax.process_index(), jax.process_count())
        hosts.share_done()
    terminal.say(f"process {jax.process_index()}: its share is done, the first process goes on")
    return hosts.wait_for_end()


def _settings(sweep: Sweep, folder: Path, names: Iterable[str]) -> dict[str, str]:
    """What must be the same in all processes that run the cases `names`."""
    return {
        "settings": sweep.to_toml(),
        "folder": str(folder.resolve()),
        "code": "\n".join(f"code of {name} = {code}" for name, code in codes_of(sweep, names, names).items()),
        "versions": str(environment()["versions"]),
    }


def _refuse_differences(here: dict[str, str], first: dict[str, Any]) -> None:
    """Raises SweepError if this process was started otherwise than the first."""
    lines = []
    for name in (name for name in here if here[name] != first[name]):
        pairs = zip_longest(here[name].splitlines(), first[name].splitlines(), fillvalue="nothing")
        ours, theirs = next((one, other) for one, other in pairs if one != other)
        lines.append(f"  {clip(ours, 100)} here, {clip(theirs, 100)} in the first process")
    if lines:
        lines.insert(0, "has other settings than the first process; start all with the same command")
        raise SweepError("\n".join(lines))
