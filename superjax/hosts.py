"""Several processes at one run, under `jax.distributed`.

Each trains its share of the chunks on its own devices and writes its own files; the first says what is to be done,
waits for all, and does what is left. They meet in the run's folder, which all must see, and talk through the store of
JAX's coordinator; no collective runs.
"""

import json
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import Any

import jax
from jax._src.distributed import global_state  # its client is the only way to the coordinator's store

from superjax import interrupt
from superjax.spec import SweepError

_SECONDS = 0.2  # between two looks at the folder
_LAST_WORDS = 10.0  # seconds that the first process waits for the others to leave
_PLAN, _END, _ANSWER, _LEFT, _STOP = (f"superjax/{key}" for key in ("plan", "end", "answer", "left", "stop"))


def join(where: str) -> None:
    """Become one of several processes: HOST:PORT,PROCESSES,PROCESS, or "auto" where JAX finds that out itself.

    Raises SweepError if that is impossible.
    """
    arguments: dict[str, Any] = {}
    if where != "auto":
        match = re.fullmatch(r"([^,]+:(\d+)),(\d+),(\d+)", where)
        if not match or not (0 < int(match[2]) < 2**16 and int(match[4]) < int(match[3])):
            raise SweepError(f"--distributed {where}: must be auto or HOST:PORT,PROCESSES,PROCESS (from 0)")
        arguments = {
            "coordinator_address": match[1],
            "num_processes": int(match[3]),
            "process_id": int(match[4]),
        }
    print(f"superjax: --distributed {where}: waiting up to five minutes for all processes", file=sys.stderr)
    try:
        jax.distributed.initialize(**arguments)
    except (ValueError, RuntimeError) as error:
        raise SweepError(
            f"--distributed {where}: {str(error).splitlines()[0]}\n"
            "  JAX knows the processes of Slurm, Open MPI, Kubernetes and TPU pods; else HOST:PORT,PROCESSES,PROCESS"
        ) from None


def is_first() -> bool:
    return jax.process_index() == 0


def tell(plan: dict[str, Any]) -> None:
    """In the first process: let the others hear what is to be done. Raises SweepError if one of them cannot do it."""
    _set(_PLAN, json.dumps(plan))
    for process in range(1, jax.process_count()):
        if answer := _get(f"{_ANSWER}/{process}"):
            raise SweepError(f"process {process}: {answer}")


def hear() -> dict[str, Any]:
    """In the others: what the first process says, once it does."""
    return json.loads(_get(_PLAN))


def answer(problem: str) -> None:
    """In the others: say why the plan cannot be followed, or "" if it can."""
    _set(f"{_ANSWER}/{jax.process_index()}", problem)


def end(status: int) -> None:
    """In the first process: say that the run is over."""
    _set(_END, str(status))


def wait_for_end() -> int:
    """In the others: the status with which the first process ends, once it does."""
    return int(_get(_END))


@contextmanager
def together():
    """While this process takes part: what ends it early stops the others too, but for a refusal, which `tell` and
    `answer` pass on. The first one leaves last: the others talk through it."""
    leaving = threading.Event()

    def stop_when_told() -> None:
        with suppress(jax.errors.JaxRuntimeError):  # the first process has left
            reason = _get(_STOP)
            if not leaving.is_set():
                interrupt.ask(reason)

    threading.Thread(target=stop_when_told, daemon=True).start()
    try:
        yield
    except SweepError:
        raise
    except BaseException as error:
        leaving.set()
        interrupt.caught()
        what = "was interrupted" if isinstance(error, interrupt.Interrupted) else f"failed: {error}"
        with suppress(jax.errors.JaxRuntimeError):
            _set(_STOP, f"process {jax.process_index()} {what}")
        raise
    finally:
        with suppress(jax.errors.JaxRuntimeError):
            _leave()


def _leave() -> None:
    if not is_first():
        _set(f"{_LEFT}/{jax.process_index()}", "yes")
        return
    deadline = time.monotonic() + _LAST_WORDS
    for process in range(1, jax.process_count()):
        _get(f"{_LEFT}/{process}", deadline)


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(_SECONDS)


def _store() -> Any:
    return global_state.client


def _set(key: str, value: str) -> None:
    _store().key_value_set(key, f"={value}", allow_overwrite=True)  # the store takes no empty values


def _get(key: str, deadline: float = float("inf")) -> str:
    while time.monotonic() < deadline:
        try:
            return _store().blocking_key_value_get(key, 500).removeprefix("=")
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
    return ""
