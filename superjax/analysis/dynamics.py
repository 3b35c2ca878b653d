"""How fast something changes during training, on a logarithmic scale of steps, when the loss drops, and what jumps: a
change within a bounded factor of steps that a smooth curve of the same ends does not make."""

import numpy as np
from jaxtyping import Float, Int, Num


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
    from scipy.signal import find_peaks  # half a second to import

    falling = -speed(step, np.log(loss))
    return np.asarray(find_peaks(falling, prominence=prominence * falling.max(initial=0.0) + 1e-12)[0])


def largest_change(
    step: Num[np.ndarray, " snapshots"], values: Float[np.ndarray, "snapshots curves"], factor: float
) -> tuple[Float[np.ndarray, " curves"], Int[np.ndarray, " curves"]]:
    """The largest change of each curve within a factor of steps, and the snapshot nearest to the middle of it.

    Curves are linear in ln(step) between snapshots; what begins too late for the whole factor ends at the last one.

    Example:
        >>> step = np.array([1, 10, 100, 1000])
        >>> largest_change(step, np.array([[0.0], [0.0], [0.5], [0.5]]), 10.0)[0].tolist()
        [0.5]
    """
    x, width = np.log(step), np.log(factor)
    later = np.stack([np.interp(x + width, x, curve) for curve in values.T], axis=1)
    earlier = np.stack([np.interp(x - width, x, curve) for curve in values.T], axis=1)
    changes = np.abs(np.concatenate([later - values, values - earlier]))
    begin = np.concatenate([x, x - width])
    which = changes.argmax(0)
    at = np.abs(x - (begin[which] + width / 2)[:, None]).argmin(1)
    return np.asarray(changes.max(0)), at


def smooth(
    step: Num[np.ndarray, " snapshots"],
    first: Float[np.ndarray, " curves"],
    last: Float[np.ndarray, " curves"],
) -> Float[np.ndarray, "snapshots curves"]:
    """Curves that nothing jumps in: logistic in ln(step), from one value to another over all of the steps (from 1% to
    99% of the way, stretched to reach both).

    Example:
        >>> smooth(np.array([1, 10, 100]), np.array([0.0]), np.array([0.5])).ravel().round(2).tolist()
        [0.0, 0.25, 0.5]
    """
    x = np.log(step)
    way = (x - x[0]) / (x[-1] - x[0]) - 0.5
    rising = 1 / (1 + np.exp(-2 * np.log(99) * way))
    rising = (rising - rising[0]) / (rising[-1] - rising[0])
    return first + (last - first) * rising[:, None]
