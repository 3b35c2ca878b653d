"""Measures and phases of any weights, statistics over restarts, the boundary of superposition.

Everything here takes plain arrays, trained by superjax or not.
"""

from superjax.analysis.boundary import (
    at_importance,
    band,
    boundary,
    crossings,
    has_superposition,
    superposition_excess,
)
from superjax.analysis.canonical import canonical, canonical_rotation
from superjax.analysis.dictionaries import Mixing, Recovery, mixing, recovery, units
from superjax.analysis.dynamics import drops, largest_change, smooth, speed
from superjax.analysis.geometry import (
    TOLERANCE,
    Component,
    Polytope,
    Solutions,
    ideal,
    polytopes,
    recognise,
    solution_name,
    solutions,
)
from superjax.analysis.phases import (
    PHASES,
    Measures,
    classify,
    dimensionality,
    interference,
    measure,
    norm,
    phase_signature,
    represented,
)
from superjax.analysis.restarts import (
    REACHED,
    agreement,
    best_restart,
    dropped,
    phase_fractions,
    reached,
    standard_error,
    take_restart,
    typical_outcome,
    typical_phase,
)

__all__ = [
    "PHASES",
    "REACHED",
    "TOLERANCE",
    "Component",
    "Measures",
    "Mixing",
    "Polytope",
    "Recovery",
    "Solutions",
    "agreement",
    "at_importance",
    "band",
    "best_restart",
    "boundary",
    "canonical",
    "canonical_rotation",
    "classify",
    "crossings",
    "dimensionality",
    "dropped",
    "drops",
    "has_superposition",
    "ideal",
    "interference",
    "largest_change",
    "measure",
    "mixing",
    "norm",
    "phase_fractions",
    "phase_signature",
    "polytopes",
    "reached",
    "recognise",
    "recovery",
    "represented",
    "smooth",
    "solution_name",
    "solutions",
    "speed",
    "standard_error",
    "superposition_excess",
    "take_restart",
    "typical_outcome",
    "typical_phase",
    "units",
]
