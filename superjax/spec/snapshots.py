"""The steps of training after which weights are kept."""

import bisect

import numpy as np

from superjax.spec.fields import Train


def snapshot_steps(train: Train) -> list[int]:
    """The steps after which weights are kept: as listed, or that many log-spaced ones up to the last. Where these
    would be less than a step apart, every step is one, and only what follows is log-spaced."""
    if isinstance(train.snapshots, list):
        return train.snapshots
    count, last = train.snapshots, train.steps
    if len(spaced := _log_spaced(1, last, count)) == count:
        return spaced
    # The first of the log-spaced: the smallest step from which they are a step apart or more.
    first = 1 + bisect.bisect_left(
        range(1, count), True, key=lambda first: (last / first) ** (1 / (count - first)) * first >= first + 1
    )
    return [*range(1, first), *_log_spaced(first, last, count - first + 1)]


def _log_spaced(first: int, last: int, count: int) -> list[int]:
    return sorted({int(round(step)) for step in np.geomspace(last, first, count)})
