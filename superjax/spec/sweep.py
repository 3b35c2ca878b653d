"""A sweep: what a file and its overrides come to, written out again, and compared with another."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from superjax.errors import SweepError, clip, in_python, near
from superjax.problem.members import member
from superjax.spec import names, packaged
from superjax.spec.case import Case
from superjax.spec.emit import dotted, emit, toml
from superjax.spec.fields import Head
from superjax.spec.messages import Source, source, validate
from superjax.spec.overrides import parse_batch, refuse_keywords
from superjax.spec.parts import kinds_of
from superjax.spec.resolve import resolve_cases
from superjax.spec.trees import flatten, merge, nest
from superjax.system import modules
from superjax.system.terminal import plain


@dataclass(frozen=True)
class Sweep:
    """A resolved sweep file: `name` is the file's stem, made fit for a folder; `study` a folder of
    `superjax.studies`, or a module of the user's."""

    name: str
    path: Path
    title: str
    section: str
    about: str
    takes: str
    study: str | None
    cases: dict[str, Case]
    _given: "Given" = field(repr=False, compare=False)

    def override(self, *overrides: str | tuple[str, object], **keywords: object) -> "Sweep":
        """The sweep with more overrides, each `KEY=VALUE` or a pair (KEY, VALUE), which win over those given before.
        Raises SweepError, also for keyword arguments: it has none."""
        refuse_keywords(keywords)
        with in_python():
            return self._given._replace(batches=(*self._given.batches, overrides)).resolve()

    def to_toml(self) -> str:
        """The resolved sweep as a sweep file, defaults spelled out, that loads to the same cases. What is of a script
        or a notebook has a comment that says so: the file alone is not enough."""
        trees = {name: case.model_dump(exclude_none=True) for name, case in self.cases.items()}
        first = next(iter(trees.values()))
        same = {key for key in first if len({toml(tree.get(key)) for tree in trees.values()}) == 1}
        common = {key: value for key, value in first.items() if key in same}
        rest = {name: {k: v for k, v in tree.items() if k not in same} for name, tree in trees.items()}
        head = {"title": self.title, "section": self.section, "study": self.study or ""}
        head |= {key: text for key in ("about", "takes") if (text := getattr(self, key))}
        of_main = sorted({kind for case in self.cases.values() for kind in _of_main(case).values()})
        notes = [f"# {kind} is of {modules.main()}: give it from there, or put it into a file" for kind in of_main]
        return "\n".join([*map(plain, notes), *emit({**head, **common, "case": rest})]) + "\n"

    def differences(self, other: "Sweep") -> list[str]:
        """What changes results (`decisive`), as lines "CASE: KEY = HERE, was THERE"."""
        lines = [f"{name}: a new case" for name in self.cases if name not in other.cases]
        lines += [f"{name}: not among the cases" for name in other.cases if name not in self.cases]
        for name in (name for name in self.cases if name in other.cases):
            here, there = decisive(self.cases[name]), decisive(other.cases[name])
            for key in dict.fromkeys([*here, *there]):
                if here.get(key) != there.get(key):
                    lines.append(f"{name}: {key} = {here.get(key, 'unset')}, was {there.get(key, 'unset')}")
        return lines


def _of_main(case: Case) -> dict[str, str]:
    """The parts of a case that are of a script or a notebook, by the path of their key."""
    kinds = kinds_of(case.model_dump(include={"model", "data", "target", "terms"}))
    return {path: kind for path, (_, kind) in kinds.items() if kind.startswith("__main__:")}


def decisive(case: Case, alone: bool = False) -> dict[str, str]:
    """The settings that decide results, as TOML by dotted key: two cases with equal ones have the same models, cell by
    cell, and may share what was trained.

    Phases (but with a `boundary`), drawing and labels are none, nor are title, section and study of the sweep: they can
    be changed at any time. The order of axes and of families is one, as it is that of the results; the order of other
    keys is not, nor is 1 against 1.0. Values that are written otherwise (a range, a list) differ, even where the
    numbers are equal.

    `alone`: those that decide the results of a model alone, not how many restarts and points there are besides, nor
    what is searched between them.
    """
    number = {"points", "range", "values", "scale"} if alone else set()
    others: dict[str, Any] = {"plot": True, "axes": {"__all__": {"label", *number}}}
    if case.boundary is None or alone:  # a boundary is searched under the thresholds of the run
        others["phases"] = True
    if alone:
        others |= {"restarts": True, "boundary": True}
    tree = case.model_dump(exclude=others, exclude_none=True)
    order = {name: toml(list(getattr(case, name))) for name in ("axes", "families")}
    return {**order, **{dotted(path): toml(value) for path, value in flatten(tree)}}


def grows(earlier: Case, case: Case) -> bool:
    """Whether two cases differ in restarts and points alone, so that models of one may be models of the other."""
    return decisive(earlier) != decisive(case) and decisive(earlier, alone=True) == decisive(case, alone=True)


class Given(NamedTuple):
    """What the user gave: a file, its name in messages, and batches of overrides, later ones stronger."""

    path: Path
    shown: str
    raw: dict[str, Any]
    batches: tuple[tuple[str | tuple[str, object], ...], ...]

    def resolve(self, drawn: bool = True) -> Sweep:
        """The sweep that this is. One that is not to be drawn may have a study that is gone. Raises SweepError."""
        name, batches = names.of_stem(self.path.stem), [parse_batch(batch) for batch in self.batches]
        if fault := names.fault(name):
            raise SweepError(f"{clip(self.shown)}: the name of a sweep {fault}")
        tree = {key: self.raw[key] for key in Head.model_fields if key in self.raw}
        sources = [Source(self.shown, "", tree)]
        for override in itertools.chain(*batches):
            if override.path[0] in Head.model_fields:
                sources.append(Source(override.place, "", nest(override.path, override.value), override.path))
                tree = merge(tree, sources[-1].tree)
        head = validate(Head, tree, sources)
        study = head.study or None
        if study and drawn and (fault := self._no_study(study)):
            raise SweepError(f"{source(sources, ('study',)).place}: study = {toml(study)}, {fault}")
        cases = resolve_cases(name, self.shown, self.raw, batches, study)
        for path, kind in ((path, kind) for case in cases.values() for path, kind in _of_main(case).items() if drawn):
            try:
                member(path.partition(".")[0], kind, path)
            except SweepError as error:
                raise SweepError(f"{self.shown}: {error}") from error
        return Sweep(name, self.path, head.title, head.section, head.about, head.takes, study, cases, self)

    def _no_study(self, study: str) -> str:
        """That there is no study of a name, "" if there is one, packaged or a module of the user's."""
        if study in (allowed := packaged.studies()):
            return ""
        looked = ""
        if all(part.isidentifier() for part in study.split(".")):
            with modules.beside(self.path):
                if modules.exists(study):
                    return ""
                folders = ", ".join(map(str, modules.folders()))
            looked = f"\n  looked for {study.replace('.', '/')}.py in {folders} and the installed packages"
        return f"no such study{near(study, allowed)}\n  allowed: {', '.join(allowed)} or pkg.module{looked}"
