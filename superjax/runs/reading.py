"""What is read back from a run's folder, validated: it may be damaged, somebody else's, or made to do harm.

All of it raises `Damaged`, a ValueError that says what is wrong, or OSError if it cannot be read; nothing else.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from superjax.disk.files import open_plain
from superjax.errors import clip
from superjax.problem.models import MODELS
from superjax.spec import Case
from superjax.spec.fields import Phases

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

MANIFEST = "manifest.json"
SETTINGS = "sweep.toml"
CLAIMS = "claims.json"
EXPLORER = "explore.html"
FIGURES = (".png", ".svg", ".pdf")
_LARGEST = 2**26  # bytes of a manifest or of claims
_DEEPEST = 32  # levels of them


class Damaged(ValueError):
    """What was read is not what superjax writes."""


def _plain(name: str) -> str:
    """Files named after it are in the folder."""
    if name in (".", "..") or {"/", os.sep, "\0"}.intersection(name):
        raise ValueError("must be the name of a file in the folder")
    return name


def _of_figure(name: str) -> str:
    if not (name.endswith(FIGURES) or name in (CLAIMS, EXPLORER)):
        raise ValueError(f"must be a figure, {CLAIMS} or {EXPLORER}")
    return name


def _of_numbers(name: str) -> str:
    """The type of an array of numbers, by its name."""
    import numpy as np

    if not re.fullmatch(r"[a-z]{3,}[0-9]{0,3}\w{0,8}", name):
        raise ValueError("is no type of numbers")
    try:
        dtype = np.dtype(name)
    except TypeError:
        raise ValueError("is no type of numbers") from None
    if dtype.hasobject or dtype.kind in "SUMm" or not dtype.itemsize:
        raise ValueError("is no type of numbers")
    return name


CaseName = Annotated[str, Field(min_length=1), AfterValidator(_plain)]
FileName = Annotated[CaseName, AfterValidator(_of_figure)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Code = Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]
Number = Annotated[int, Field(ge=0, lt=2**62)]
Seconds = dict[str, Annotated[float, Field(ge=-1e12, le=1e12)] | None]


class _Read(BaseModel):
    """Keys that are not known, of another version perhaps, are left out."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Entry(_Read):
    """What the manifest says of a case.

    Attributes:
        done: whether its dataset is written.
        chunks: how many models are trained or evaluated at once, by task, for a run that goes on; "TASK form" is the
            number of the form that an accelerator took, from 1 on (`kernel.FORMS`).
        sha256: the checksum of the dataset; `coming`: that of one that was about to replace it. Where the case is not
            done, it is that of a finished run with fewer models.
        key: what its chunks are kept under; code: the digest of the code of a model of the user's.
    """

    done: bool = False
    chunks: dict[str, Annotated[int, Field(ge=1, le=2**19)]] = {}
    sha256: Digest | None = None
    coming: Digest | None = None
    key: Digest | None = None
    code: Code | None = None
    models: Number | None = None
    taken_over: Number | None = None
    form: str | None = None
    plain_because: str | None = None
    compile_seconds: float | None = None
    seconds: Seconds | None = None


class Environment(_Read):
    versions: dict[str, str]
    device: str
    cores: int | None = None
    date: str = "date unknown"


class Manifest(_Read):
    """The manifest of a run: cases and files by name, and the settings as a sweep file."""

    cases: dict[CaseName, Entry] = {}
    files: list[FileName] = []
    claims_left_out: str = ""
    finished: bool = False
    settings: str = ""
    starts: Annotated[int, Field(ge=0, lt=2**31)] = 0
    environment: Environment | None = None
    continued: list[Environment] = []
    seconds: Seconds | None = None
    redraw_seconds: Seconds | None = None


class Chunk(_Read):
    """What a chunk says of itself: the training and the number that it belongs to, and the types and shapes of its
    arrays."""

    key: str
    chunk: Number
    done: bool
    step: Number
    arrays: list[tuple[Annotated[str, AfterValidator(_of_numbers)], list[Annotated[int, Field(ge=0, lt=2**48)]]]]

    def layout(self) -> list[tuple["np.dtype", tuple[int, ...]]]:
        import numpy as np

        return [(np.dtype(name), tuple(shape)) for name, shape in self.arrays]


class Claim(_Read):
    """A claim as it is stored; `expected`, `measured` and `tolerance` are any JSON."""

    claim: str
    source: str
    expected: Any
    measured: Any
    tolerance: Any
    holds: bool
    note: str = ""
    kind: Literal["paper", "derived", "check"] = "derived"  # earlier runs have none


_MANIFEST, _CHUNK, _CLAIMS = TypeAdapter(Manifest), TypeAdapter(Chunk), TypeAdapter(list[Claim])


