"""Sweep files: a TOML file and `KEY=VALUE` overrides become a frozen, validated `Sweep`, or one `SweepError`.

A value comes from, weakest first: the field's default, `preset`, the file, its `[cases]` product, its
`[case.NAME]` table, an override, a `case.NAME.` override. Tables merge key by key; in an axis `values`
replaces a `range` from below and the other way round. A density is the probability that a feature is active.
"""

from superjax.errors import SweepError
from superjax.spec.axis import Axis
from superjax.spec.case import RESERVED, RESERVED_STEMS, Case
from superjax.spec.fields import Family, Phases, Train
from superjax.spec.loading import available, load, parse
from superjax.spec.parts import Data
from superjax.spec.presets import PRESETS
from superjax.spec.sweep import Sweep

__all__ = [
    "PRESETS",
    "RESERVED",
    "RESERVED_STEMS",
    "Axis",
    "Case",
    "Data",
    "Family",
    "Phases",
    "Sweep",
    "SweepError",
    "Train",
    "available",
    "load",
    "parse",
]
