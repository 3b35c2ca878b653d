"""Strict numerics, checked shapes, one device of two; sweeps made from text."""

import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

# What one process of the session compiles serves the others: workers and the runs that tests start inherit this.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _programs = tempfile.TemporaryDirectory(prefix="superjax-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax
import pytest
from beartype import BeartypeConf
from beartype.claw import beartype_package
from hypothesis import settings
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from superjax.spec import Case

# A shell lets what it starts in the background ignore these, and so does nohup, and their children too. With a handler
# that does nothing this process still ignores them, but its children, and superjax in it, do not.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
jax.config.update("jax_num_cpu_devices", 2)
_devices, _used = jax.local_devices, [1]
jax.local_devices = lambda *arguments, **keywords: _devices(*arguments, **keywords)[: _used[0]]  # one compiles faster
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# The annotations of the package are checked at every call, those of shapes only in modules that name any: that check
# takes longer than many a function does. Its hook alone allows imports under TYPE_CHECKING, and can be switched off,
# which tests of wrong input need.
_package = Path(find_spec("superjax").origin).parent
_files = [file for file in _package.rglob("*.py") if re.search("from jaxtyping|TYPE_CHECKING", file.read_text())]
_shaped = [".".join(file.relative_to(_package.parent).with_suffix("").parts) for file in _files]
_called = "errors runs.api spec.loading spec.names spec.overrides spec.sweep spec.sweep_files studies.claim".split()
install_import_hook([*_shaped, *(f"superjax.{name}" for name in _called)], "beartype.beartype")
beartype_package("superjax", conf=BeartypeConf(claw_is_pep526=False))
settings.register_profile("superjax", deadline=None, derandomize=True, database=None)
settings.load_profile("superjax")

SMALL = """
n_features = 2
n_hidden = 1
restarts = 4
[axes.importance]
field = "importance[-1]"
scale = "log"
range = [0.2, 5]
points = 3
[axes.density]
field = "data.density"
scale = "log"
range = [1, 0.1]
points = 2
"""


def settled(said: str) -> str:
    """What a process said, but for the lines that a busy machine makes it say."""
    return "".join(line for line in said.splitlines(keepends=True) if not line.endswith(" s so far)\n"))


@pytest.fixture
def two_devices() -> Iterator[None]:
    """Both devices, and programs of their own."""
    from superjax.engine import engine  # after the hook

    engine.program.cache_clear()
    _used[0] = 2
    yield
    _used[0] = 1
    engine.program.cache_clear()


@pytest.fixture(scope="session")
def make_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., "Case"]:
    """The only case of a sweep file, by default of 3 importances x 2 densities, n = 2, m = 1."""

    from superjax.spec import load  # after the hook

    def make(*overrides: str, text: str = SMALL) -> "Case":
        file = tmp_path_factory.mktemp("sweep") / "small.toml"
        file.write_text(text)
        sweep = load(file)
        for override in overrides:  # one by one: a later one may repeat an earlier one's key
            sweep = sweep.override(override)
        (case,) = sweep.cases.values()
        return case

    return make


# Files whose tests neither train models nor start processes.
QUICK = frozenset(
    "active_counts adaptive analysis boundaries branches canvas claims data directions geometry grid machine neurons"
    " phases random ranks rooms spec spec_numbers spec_sizes terminal theory transitions".split()
)

# Those that take longest begin first, so that no worker is left with one of them at the end.
LONG = "engine sweep processes parts_of_a_problem studies recipes notebooks faults growth checkpoint members".split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of other files than the quick ones, and heavy ones, are slow; the longest files come first."""
    for item in items:
        of_tests = item.path.name.startswith("test_")
        if of_tests and item.path.stem.removeprefix("test_") not in QUICK or "heavy" in item.keywords:
            item.add_marker(pytest.mark.slow)
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem.removeprefix("test_"), len(LONG)))
