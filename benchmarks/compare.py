"""Time superjax and a PyTorch batched loop on the same models, one after the other.

    python -m benchmarks.compare [WORKLOAD ...] [--repeats 5] [--steps N] [--out benchmarks/results] [--list]

README.md says what is measured and how to read it. Exit status: 0 done; 1 the two did not train to the same loss;
2 the command is wrong.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

import superjax
from benchmarks import pytorch_loop
from superjax.store import environment, write_json, write_text

LOOPS = {"fresh": False, "shared": True}  # whether the PyTorch loop shares one batch among the models
RESULTS = Path("benchmarks/results")
WARM_UP_STEPS = 3  # of PyTorch, which compiles nothing
CHECK_STEPS = 500
TOLERANCE = 0.05  # how far the mean losses of the two may be apart, relative

SWEEP = """
preset = "notebook"
restarts = 1
n_features = {n_features}
n_hidden = {n_hidden}

[model]
kind = "relu_output"

[train]
objective = "minibatch"
optimizer = "adamw"
batch = {batch}

[axes.density]
field = "data.density"
values = {densities}

[axes.importance]
field = "importance[-1]"
values = {importances}
"""


@dataclass(frozen=True)
class Workload:
    """A grid of ReLU output models, densities x importances of the last feature, and the steps of a timed run.

    superjax takes more steps than PyTorch so that the runs of both last about as long, a second or more.
    """

    n_features: int
    n_hidden: int
    n_densities: int
    n_importances: int
    steps: int
    torch_steps: int
    check_steps: int = CHECK_STEPS
    batch: int = 1024

    @property
    def name(self) -> str:
        return f"n{self.n_features}_m{self.n_hidden}"

    @property
    def models(self) -> int:
        return self.n_densities * self.n_importances

    @cached_property
    def densities(self) -> Float[np.ndarray, " densities"]:
        return np.geomspace(1, 0.01, self.n_densities)

    @cached_property
    def importances(self) -> Float[np.ndarray, " importances"]:
        return np.geomspace(0.1, 10, self.n_importances)

    def sweep(self, **train: object) -> superjax.Sweep:
        """The sweep file of these models, with fields of `train` set."""
        text = SWEEP.format(**asdict(self), densities=self.densities.tolist(), importances=self.importances.tolist())
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{self.name}.toml"
            file.write_text(text, encoding="utf-8")
            return superjax.load(file, *(f"train.{key}={value}" for key, value in train.items()))

    def initial_weights(self) -> Float[np.ndarray, "models m n"]:
        """Weights that both start from, as wide as the notebook's Xavier call makes them."""
        std = np.sqrt(2 / ((self.n_features + self.models) * self.n_hidden))
        shape = (self.models, self.n_hidden, self.n_features)
        return (std * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)

    def run_superjax(self, sweep: superjax.Sweep, W: np.ndarray, b: np.ndarray | None = None) -> xr.Dataset:
        """Run a sweep of these models from the weights W (models, m, n) and biases b, zero by default."""
        given = {"W": W} if b is None else {"W": W, "b": b}
        grid = (self.n_densities, self.n_importances, 1)
        init = {name: values.reshape(*grid, *values.shape[1:]) for name, values in given.items()}
        return superjax.run(sweep, init={self.name: init})[self.name]

    def run_pytorch(self, W: np.ndarray, steps: int, share_batch: bool) -> tuple[np.ndarray, np.ndarray, float]:
        """W, b and seconds of the PyTorch loop on all cores."""
        densities = np.tile(np.repeat(self.densities, self.n_importances)[:, None], (1, self.n_features))
        importances = np.ones((self.models, self.n_features))
        importances[:, -1] = np.tile(self.importances, self.n_densities)
        return pytorch_loop.train(densities, importances, W, steps, self.batch, share_batch, usable_cores())

    def loss_of(self, W: np.ndarray, b: np.ndarray) -> float:
        """Mean over the models of the loss that superjax stores, for any weights: that of the snapshot at step 0."""
        dataset = self.run_superjax(self.sweep(steps=1, snapshots=[0]), W, b)
        return float(dataset["loss_snapshots"].mean())


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(2, 1, 32, 32, steps=10_000, torch_steps=200),
        Workload(5, 2, 10, 10, steps=10_000, torch_steps=500),
        Workload(20, 5, 10, 7, steps=2000, torch_steps=100),
        Workload(80, 20, 10, 7, steps=500, torch_steps=20),
        Workload(400, 30, 4, 2, steps=500, torch_steps=50),
    )
}
DEFAULT = ("n2_m1", "n5_m2")


class Timing(NamedTuple):
    """Seconds, and processor seconds of all threads."""

    wall: float
    cpu: float

    @property
    def cores(self) -> float:
        """How many cores were busy."""
        return self.cpu / self.wall


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def time_superjax(workload: Workload, sweep: superjax.Sweep, W: np.ndarray) -> Timing:
    """A whole run: training, evaluation and the labelled dataset."""
    wall, cpu = time.perf_counter(), time.process_time()
    workload.run_superjax(sweep, W)
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def time_pytorch(workload: Workload, W: np.ndarray, steps: int, share_batch: bool) -> Timing:
    """The steps of the loop."""
    cpu = time.process_time()
    _, _, seconds = workload.run_pytorch(W, steps, share_batch)
    return Timing(seconds, time.process_time() - cpu)


