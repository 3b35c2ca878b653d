"""What the functions on plain arrays may be given: each check raises ValueError, in one line."""

from typing import Any

import numpy as np
from jaxtyping import Float

_ROUNDING = 1e-12  # of the last point of a grid


def numbers(
    name: str,
    value: Any,
    least: float | int = -np.inf,
    most: float | int = np.inf,
    above: bool = False,
    finite: bool = True,
) -> Float[np.ndarray, "..."]:
    """`value` as float64. Raises ValueError if it is no real numbers, or an entry is not from `least` (`above` it if so
    said) to `most`, up to rounding, or is NaN or infinite, unless numbers need not be `finite`."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be real numbers, is {_short(value)}") from None
    right = (array > least if above else array >= least) & (array <= most + _ROUNDING) & np.isfinite(array)
    if finite and not right.all():
        low, high = "(" if above or least == -np.inf else "[", ")" if most == np.inf else "]"
        raise ValueError(f"{name} = {array[~right].flat[0]:g}: must lie in {low}{least:g}, {most:g}{high}")
    return array


def count(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """`value` as an int. Raises ValueError if it is no whole number from `least` to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} = {_short(value)}: must be a whole number, {bounds}")
    return int(value)


def vectors(**arrays: np.ndarray) -> int:
    """n_features of arrays (..., n_features), which broadcast: one number stands for all features. Raises ValueError if
    they do not."""
    try:
        return np.broadcast_shapes((1,), *(array.shape for array in arrays.values()))[-1]
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"shapes (..., n_features) must broadcast, are {shapes}") from None


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
