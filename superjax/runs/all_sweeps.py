"""Every packaged sweep, with overrides that apply to all, run one after the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from superjax import spec
from superjax.errors import NoEffect
from superjax.runs import page
from superjax.runs.folder import Run
from superjax.runs.options import Options
from superjax.spec import Sweep, SweepError
from superjax.spec.effects import MATTERS
from superjax.spec.emit import dotted, toml
from superjax.spec.overrides import Override, parse, parse_batch
from superjax.spec.trees import flatten, lookup, nest
from superjax.system import machine, terminal

if TYPE_CHECKING:
    from superjax.runs.one_sweep import Finished


def resolve(overrides: list[str]) -> dict[str, Sweep]:
    """Every packaged sweep by name. An override of an axis or a case concerns the sweeps that have it, another those
    where it has an effect. Raises SweepError if a sweep refuses an override, or none has what it sets."""
    plain = {name: spec.load(name) for name in spec.available()}
    texts = list(chain.from_iterable(map(_entries, overrides)))
    concerned = {
        text: [name for name, sweep in plain.items() if _has(sweep, override)]
        for text, override in zip(texts, parse_batch(texts), strict=True)
    }
    for text, names in concerned.items():
        if not names:
            raise SweepError(f"{text} (command line): no packaged sweep has that; --list shows them")
    sweeps = {}
    for name in plain:
        try:
            sweeps[name] = _load(name, concerned)
        except SweepError as error:
            raise SweepError(f"{name}: {error}") from error
    return sweeps


def _load(name: str, concerned: dict[str, list[str]]) -> Sweep:
    """A sweep with the overrides that concern it; where one turns out to be idle, it does not. Raises SweepError."""
    while True:
        texts = [text for text, names in concerned.items() if name in names]
        try:
            return spec.load(name, *texts)
        except NoEffect as error:
            at = error.path, error.indices
            (idle,) = (text for text in texts if parse(text)[1:3] == at)
            if concerned[idle] == [name]:  # in all others too
                raise
            concerned[idle].remove(name)


def _entries(text: str) -> list[str]:
    """An override of a table as one of each of its entries: in a sweep some may have an effect and others none."""
    override = parse(text)
    own = override.path[0] == "case"
    if not isinstance(override.value, dict) or override.path[2 * own] not in {path.split(".")[0] for path in MATTERS}:
        return [text]
    return [f"{dotted(path)}={toml(value)}" for path, value in flatten(nest(override.path, override.value))] or [text]


def _has(sweep: Sweep, override: Override) -> bool:
    """Whether there is something in a sweep that an override of an axis or a case could change; true for others."""
    path, cases = override.path, sweep.cases
    if path == ("cases",) and isinstance(override.value, list):
        return set(map(str, override.value)) <= set(cases)
    if path[0] == "case":
        cases, path = {name: case for name, case in cases.items() if name == path[1]}, path[2:]
    if path[0] == "axes":
        return any(lookup(case.model_dump(), path, None) is not None for case in cases.values())
    return bool(cases)


def run(
    sweeps: Mapping[str, Sweep],
    overrides: Sequence[str],
    options: Options,
    begun: Callable[[], object],
    tell: "Callable[[Finished], object]",
) -> dict[str, str]:
    """Run sweeps, and leave a page of them in the folder of all results. What can be refused is refused before any is
    trained; one that fails stops no other. Returns why sweeps failed, by name.

    Args:
        overrides: what the user set, for the page.
        begun: is called once all folders are ready: from here on the command that resumes does not say `--fresh`.
        tell: is told of every sweep that is finished.
    """
    from superjax.runs import one_sweep  # not at the top: what is wrong with overrides is said before JAX is there

    with machine.settled(options.devices, "--devices"):
        _begin(sweeps, options)
    begun()
    options = replace(options, fresh=False)
    failed: dict[str, str] = {}

    def write_page() -> Path:
        return page.write(options.out, sweeps, failed, overrides)

    write_page()
    for name, sweep in sweeps.items():
        terminal.say(f"== {name}")
        try:
            tell(one_sweep.run(sweep, name, options, time.perf_counter()))
        except (SweepError, OSError) as error:
            failed[name] = str(error)
        except Exception as error:  # a bug
            terminal.bug()
            failed[name] = f"{type(error).__name__}: {error}"
        if name in failed:
            terminal.fail(f"{name} failed: {failed[name]}")
        with suppress(OSError):  # if it lasts, the last one is told
            write_page()
    written = write_page()
    terminal.say(f"{len(sweeps) - len(failed)} of {len(sweeps)} sweeps: {written}")
    return failed


def _begin(sweeps: Mapping[str, Sweep], options: Options) -> None:
    """Refuse what cannot be done, then make all folders, or clear them for `--fresh`: at once, so that the command
    that resumes need not say it."""
    from superjax import studies
    from superjax.runs import planning

    for name, sweep in sweeps.items():  # before anything is compiled
        try:
            studies.check(sweep)
        except SweepError as error:
            raise SweepError(f"{name}: {error}") from error
    sizes = {}
    for name, sweep in sweeps.items():
        with _looked_at(sweep, options) as run:
            sizes[name] = planning.todo(sweep, name, run, options).size
    for name, sweep in sweeps.items():
        with _looked_at(sweep, options) as run:
            run.begin(sizes[name])


def _looked_at(sweep: Sweep, options: Options) -> Run:
    """The run of a sweep; what it warns of is said later, when it is run."""
    return Run(options.out / sweep.name, sweep, options.fresh, lambda message: None)