def manifest(path: Path, sealed: bool = True) -> dict[str, Any]:
    """A manifest, without what is not set; `sealed` ones must carry the checksum of their contents."""
    content = _json(path)
    if not isinstance(content, dict):
        raise Damaged("is no table")
    if sealed and content.pop("sha256", None) != seal(content):
        raise Damaged("is not what was written")
    return _validated(_MANIFEST, content).model_dump(exclude_none=True)


def checksums(entry: Mapping[str, Any]) -> set[str]:
    """Of the dataset that is recorded, and of one that was about to replace it."""
    return {entry[key] for key in ("sha256", "coming") if key in entry}


def claims(path: Path) -> list[dict[str, Any]]:
    return [claim.model_dump() for claim in _validated(_CLAIMS, _json(path))]


def chunk(line: bytes) -> Chunk:
    """The first line of a chunk."""
    try:
        return _CHUNK.validate_json(line)
    except ValidationError:
        raise Damaged("is damaged") from None


def seal(content: dict[str, Any]) -> str:
    """The checksum of a manifest, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _validated(adapter: TypeAdapter, content: Any) -> Any:
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise Damaged(clip(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 200)) from None


def _json(path: Path) -> Any:
    """JSON of modest size and depth, whose keys are there once, whose numbers are finite and whose text is Unicode."""
    with open_plain(path) as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise Damaged("is too large")
    try:
        value = json.loads(content.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
        level, levels = [value], 0
        while level:  # the next level, without recursion
            levels += 1
            if levels > _DEEPEST:
                raise Damaged("has too many levels")
            parts = [part.values() if isinstance(part, dict) else part for part in level]
            level = [item for part in parts if not isinstance(part, str | int | float | None) for item in part]
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # halves of characters, numbers of 1e999
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Damaged) else Damaged("is no JSON") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise Damaged("has a key twice")
    return table


def _no_constant(name: str) -> Any:
    raise Damaged(f"has {name}")


def misfit(dataset: "xr.Dataset", case: Case) -> str:
    """Why a dataset cannot be that of a case, by what any has, its sizes, coordinates and types; "" if it can."""
    import numpy as np

    from superjax.spec.grid import Grid

    grid = Grid(case)
    models, text = (*grid.dims, "restart"), ("family", "phase_kind", "attack", "boundary_kind")
    sizes = dict(zip(grid.dims, grid.shape, strict=True))
    sizes |= {"restart": case.restarts, "feature": case.n_features, "hidden": case.n_hidden}
    output = "feature" if case.n_outputs == case.n_features else "output"
    sizes |= {output: case.n_outputs}
    needed = {"loss": models, "feature_loss": (*models, output)}
    needed |= {"grad_norm": models, "diverged_at": models}
    if case.model.kind in MODELS:
        dims = MODELS[case.model.kind].dims
        needed |= {name: (*models, *(output if dim == "output" else dim for dim in own)) for name, own in dims.items()}
    if case.train.snapshots:
        needed |= {"step": ("snapshot",), "loss_snapshots": (*models, "snapshot")}
    if case.optimum:
        for name in ("optimum", "optimum_other"):
            needed |= {f"{name}_loss": grid.dims, f"{name}_W": (*grid.dims, "hidden", "feature")}
    if case.families:
        sizes["family"] = len(case.families)
        needed |= {"family_loss": (*grid.dims, "family"), "family_W": (*grid.dims, "family", "hidden", "feature")}
        if "family" not in dataset.coords or list(dataset["family"].values) != list(case.families):
            return "has other families"
    if case.attack:
        needed |= {"attack_vulnerability": models, "attack_excess": (*models, "attack")}
    if case.boundary:
        text_dim, point = ("boundary_kind",), ("boundary_point",)
        needed |= {"boundary_kind": text_dim, "boundary_point_class": point, "boundary_vertices": ("boundary_line",)}
    for name, size in sizes.items():
        if dataset.sizes.get(name, size) != size:
            return f"has {dataset.sizes[name]} of {name}, must have {size}"
    for name, (dim, values) in grid.coordinates.items():
        there = dataset.coords.get(name)
        if there is None or there.dims != (dim,) or not np.array_equal(there.values, values):
            return f"has other values of {name}"
    for name, dims in needed.items():
        if name not in dataset.variables or dataset[name].dims != dims:
            return f"has no {name} ({', '.join(dims)})"
    for name, variable in dataset.variables.items():
        if variable.dtype.kind not in ("OTU" if name in text else "fiub"):
            return f"{name} is {variable.dtype}"
    if dataset["diverged_at"].dtype.kind != "i" or not isinstance(dataset["loss"].attrs.get("loss_error"), float):
        return "lacks what is known of its losses"
    thresholds = [dataset["phase"].attrs.get(name) for name in Phases().thresholds()] if "phase" in dataset else []
    return "" if all(isinstance(value, float) and value > 0 for value in thresholds) else "lacks thresholds"
