"""Shapes of what is kept of a model."""

import jax
import numpy as np


def float32(*shape: int) -> jax.ShapeDtypeStruct:
    """An array of floats."""
    return jax.ShapeDtypeStruct(shape, np.float32)
