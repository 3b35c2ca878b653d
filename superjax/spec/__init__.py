"""Sweep files: a TOML file and `KEY=VALUE` overrides become a frozen, validated `Sweep`, or one `SweepError`.

A value comes from, weakest first: the field's default, `preset`, the file, its `[cases]` product, its
`[case.NAME]` table, an override, a `case.NAME.` override. Tables merge key by key; in an axis `values`
replaces a `range` from below and the other way round. A density is the probability that a feature is active.

Names are imported when they are used: the fields of a problem are those of its members, which need JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superjax.errors import SweepError
    from superjax.spec.axis import Axis
    from superjax.spec.case import RESERVED, RESERVED_STEMS, Case
    from superjax.spec.fields import Family, Phases, Train
    from superjax.spec.loading import load, parse
    from superjax.spec.presets import PRESETS
    from superjax.spec.sweep import Sweep
    from superjax.spec.sweep_files import available

_HOMES = {
    "PRESETS": "superjax.spec.presets",
    "RESERVED": "superjax.spec.case",
    "RESERVED_STEMS": "superjax.spec.case",
    "Axis": "superjax.spec.axis",
    "Case": "superjax.spec.case",
    "Family": "superjax.spec.fields",
    "Phases": "superjax.spec.fields",
    "Sweep": "superjax.spec.sweep",
    "SweepError": "superjax.errors",
    "Train": "superjax.spec.fields",
    "available": "superjax.spec.sweep_files",
    "load": "superjax.spec.loading",
    "parse": "superjax.spec.loading",
}
__all__ = [
    "PRESETS",
    "RESERVED",
    "RESERVED_STEMS",
    "Axis",
    "Case",
    "Family",
    "Phases",
    "Sweep",
    "SweepError",
    "Train",
    "available",
    "load",
    "parse",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'superjax.spec' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
