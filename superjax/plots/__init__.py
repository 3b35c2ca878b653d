"""Drawing primitives: each draws one thing into given axes, from plain arrays."""

from superjax.plots.maps import (
    PHASE_COLOURS,
    cell_edges,
    gap_map,
    hatch,
    phase_handles,
    phase_map,
    typical_colours,
    typical_key,
    typical_map,
    value_map,
)

__all__ = [
    "PHASE_COLOURS",
    "cell_edges",
    "gap_map",
    "hatch",
    "phase_handles",
    "phase_map",
    "typical_colours",
    "typical_key",
    "typical_map",
    "value_map",
]
