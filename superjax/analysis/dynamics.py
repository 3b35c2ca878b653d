"""How fast something changes during training, on a logarithmic scale of steps, and when the loss drops."""

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.signal import find_peaks


def speed(
    step: Num[np.ndarray, " snapshots"], values: Float[np.ndarray, "snapshots ..."]
) -> Float[np.ndarray, "snapshots ..."]:
    """d values / d ln(step), for steps > 0."""
    return np.asarray(np.gradient(values.astype(float), np.log(step), axis=0))


def drops(
    step: Num[np.ndarray, " snapshots"], loss: Float[np.ndarray, " snapshots"], prominence: float = 0.05
) -> Int[np.ndarray, " drops"]:
    """The snapshots at which the loss falls fastest: local maxima of -d ln(loss) / d ln(step) that stand out from
    their surroundings by a part of the largest one."""
    falling = -speed(step, np.log(loss))
    return np.asarray(find_peaks(falling, prominence=prominence * falling.max(initial=0.0) + 1e-12)[0])
