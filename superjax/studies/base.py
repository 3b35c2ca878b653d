"""What is done with a study, whichever it is: it is checked, makes claims, and is drawn.

A sweep without a study gets the overview of `studies.overview` and the general claims.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from superjax.disk.files import write_bytes
from superjax.problem.members import member
from superjax.problem.models import MODELS
from superjax.spec import Case, Sweep, SweepError, packaged
from superjax.studies import own
from superjax.studies.claim import Claim, at_most, equal, plain, signed
from superjax.studies.own import Failed
from superjax.studies.results import Results, in_order
from superjax.system import terminal
from superjax.system.modules import beside


def _refuse(message: str) -> NoReturn:
    raise SweepError(message)


def check(sweep: Sweep) -> None:
    """Refuse, before any training, a sweep that its study cannot draw, a study of the user's that is none, or a
    matplotlib that can draw nothing. Raises SweepError."""
    _try_matplotlib()
    _check_shown(sweep)
    if not sweep.study:
        return
    with beside(sweep.path):
        study = _study(sweep.study)
        for name, case in sweep.cases.items():
            try:
                if _is_own(sweep):
                    own.check(study, case)
                else:
                    study.check(case)
                    for array in getattr(study, "ARRAYS", ("W",)):
                        needs_array(case, array)
            except SweepError as error:
                raise SweepError(
                    f"{name}: the study {sweep.study} {error}\n"
                    '  study = "" in the file, or study=\'""\' on the command line, draws the sweep without it'
                ) from error


def _check_shown(sweep: Sweep) -> None:
    """Refuse quantities and axes of figures that a case has not."""
    from superjax.studies import quantities

    quantities.check_names(sweep)
    for name, case in sweep.cases.items():
        try:
            quantities.check(case)
            for field, axis in (("x", case.plot.x), ("y", case.plot.y)):
                if axis and (axis not in case.axes or len(case.axes) < 2):
                    there = ", ".join(case.axes) if len(case.axes) > 1 else "one axis or none, so no maps"
                    raise SweepError(f"plot.{field} = {axis}: is no axis of a map; there are {there}")
            if case.plot.x and case.plot.x == case.plot.y:
                raise SweepError(f"plot.x and plot.y are the same axis, {case.plot.x}")
        except SweepError as error:
            raise SweepError(f"{name}: {error}") from error


def needs_array(case: Case, name: str) -> None:
    """Raise SweepError if the model of a case is known not to have W, W1, W2 or b as the built-in models have them."""
    try:
        dims = member("model", case.model.kind).dims
    except SweepError:  # its code is gone: what it has trained may be drawn, anything else is refused elsewhere
        return
    wanted = MODELS["two_layer" if name in ("W1", "W2") else "relu_output"].dims[name]
    if dims.get(name) != wanted:
        raise SweepError(f"needs a model with {name} {wanted}; {case.model.kind} has dims = {dims}")


def claims(results: Results, failed: Failed = _refuse) -> list[Claim]:
    """The claims of the sweep's study, then those that any sweep must meet. Their values are plain numbers. `failed` is
    told what is wrong with a user's study, whose claims are then missing; it raises SweepError unless given."""
    sweep, results, found = results.sweep, in_order(results), []
    with _quiet(), beside(sweep.path):
        if _is_own(sweep):
            study = _own_study(sweep, failed)
            found = own.claims(study, results, failed) if study else []
        elif sweep.study:
            found = _study(sweep.study).claims(results)
        found = [*found, *_general(results)]
    found = [Claim(*map(plain, claim)) for claim in found]
    return [one._replace(claim=signed(one.claim), note=signed(one.note)) for one in found]


