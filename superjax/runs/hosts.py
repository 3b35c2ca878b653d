"""Several processes at one run, under `jax.distributed`.

Each trains its share of the chunks on its own devices and writes its own files; the first says what is to be done,
waits for all, and does what is left. They meet in the run's folder, which all must see, and talk through the store of
JAX's coordinator; no collective runs.
"""

import errno
import hashlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
from jax._src.distributed import global_state  # its client is the only way to the coordinator's store

from superjax.disk.files import checksum
from superjax.errors import clip
from superjax.spec import SweepError
from superjax.system import interrupt, terminal

_SECONDS = 0.2  # between two looks at the folder
_LAST_WORDS = 10.0  # seconds that the first process waits for the others to leave
_UNSEEN = 30.0  # seconds that another host's file may take to be seen
_PATIENCE = 20.0  # seconds between two lines that say for whom this process waits
_joined = _agreed = False
_claimed: socket.socket | None = None
_leaving = threading.Event()
_KEYS = ("plan", "answer", "share", "end", "stop", "left")
_PLAN, _ANSWER, _SHARE, _END, _STOP, _LEFT = (f"superjax/{key}" for key in _KEYS)


def join(where: str) -> None:
    """Become one of several processes: HOST:PORT,PROCESSES,PROCESS, or "auto" where JAX finds that out itself.

    Raises SweepError if that is impossible, as far as it can be seen from here: JAX ends the process, without Python,
    where the port is in use or two processes have one number.
    """
    arguments: dict[str, Any] = {}
    host = ""
    if where != "auto":
        host, port, processes, process = _parsed(where)
        if process == 0:
            _try_port(where, port)
        _claim(where, f"{host}:{port},{process}")
        arguments = {"coordinator_address": f"{host}:{port}", "num_processes": processes, "process_id": process}
    failures: list[Exception] = []

    def initialise() -> None:
        try:
            jax.distributed.initialize(**arguments)
        except Exception as error:  # of JAX, or of what it finds in the environment
            failures.append(error)

    waiting = threading.Thread(target=initialise, daemon=True)  # in C++, where no signal is heard
    waiting.start()
    while waiting.is_alive():
        waiting.join(_PATIENCE)
        if waiting.is_alive():
            whom = f"the host {host}, which is unknown here" if host and _is_unknown(host) else "the other processes"
            terminal.warn(f"--distributed {where}: waits for {whom}")
    if failures:
        reason = (str(failures[0]) or type(failures[0]).__name__).splitlines()[0]
        known = "\n  JAX knows the processes of Slurm, Open MPI and TPU pods; else HOST:PORT,PROCESSES,PROCESS"
        raise SweepError(f"--distributed {where}: {reason}{known if where == 'auto' else ''}")
    global _joined
    _joined = True


def _parsed(where: str) -> tuple[str, int, int, int]:
    """Host, port, how many processes, and which of them, from 0. Raises SweepError."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^\s,:\[\]]+):([0-9]{1,5}),([0-9]{1,5}),([0-9]{1,5})", where)
    if match:
        port, processes, process = map(int, match.group(2, 3, 4))
        if 0 < port < 2**16 and process < processes:
            return match[1], port, processes, process
    raise SweepError(
        f"--distributed {clip(where)}: must be auto or HOST:PORT,PROCESSES,PROCESS, with a port below 65536 and\n"
        "processes counted from 0 to PROCESSES - 1; an IPv6 address in brackets, as [::1]:1234,2,0"
    )


def _try_port(where: str, port: int) -> None:
    """Raise SweepError if the first process cannot listen on its port, on all interfaces as JAX does."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of a run that has just ended
        try:
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(("", port))
            listener.listen()
        except OSError as error:
            raise SweepError(f"--distributed {where}: port {port} cannot be used here: {error.strerror}") from error


