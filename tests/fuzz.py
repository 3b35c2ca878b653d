"""Sweep files and runs that nobody wrote: whatever they say, they run or are refused in so many words.

    python -m tests.fuzz [--files 20000] [--runs 300] [--seed 0]

Files are loaded: the only exception is SweepError, of at most six short lines without control characters, within
seconds; a sweep that is accepted is written out and loads to the same cases. Runs go through the command line, in this
process: exit status 0 or 2, nothing silent for more than five seconds, and what ran is drawn again under random
thresholds. Exits with 1 and prints the input if anything else happens. Some six minutes on two cores.
"""

import argparse
import contextlib
import io
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from superjax import SweepError, load, sweep
from superjax.spec import packaged, parse
from superjax.spec.emit import toml

SILENCE = 5.0  # seconds
LINES, WIDTH = 6, 600  # of a message

NUMBERS = [0, 1, -1, 2, 3, 5, 8, 0.5, 0.1, 1e-3, 0.999, 1.0, 1e-8, 1e-40, 1e-46, 1e-300, 1e39, 1e300, 10**9, 2**31 - 1,
           2**31, 2**63, 10**30, -0.0, float("nan"), float("inf")]  # fmt: skip
TEXTS = ["", "exact", "minibatch", "quasi", "adam", "adamw", "sgd", "lion", "rmsprop", "notebook", "linear", "sets",
         "relu_output", "independent", "nowhere:Class", "os:path", "cosine", "log", "density", "2 digons", "pentagon",
         "phase_diagram", "no study", "$x_{$", "\x1b[31m", "ü", "日本", "a b", "../x", "é" * 300, "\u202e"]  # fmt: skip
FIELDS = ["n_features", "n_hidden", "restarts", "seed", "importance", "importance.ratio", "importance[-1]", "optimum",
          "title", "section", "study", "preset", "model.kind", "model.init_std", "data.kind", "data.density",
          "data.density[0]", "data.density[7]", "data.set_size", "data.correlation", "phases.represented",
          "phases.superposed", "plot.dpi", "plot.threshold", "cases", "case", "axes", "families", "lr", "sparsity",
          "x" * 2000, "train.snapshots", "train.nodes", "train.streams", "train.skip_empty", "train.objective",
          "train.optimizer", "train.schedule", "train.normalize", "train.steps", "train.batch", "train.warmup_steps",
          "train.learning_rate", "train.weight_decay", "train.b1", "train.b2", "train.eps", "train.momentum",
          "train.clip_norm", "families.f.W", "families.f.along", "families.f.start",
          "families.f.method", "families.f.kick", "axes.a.field", "axes.a.fields",
          "axes.a.values", "axes.a.range", "axes.a.points", "axes.a.scale", "axes.a.label", "axes.b.field",
          "axes.b.values", "case.c.n_hidden", "case.c.axes.a.values", "cases.n_hidden"]  # fmt: skip


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any value of TOML, more often one that means something somewhere."""
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(NUMBERS)
    if kind < 0.6:
        return rng.choice(FIELDS if rng.random() < 0.3 else TEXTS)
    if kind < 0.7:
        return rng.random() < 0.5
    if kind < 0.95 or depth > 2:
        return [value(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 2, 3, 5]))] if depth < 3 else 1
    return {rng.choice(["ratio", "a", "values", ""]): value(rng, depth + 1) for _ in range(rng.randrange(3))}


def plausible(rng: random.Random) -> dict[str, Any]:
    """A small sweep that is nearly always accepted."""
    n, objective = rng.choice([1, 2, 3, 4]), rng.choice(["exact", "exact", "quasi", "minibatch"])
    optimizer = rng.choice(["adam", "adamw", "sgd", "rmsprop", "lion"])
    tree: dict[str, Any] = {
        "n_features": n,
        "n_hidden": rng.randint(1, n),
        "restarts": rng.randint(1, 3),
        "importance": rng.choice([1, [1.0] * n, {"ratio": 0.9}]),
        "model": {"kind": rng.choice(["relu_output", "relu_output", "linear"]), "init_std": rng.choice([0.1, 0.4, 3])},
        "train": {"objective": objective, "steps": rng.choice([1, 5, 20]), "optimizer": optimizer,
                  "learning_rate": rng.choice([0.001, 0.03, 1, 100])},
    }  # fmt: skip
    if objective != "exact":
        tree["train"]["batch"] = 64
    if rng.random() < 0.3:
        tree["data"] = {"kind": "sets", "set_size": n, "correlation": rng.choice([-1, 0, 0.5, 1])}
    if rng.random() < 0.3:
        tree["train"]["snapshots"] = rng.choice([1, [0, 1]])
    if rng.random() < 0.2:
        tree["title"] = rng.choice([*TEXTS, "a very long title " * 12])
    swept = [("data.density", [[0.1, 1], [0.5], [1, 0.05, 0.3], [1e-30, 1]]), ("importance", [[1, 2], [1e-6, 1e6]]),
             ("train.learning_rate", [[0.01, 0.1], [1e30]]), ("model.init_std", [[0.1, 1e-20], [1, 1e19]])]  # fmt: skip
    axes = rng.sample(swept, rng.choice([0, 1, 1, 2, 2, 3]))
    for name, (field, values) in zip("abc", axes, strict=False):
        if field != "importance" or tree["importance"] == 1:
            tree.setdefault("axes", {})[name] = {"field": field, "values": rng.choice(values)}
    if rng.random() < 0.25 and "axes" in tree:
        tree["optimum"] = True
    return tree


def with_accidents(rng: random.Random, tree: dict[str, Any], count: int) -> str:
    """The sweep's text, with values replaced or added, and now and then characters too."""
    flat = dict(_flat(tree))
    for _ in range(count):
        flat[rng.choice(FIELDS)] = value(rng)
    text = "\n".join(f"{key} = {_toml(entry)}" for key, entry in flat.items()) + "\n"
    if rng.random() < 0.1:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(["\0", "=", "[", '"', "\n", "\r", "é", "[axes]", "# "]) + text[at + 1 :]
    return text


