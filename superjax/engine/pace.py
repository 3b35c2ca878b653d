"""How many steps a call of a compiled program takes."""

from collections.abc import Sequence

import numpy as np

BLOCK = 1000  # steps of one call at most
_CALL_SECONDS = 0.3


class Pace:
    """How many steps a call takes: about a third of a second's, at most BLOCK.

    Between calls there is progress, interrupts and snapshots. On CPU they also cost: devices that wait for the next
    call may wake up on the same core.
    """

    def __init__(self):
        self.steps = 10

    def end(self, first: int, stops: Sequence[int]) -> int:
        """Where a call from step `first` ends: at the next of the stops, or before."""
        return min(first + self.steps, min(stop for stop in stops if stop > first))

    def record(self, steps: int, seconds: float) -> None:
        """What a call of so many steps took."""
        self.steps = int(np.clip(steps * _CALL_SECONDS / max(seconds, 1e-9), 1, BLOCK))
