"""What is to be done to a model: in which parts it is trained, and with which learning rate at every step."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from superjax.problem.expectation import Objective
from superjax.spec import Train


class Part(NamedTuple):
    """A part of training: what is minimised, and the step at which it ends."""

    objective: Objective
    end: int


@dataclass(frozen=True, eq=False)
class Plan:
    """How models are trained: in which parts, with which factor of the learning rate at every step, the seed of all
    random numbers, and after which steps weights are kept."""

    parts: Sequence[Part]
    factors: Float[np.ndarray, " steps"]
    seed: int
    snapshots: Sequence[int] = ()


def schedule_factors(train: Train) -> Float[np.ndarray, " steps"]:
    """The learning rate's factor at every step: linear warm-up from 0, then the schedule."""
    return _factors(train.schedule, train.steps, train.warmup_steps)


@functools.lru_cache(maxsize=16)
def _factors(kind: str, steps: int, warmup_steps: int) -> Float[np.ndarray, " steps"]:
    decay = steps - warmup_steps
    after = {
        "constant": lambda: optax.constant_schedule(1.0),
        "cosine": lambda: optax.cosine_decay_schedule(1.0, max(decay, 1)),
        "linear": lambda: optax.linear_schedule(1.0, 0.0, max(decay, 1)),
    }[kind]()
    warmup = optax.linear_schedule(0.0, 1.0, max(warmup_steps, 1))
    schedule = optax.join_schedules([warmup, after], [warmup_steps])
    return np.broadcast_to(jax.jit(schedule)(jnp.arange(steps, dtype=jnp.float32)), (steps,))
