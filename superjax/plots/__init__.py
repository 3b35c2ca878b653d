"""Drawing primitives: each draws one thing into given axes, from plain arrays."""

from superjax.plots import canvas
from superjax.plots.graphs import feature_graph
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
from superjax.plots.neurons import beyond, ends_in_words, neuron_bars, neuron_handles, neuron_kinds, neuron_weights
from superjax.plots.weights import gram, importance_scale, interference_key, norm_bars, vectors, vectors_3d

__all__ = [
    "PHASE_COLOURS",
    "beyond",
    "canvas",
    "cell_edges",
    "ends_in_words",
    "feature_graph",
    "gap_map",
    "gram",
    "hatch",
    "importance_scale",
    "interference_key",
    "neuron_bars",
    "neuron_handles",
    "neuron_kinds",
    "neuron_weights",
    "norm_bars",
    "phase_handles",
    "phase_map",
    "typical_colours",
    "typical_key",
    "typical_map",
    "value_map",
    "vectors",
    "vectors_3d",
]
