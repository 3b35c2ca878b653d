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
from superjax.analysis.dictionaries import Recovery, recovery
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
from superjax.analysis.neurons import REPRESENTED, SHARE, Service, gains, groups, own_sets, regime, service
from superjax.analysis.phases import (
    PHASES,
    Measures,
    classify,
    dimensionality,
    interference,
    measure,
    merged,
    norm,
    phase_signature,
    represented,
)
from superjax.analysis.ranks import bootstrap_interval, rank_correlation
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
    "REPRESENTED",
    "SHARE",
    "TOLERANCE",
    "Component",
    "Measures",
    "Polytope",
    "Recovery",
    "Service",
    "Solutions",
    "agreement",
    "best_restart",
    "at_importance",
    "band",
    "bootstrap_interval",
    "boundary",
    "canonical",
    "canonical_rotation",
    "classify",
    "crossings",
    "dimensionality",
    "dropped",
    "drops",
    "gains",
    "groups",
    "has_superposition",
    "ideal",
    "interference",
    "largest_change",
    "measure",
    "merged",
    "norm",
    "own_sets",
    "phase_fractions",
    "phase_signature",
    "polytopes",
    "rank_correlation",
    "reached",
    "recognise",
    "recovery",
    "regime",
    "represented",
    "service",
    "solution_name",
    "smooth",
    "solutions",
    "speed",
    "standard_error",
    "superposition_excess",
    "take_restart",
    "typical_outcome",
    "typical_phase",
]