def _claim(where: str, identity: str) -> None:
    """Hold a number among the processes of a coordinator until this process ends. Raises SweepError if another process
    of this machine has it (on Linux; elsewhere, and between machines, that is not seen)."""
    global _claimed
    if not sys.platform.startswith("linux"):
        return
    name = hashlib.sha256(identity.encode()).hexdigest()
    claim = socket.socket(socket.AF_UNIX)  # of an abstract name: there is no file, and it is free however one ends
    try:
        claim.bind(f"\0superjax-{name}")
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRINUSE:
            raise SweepError(f"--distributed {where}: another process here has that number") from error
    else:
        _claimed = claim


def _is_unknown(host: str) -> bool:
    try:
        socket.getaddrinfo(host.strip("[]"), None)
    except OSError:
        return True
    return False


def is_first() -> bool:
    return jax.process_index() == 0


def tell(plan: dict[str, Any]) -> None:
    """In the first process: let the others hear what is to be done. Raises SweepError if one of them cannot do it."""
    _set(_PLAN, json.dumps(plan))
    for process in range(1, jax.process_count()):
        if (answer := _get(f"{_ANSWER}/{process}")) and "error" not in plan:
            raise SweepError(f"process {process}: {answer}")
    global _agreed
    _agreed = "error" not in plan


def hear() -> dict[str, Any]:
    """In the others: what the first process says, once it does."""
    return json.loads(_get(_PLAN))


def answer(problem: str) -> None:
    """In the others: say why the plan cannot be followed, or "" if it can."""
    global _agreed
    _agreed = not problem
    _set(f"{_ANSWER}/{jax.process_index()}", problem)


def share_done() -> None:
    """In the others: say that their share is trained."""
    _set(f"{_SHARE}/{jax.process_index()}", "done")


def wait_for_shares(complete: Callable[[], bool]) -> None:
    """In the first process: until all chunks are there, or have had time to appear after all others were done."""
    deadline = float("inf")
    while not complete() and time.monotonic() < deadline:
        time.sleep(_SECONDS)
        processes = range(1, jax.process_count())
        if deadline == float("inf") and all(_get(f"{_SHARE}/{k}", time.monotonic() + 0.01) for k in processes):
            deadline = time.monotonic() + _UNSEEN


def sees(file: Path, digest: str) -> bool:
    """Whether a file with that SHA-256 is, or within some seconds comes to be, seen from here."""
    deadline = time.monotonic() + _UNSEEN
    while time.monotonic() < deadline:
        with suppress(OSError):
            if checksum(file) == digest:
                return True
        time.sleep(_SECONDS)
    return False


def end(status: int) -> None:
    """In the first process: say that the run is over."""
    _leaving.set()
    _set(_END, str(status))


def wait_for_end() -> int:
    """In the others: the status with which the first process ends, once it does."""
    return int(_get(_END))


@contextmanager
def together():
    """While this process takes part: what ends it early stops the others too, but for the refusals that `tell` and
    `answer` pass on."""

    def stop_when_told() -> None:
        with suppress(jax.errors.JaxRuntimeError):  # the first process has left
            reason = _get(_STOP)
            if not _leaving.is_set():
                interrupt.ask(reason)

    threading.Thread(target=stop_when_told, daemon=True).start()
    try:
        yield
    except BaseException as error:
        _leaving.set()
        interrupt.caught()
        if _agreed or not isinstance(error, SweepError):
            what = "was interrupted" if isinstance(error, interrupt.Interrupted) else f"failed: {error}"
            if isinstance(error, OSError) and error.filename:
                what = f"failed: {error.filename}: {error.strerror}"
            with suppress(jax.errors.JaxRuntimeError):
                _set(_STOP, f"process {jax.process_index()} {what}")
        raise


def leave() -> None:
    """The last thing before a process ends. The first one waits for the others, whom JAX kills once it is gone."""
    if not _joined:
        return
    with suppress(jax.errors.JaxRuntimeError):
        if not is_first():
            _set(f"{_LEFT}/{jax.process_index()}", "yes")
            return
        deadline = time.monotonic() + _LAST_WORDS
        for process in range(1, jax.process_count()):
            _get(f"{_LEFT}/{process}", deadline)
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