def draw(
    results: Results, folder: Path, warn: Callable[[str], object] = terminal.warn, failed: Failed = _refuse
) -> list[Path]:
    """Draw all figures into a folder as PNGs, and beside them as what `plot.format` asks for. `warn` is told of one
    that has other dots per inch than was asked for, and if there is none. `failed` is told what is wrong with a user's
    study. If its study gives a sweep no figure, for that reason or since all models diverged, the overview is
    drawn."""
    from superjax.plots import canvas
    from superjax.studies import overview, quantities
    from superjax.studies.captions import minus_signs

    sweep, results, figures = results.sweep, in_order(results), {}
    plot = next(iter(sweep.cases.values())).plot
    wanted, kinds = float(plot.dpi), dict.fromkeys(("png", plot.format))

    def save(figures: Mapping[str, Any], image: Callable[[str, Any, float, str], bytes | None]) -> list[Path]:
        paths = []
        for name, figure in figures.items():
            dpi = canvas.resolution(figure, wanted)
            for kind in kinds:
                path = folder / f"{name}.{kind}"
                if (drawn := image(name, figure, dpi, kind)) is None:
                    break
                if dpi != wanted and kind == "png":
                    why = "large" if dpi < wanted else "small"
                    warn(f"{path}: drawn with {dpi:.0f} dots per inch; {wanted:g} would make it too {why}")
                write_bytes(path, drawn)
                paths.append(path)
        return paths

    def ours(name: str, figure: Any, dpi: float, kind: str) -> bytes:
        canvas.legible(figure)
        minus_signs(figure)
        return canvas.image(figure, dpi, kind)

    def theirs(name: str, figure: Any, dpi: float, kind: str) -> bytes | None:
        return own.image(name, figure, dpi, kind, failed)

    with canvas.plain(), _quiet(), beside(sweep.path):
        if _is_own(sweep):
            study = _own_study(sweep, failed)
            figures = own.figures(study, results, failed) if study else {}
            for name in [f"{name}_show" for name, case in sweep.cases.items() if case.plot.show]:
                if figures.pop(name, None) is not None:
                    failed(f"the study {sweep.study}: figures(results) has the name {name}, which plot.show draws")
        elif sweep.study:
            figures = _study(sweep.study).figures(results)
        paths = save(figures, theirs if _is_own(sweep) else ours) or save(overview.figures(results), ours)
        for name, missing in quantities.missing(results).items():
            warn(f"{name}: not shown, as the dataset has no {', '.join(missing)}")
        paths += save(quantities.figures(results), ours)
    if not paths:
        warn(f"{folder}: no figure, as too few models are finite; claims.json says how many diverged")
    return paths


def _is_own(sweep: Sweep) -> bool:
    """Whether its study is a module of the user's."""
    return bool(sweep.study) and sweep.study not in packaged.studies()


def _study(name: str) -> ModuleType:
    """The module of a study, packaged or the user's. Raises SweepError if it is the user's and cannot be had."""
    importlib.import_module("superjax.plots.canvas")  # before anything imports matplotlib
    return importlib.import_module(f"superjax.studies.{name}") if name in packaged.studies() else own.load(name)


def _own_study(sweep: Sweep, failed: Failed) -> ModuleType | None:
    """The user's study, None if it has become unusable since it was checked."""
    try:
        return _study(sweep.study or "")
    except SweepError as error:
        failed(str(error))
        return None


def _try_matplotlib() -> None:
    """Draw an empty figure. Raises SweepError."""
    try:
        from superjax.plots import canvas

        canvas.try_out()
    except (ImportError, ValueError, OSError, RuntimeError) as error:  # no folder for its fonts, a broken installation
        reason = " ".join(str(error).split())[:200]
        raise SweepError(f"matplotlib cannot draw: {type(error).__name__}: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of numbers that are not finite: what diverged is NaN, and so is all that follows from it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _general(results: Results) -> list[Claim]:
    found = []
    for name, dataset in results.datasets.items():
        diverged = int((dataset["diverged_at"] >= 0).sum())
        found.append(
            equal(f"{name}: no model diverges", "training", 0, diverged,
                  note="" if diverged == 0 else "diverged_at in the dataset says at which step", kind="check")
        )  # fmt: skip
        if "dimensionality" in dataset:
            excess = float(np.nanmax(dataset["dimensionality"].sum("feature") - dataset.attrs["n_hidden"]))
            found.append(
                at_most(f"{name}: sum of the dimensionalities of a model's features minus n_hidden (largest)",
                        "The Geometry of Superposition", 0, excess, 1e-4, kind="check")
            )  # fmt: skip
    return found
