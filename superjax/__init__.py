"""Train every toy model of a sweep at once and see what superposition does.

>>> import superjax
>>> sweep = superjax.load("phase_diagram", "axes.importance.points=20", "axes.density.points=20")
>>> datasets = superjax.run(sweep)  # doctest: +SKIP

Names are imported when they are used: `superjax --help` must not wait for JAX.
"""

import sys

# `python -m` puts the current folder first: a json.py that lies there would be run in place of Python's. A user's own
# modules are found there all the same. (Not with -P, which leaves the folder out.)
if sys.argv[:1] == ["-m"] and sys.path and not sys.flags.safe_path and "superjax.sweep" in " ".join(sys.orig_argv):
    sys.path.append(sys.path.pop(0))

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superjax import analysis, export, plots
    from superjax.reference import oracle, theory
    from superjax.runs.api import boundary, run
    from superjax.runs.netcdf import open_dataset as open
    from superjax.spec import Case, Sweep, SweepError, available
    from superjax.spec.loading import load_from_python as load
    from superjax.studies.boundaries import boundary_lines

__version__ = "0.2.0"
__all__ = [
    "Case", "Sweep", "SweepError", "analysis", "available", "boundary", "boundary_lines", "export", "load", "open",
    "oracle", "plots", "run", "theory",
]  # fmt: skip

_HOMES = {
    "Case": "superjax.spec:Case",
    "Sweep": "superjax.spec:Sweep",
    "SweepError": "superjax.spec:SweepError",
    "available": "superjax.spec:available",
    "boundary": "superjax.runs.api:boundary",
    "boundary_lines": "superjax.studies.boundaries:boundary_lines",
    "load": "superjax.spec.loading:load_from_python",
    "open": "superjax.runs.netcdf:open_dataset",
    "oracle": "superjax.reference.oracle",
    "run": "superjax.runs.api:run",
    "theory": "superjax.reference.theory",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'superjax' has no attribute {name!r}")
    module, _, attribute = _HOMES.get(name, f"superjax.{name}").partition(":")
    home = importlib.import_module(module)
    return getattr(home, attribute) if attribute else home


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
