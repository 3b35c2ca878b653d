"""How many models are trained together in a chunk."""

import jax

from superjax.engine.kernel import Form
from superjax.problem.expectation import Objective

# The sizes for CPU are measured; those for accelerators only say that large chunks are wanted there.
# Of a chunk on one device: rows x features x models if each model has a weight of its own for every row and feature,
# which should stay in the cache (but it takes some models to make up for a call), or if an accelerator's plain form
# stores the outputs of all models; rows x models if not, where nothing of that size is stored.
_CHUNK_WEIGHTS = {"cpu": 2**19, "gpu": 2**29, "tpu": 2**27}
_CHUNK_ROWS = {"cpu": 2**20, "gpu": 2**30, "tpu": 2**28}
_CHUNK_MODELS = {"cpu": 2**13, "gpu": 2**19, "tpu": 2**17}
_FEWEST_FUSED = 2**9
LEAST = {"fused": 16, "mapped": 4, "plain": 16}


def chunk_size(objective: Objective, n_features: int, form: Form, models: int | None) -> int:
    """Models of one chunk and stream on one device, which gets so many in all (None: whatever it gets).

    Chunks are about equal, in a few sizes if rows are fixed, as padding costs less there than compiling for another
    size. Streams do not share a chunk: each draws its own minibatches, and only many models make up for the draw. A
    multiple of 16 (4 of the large models of the mapped form) fills vector registers, so that a model's numbers do not
    depend on how many others there are; in the plain form they may, by rounding.
    """
    backend = jax.default_backend()
    least = LEAST[form]
    if objective.weighted or (form == "plain" and backend != "cpu"):
        affordable = _CHUNK_WEIGHTS[backend] // (objective.n_rows * n_features)
        wanted = max(affordable, min(_FEWEST_FUSED, 8 * affordable)) if form == "fused" else affordable
    else:
        wanted = _CHUNK_ROWS[backend] // objective.n_rows
    most = max(least, min(wanted, _CHUNK_MODELS[backend]) // least * least)
    if models is None:
        return most
    unit = max(least, most // 16 // least * least) if objective.fixed else least
    share = -(-models // -(-models // most))
    return min(most, -(-share // unit) * unit)
