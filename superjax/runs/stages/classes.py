"""Classifications of models, by the name that `boundary.of` has: every model gets a whole number."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int, PyTree

from superjax import analysis
from superjax.problem import source
from superjax.problem.problem import Problem
from superjax.problem.user_code import named, refusal, said, tried
from superjax.runs.problems import exchangeable, laws_of
from superjax.spec import Case
from superjax.spec.grid import Grid
from superjax.spec.parts import OWN

DIVERGED = -1
BUILT_IN = ("superposition", "phases", "antipodal", "solution", "diverged")
_PHASE = re.compile(r"phase\[(-?\d+)\]")
_MOST_FEATURES = 31  # whose phases together are an int64

Labels = Int[np.ndarray, " models"]


class Classes:
    """A classification of the models of a case. Raises SweepError if there is none of the name, or not for the case."""

    def __init__(self, case: Case, problem: Problem):
        self.case, self._names = case, {DIVERGED: "diverged"}
        of = case.boundary.of if case.boundary else "superposition"
        self._of = own(of) if OWN.fullmatch(of) else self._built_in(of)
        self._alike = _alike(problem, laws_of(problem, Grid(case))) if of == "phases" else []
        self._own = bool(OWN.fullmatch(of))
        self._coordinates = {
            path: name
            for dim, axis in case.axes.items()
            for path, name in zip(axis.names, axis.coordinates(dim), strict=True)
        }
        if of != "diverged" and not self._own:
            array, n = case.phases.array, case.n_features
            if {*problem.model.dims.get(array, ())} != {"hidden", "feature"}:
                raise refusal("boundary.of", of, f"needs a model with an array {array} (hidden, feature)")
            if of == "phases" and n > _MOST_FEATURES:
                raise refusal("boundary.of", of, f"needs n_features <= {_MOST_FEATURES}; take phase[i] of one feature")

    def __call__(self, models: PyTree, loss: Any, cell: Int[np.ndarray, " models"], grid: Grid) -> Labels:
        """The classes of models, leaves (models, ...), in cells of a grid; DIVERGED where a loss is not finite, but for
        a function of the user's, which sees all."""
        n_hidden = grid.fields.get("n_hidden", np.full(grid.n_cells, self.case.n_hidden))[cell]
        own = type(models).dims
        arrays = {name: (("model", *dims), np.asarray(getattr(models, name))) for name, dims in own.items()}
        swept = {self._coordinates[path]: ("model", values[cell]) for path, values in grid.fields.items()}
        data = xr.Dataset({**arrays, "loss": ("model", np.asarray(loss)), "n_hidden": ("model", n_hidden)}, swept)
        found, lost = self._of(data), ~np.isfinite(data["loss"].values)
        if self._own:
            return self._checked(found, len(cell))
        return np.where(lost, DIVERGED, found).astype(np.int64) if self._of is not _diverged else found

    def name(self, label: int) -> str:
        """What a class is, in words."""
        return self._names.get(label, f"class {label}")

    def _checked(self, found: Any, models: int) -> Labels:
        found = np.asarray(found)
        if found.shape != (models,) or found.dtype.kind not in "iub":
            text = f"returns {found.dtype} of shape {found.shape}, must be whole numbers of shape ({models},)"
            raise refusal("boundary.of", self.case.boundary.of if self.case.boundary else "", text)
        return found.astype(np.int64)

    def _built_in(self, of: str) -> Callable[[xr.Dataset], np.ndarray]:
        words: Mapping[int, str] = {}
        if of == "superposition":
            words = {0: "no superposition", 1: "superposition"}
        elif of == "antipodal":
            words = {0: "no antipodal pair", 1: "antipodal pair"}
        elif of == "diverged":
            words = {0: "converged", 1: "diverged"}
        elif match := _PHASE.fullmatch(of):
            if not -self.case.n_features <= (feature := int(match[1])) < self.case.n_features:
                allowed = f"{-self.case.n_features} ... {self.case.n_features - 1}"
                raise refusal("boundary.of", of, f"index must be in {allowed}")
            self._names |= {k: name.replace("_", " ") for k, name in enumerate(analysis.PHASES[:-1])}
            return lambda data: self._phases(data)[:, feature]
        elif of not in BUILT_IN:
            raise refusal("boundary.of", of, f'must be {", ".join(BUILT_IN)}, phase[i] or "pkg.module:function"')
        self._names |= words
        return {
            "superposition": self._superposition, "antipodal": self._antipodal, "diverged": _diverged,
            "phases": self._all_phases, "solution": self._solution,
        }[of]  # fmt: skip

    def _weights(self, data: xr.Dataset) -> np.ndarray:
        return data[self.case.phases.array].transpose("model", "hidden", "feature").values

    def _phases(self, data: xr.Dataset) -> np.ndarray:
        return analysis.classify(self._weights(data), **self.case.phases.thresholds())[0]

    def _superposition(self, data: xr.Dataset) -> np.ndarray:
        return np.asarray(analysis.represented(self._phases(data)).sum(-1) > data["n_hidden"].values)

    def _antipodal(self, data: xr.Dataset) -> np.ndarray:
        return np.asarray(analysis.antipodal(self._weights(data), self.case.phases.represented).any(-1))

    def _solution(self, data: xr.Dataset) -> np.ndarray:
        found = analysis.solutions(self._weights(data), self.case.phases.represented)
        known = {name: label for label, name in self._names.items()}
        for name in found.names:
            known.setdefault(name, len(known) - 1)  # "diverged" is there, as -1
        self._names = {label: name for name, label in known.items()}
        return np.array([known[name] for name in found.names])[found.number]

    def _all_phases(self, data: xr.Dataset) -> np.ndarray:
        """The phases of all features as digits, those of features that are alike in all cells in order."""
        phase = self._phases(data).astype(np.int64)
        for group in self._alike:
            phase[:, group] = np.sort(phase[:, group], axis=1)
        found = np.sum(phase * 4 ** np.arange(phase.shape[1]), axis=1)
        for label in set(found.tolist()) - self._names.keys():
            words = [analysis.PHASES[label // 4**k % 4].replace("_", " ") for k in range(phase.shape[1])]
            self._names[label] = ", ".join(words)
        return found


def _diverged(data: xr.Dataset) -> Labels:
    return (~np.isfinite(data["loss"].values)).astype(np.int64)


def _alike(problem: Problem, laws: Any) -> list[list[int]]:
    """Groups of features that may be exchanged in every cell; none of correlated sets, which move as wholes."""
    importance, alike, size = exchangeable(problem, laws)
    columns = [(importance[:, k].tobytes(), alike[:, k].tobytes()) for k in range(problem.n_features)]
    return [[k for k, one in enumerate(columns) if one == own] for own in dict.fromkeys(columns)] if size == 1 else []


def own(of: str) -> Callable[[xr.Dataset], Any]:
    """A function of the user's. Raises SweepError if there is none of the name."""
    found = named("boundary.of", of, "function", f"{', '.join(BUILT_IN)}, phase[i]")
    if not callable(found):
        raise refusal("boundary.of", of, "must be a function of a dataset of models")

    def classify(data: xr.Dataset) -> Any:
        labels, error = tried(found, data)
        if error is not None:
            raise refusal("boundary.of", of, f"raises {said(error)}") from error
        return labels

    return classify


def code_of(case: Case) -> dict[str, str]:
    """A digest of the code of the user's function, by the key that names it. Raises SweepError as `own`."""
    of = case.boundary.of if case.boundary else ""
    if not OWN.fullmatch(of):
        return {}
    return {"boundary.of": source.digest(named("boundary.of", of, "function"), of.partition(":")[0])}
