"""How long things take."""

import time
from contextlib import contextmanager


@contextmanager
def timed(seconds: dict[str, float], phase: str):
    """Add the seconds that the body takes to a phase."""
    start = time.perf_counter()
    yield
    seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start