def _flat(tree: dict[str, Any], prefix: str = ""):
    for key, entry in tree.items():
        if isinstance(entry, dict) and key != "importance":
            yield from _flat(entry, f"{prefix}{key}.")
        else:
            yield prefix + key, entry


def _toml(entry: Any) -> str:
    return toml(entry).replace("True", "true").replace("False", "false")


def overrides(rng: random.Random) -> list[str]:
    """Overrides as somebody may type them."""
    words = []
    for _ in range(rng.choice([0, 0, 1, 2])):
        entry = _toml(value(rng)) if rng.random() < 0.8 else rng.choice(TEXTS)
        words.append(f"{rng.choice(FIELDS)}{rng.choice(['=', '=', '=', '', ' = ', '[0]=', '.x='])}{entry}")
    return words


def check_message(text: str) -> None:
    lines = text.split("\n")
    assert len(lines) <= LINES, f"{len(lines)} lines"
    assert max(map(len, lines)) <= WIDTH, f"a line of {max(map(len, lines))} characters"


class Found:
    """What was seen how often, and what was not to happen, with the input."""

    def __init__(self):
        self.seen: Counter = Counter()
        self.faults = 0

    @contextlib.contextmanager
    def watching(self, given: str):
        try:
            yield
        except Exception as error:
            self.faults += 1
            print(f"-- fault {self.faults}: {given}", flush=True)
            traceback.print_exception(error, limit=-4)


def fuzz_files(count: int, seed: int, found: Found) -> None:
    """Load sweep files."""
    texts = [path.read_text() for path in packaged.sweeps().values()]
    for number in range(count):
        rng = random.Random(f"{seed} file {number}")
        if rng.random() < 0.2:
            text, words = rng.choice(texts), overrides(rng) + overrides(rng)
        else:
            text, words = with_accidents(rng, plausible(rng), rng.choice([0, 1, 1, 2, 3])), overrides(rng)
        Path("fuzzed.toml").write_text(text, encoding="utf-8", errors="surrogatepass")
        with found.watching(f"file {number}: {words}\n{text}"):
            start = time.monotonic()
            found.seen[_loaded(words)] += 1
            assert (seconds := time.monotonic() - start) < SILENCE, f"{seconds:.1f} s"


def _loaded(words: list[str]) -> str:
    try:
        loaded = load("fuzzed.toml", *words)
    except SweepError as error:
        check_message(str(error))
        return "files refused"
    again = parse(loaded.to_toml(), Path("fuzzed.toml"))
    assert not again.differences(loaded), again.differences(loaded)
    assert again.to_toml() == loaded.to_toml()
    return "files accepted"


class Watched(io.StringIO):
    """A stream that knows for how long nobody was told what is being done."""

    def __init__(self):
        super().__init__()
        self._last, self._told, self.longest = time.monotonic(), False, 0.0

    def look(self) -> None:
        now = time.monotonic()
        if not self._told:
            self.longest = max(self.longest, now - self._last)
        self._last = now

    def write(self, text: str) -> int:
        self.look()
        self._told = "so far)" in text or ": training " in text
        return super().write(text)


def command(*arguments: str) -> tuple[int, str]:
    """The command line in this process: its exit status and all that it printed; it is never silent for long."""
    stream = Watched()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        status = sweep.main(list(arguments))
    stream.look()
    said = stream.getvalue()
    assert all(line.isprintable() for line in re.split("[\n\r]", said)), f"control characters: {said!r}"
    assert stream.longest < SILENCE, f"silent for {stream.longest:.1f} s\n{said}"
    return status, said


def fuzz_runs(count: int, seed: int, found: Found) -> None:
    """Run sweeps, and draw them again under other thresholds."""
    for number in range(count):
        rng = random.Random(f"{seed} run {number}")
        text = with_accidents(rng, plausible(rng), rng.choice([0, 0, 0, 1]))
        Path(f"run{number}.toml").write_text(text, encoding="utf-8", errors="surrogatepass")
        with found.watching(f"run {number}\n{text}"):
            found.seen[_run(f"run{number}", rng)] += 1


def _run(name: str, rng: random.Random) -> str:
    arguments = (f"{name}.toml", "plot.dpi=50", "--out", "out")
    status, said = command(*arguments)
    assert status in (0, 2), f"exit status {status}\n{said}"
    if status == 2:
        check_message(said.strip("\n"))
        assert not Path("out", name).exists(), f"a refusal left a folder\n{said}"
        return "runs refused"
    thresholds = [
        f"phases.{name}={rng.choice([1e-6, 0.01, 0.3, 0.9, 3, 1e6])}" for name in ("represented", "superposed")
    ]
    status, said = command(*arguments, *thresholds, "--figures-only")
    assert status == 0, f"redraw with {thresholds}: exit status {status}\n{said}"
    return "runs drawn again"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments, found = parser.parse_args(), Found()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        fuzz_files(arguments.files, arguments.seed, found)
        fuzz_runs(arguments.runs, arguments.seed, found)
    print(f"{dict(found.seen)}, {found.faults} faults")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