def measure(workload: Workload, repeats: int) -> dict[str, Any]:
    """Time superjax and both loops alternately; ratios are taken between neighbours in time."""
    W = workload.initial_weights()
    short, long = workload.sweep(steps=1), workload.sweep(steps=1 + workload.steps)
    first = time_superjax(workload, short, W)
    time_superjax(workload, long, W)
    for share_batch in LOOPS.values():
        time_pytorch(workload, W, WARM_UP_STEPS, share_batch)

    fixed, rounds = [], []
    for _ in range(repeats):
        before, after = time_superjax(workload, short, W), time_superjax(workload, long, W)
        fixed.append(before.wall)
        loops = {name: time_pytorch(workload, W, workload.torch_steps, share) for name, share in LOOPS.items()}
        rounds.append({"superjax": Timing(after.wall - before.wall, after.cpu - before.cpu), **loops})

    samples = workload.models * workload.batch
    steps = {"superjax": workload.steps, **dict.fromkeys(LOOPS, workload.torch_steps)}
    ns = {name: [1e9 * r[name].wall / (samples * steps[name]) for r in rounds] for name in steps}
    ratios = {name: [b / a for a, b in zip(ns["superjax"], ns[name], strict=True)] for name in LOOPS}
    return {
        **asdict(workload),
        "models": workload.models,
        "ns_per_model_sample": {name: summary(values) for name, values in ns.items()},
        "ratio": {name: summary(values) for name, values in ratios.items()},
        "cores_busy": {name: round(statistics.median(r[name].cores for r in rounds), 2) for name in steps},
        "superjax_fixed_seconds": round(statistics.median(fixed), 4),
        "superjax_compile_seconds": round(first.wall - statistics.median(fixed), 2),
        "mean_loss": mean_losses(workload, W),
    }


def mean_losses(workload: Workload, W: np.ndarray) -> dict[str, float]:
    """Mean loss over the models at the start, and after equally many steps of each."""
    b = np.zeros((workload.models, workload.n_features), np.float32)
    dataset = workload.run_superjax(workload.sweep(steps=workload.check_steps), W)
    loops = {name: workload.run_pytorch(W, workload.check_steps, share) for name, share in LOOPS.items()}
    return {
        "start": workload.loss_of(W, b),
        "superjax": float(dataset["loss"].mean()),
        **{name: workload.loss_of(*trained[:2]) for name, trained in loops.items()},
    }


def agrees(result: dict[str, Any]) -> bool:
    """Whether all three trained to the same mean loss."""
    loss = result["mean_loss"]
    return all(abs(loss[name] / loss["superjax"] - 1) <= TOLERANCE for name in LOOPS)


def summary(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": values}


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results in Markdown."""
    lines = [
        "| models | superjax, ns | PyTorch, ns | PyTorch, shared batch, ns | ratio | ratio, shared batch |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in results.values():
        head = f"n={result['n_features']} m={result['n_hidden']}, {result['models']} models, batch {result['batch']}"
        ns = [spread(result["ns_per_model_sample"][name]) for name in ("superjax", *LOOPS)]
        ratios = [spread(result["ratio"][name]) for name in LOOPS]
        lines.append("| " + " | ".join([head, *ns, *ratios]) + " |")
    return "\n".join(lines)


def spread(values: dict[str, Any]) -> str:
    """median (min to max), in three digits or whole numbers."""
    median, low, high = (
        f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
        for value in (values["median"], values["min"], values["max"])
    )
    return f"**{median}** ({low} to {high})"


def notes(results: dict[str, dict[str, Any]]) -> str:
    """What to know beside the table: whether all cores worked, what compilation costs, whether losses agree."""
    lines = []
    for name, result in results.items():
        cores, loss = result["cores_busy"], result["mean_loss"]
        lines += [
            f"* {name}: cores busy {cores['superjax']}, {cores['fresh']}, {cores['shared']}; superjax needs "
            f"{result['superjax_compile_seconds']} s to compile and {result['superjax_fixed_seconds']} s a run around "
            f"the steps. Mean loss {loss['start']:.5f} at the start, after {result['check_steps']} steps "
            f"{loss['superjax']:.5f}, {loss['fresh']:.5f}, {loss['shared']:.5f}"
            + ("." if agrees(result) else f": **they differ by more than {TOLERANCE:.0%}.**")
        ]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Versions, cores and the name of the processor."""
    facts = environment()
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return {
        **facts,
        "versions": {**facts["versions"], "torch": torch.__version__},
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "usable_cores": usable_cores(),
        "torch_threads": torch.get_num_threads(),
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description="Time superjax and a PyTorch loop on the same models."
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="timed rounds (default: %(default)s)")
    parser.add_argument("--steps", type=int, metavar="N", help="of every run and the check, for a trial of the command")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--list", action="store_true", help="list the workloads")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    if arguments.repeats < 1 or (arguments.steps is not None and arguments.steps < 1):
        parser.error("--repeats and --steps must be at least 1")
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    if arguments.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:<10}{workload.models:>5} models, batch {workload.batch}")
        return 0
    # Both on CPU, superjax as its command line sets it up: one device per core.
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", usable_cores())

    results = {}
    for name in arguments.workloads or DEFAULT:
        workload = WORKLOADS[name]
        if arguments.steps is not None:
            n = arguments.steps
            workload = replace(workload, steps=n, torch_steps=n, check_steps=n)
        results[name] = measure(workload, arguments.repeats)
        print(f"{name} done", file=sys.stderr)

    facts = machine()
    versions = ", ".join(f"{package} {facts['versions'][package]}" for package in ("jax", "torch"))
    heading = f"{facts['usable_cores']} cores of {facts['processor']}, {versions}, {facts['date']}"
    text = f"{heading}\n\n{table(results)}\n\n{notes(results)}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "compare.json", {"machine": facts, "repeats": arguments.repeats, "workloads": results})
    write_text(arguments.out / "compare.md", f"# superjax and a PyTorch loop, ns per model-sample\n\n{text}\n")
    print(text)
    return 0 if all(map(agrees, results.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
