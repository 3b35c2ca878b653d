"""Time superjax and other loops over the same models, one after the other.

    python -m benchmarks.compare [WORKLOAD ...] [--repeats 5] [--steps N | --longer K] [--loops LOOP ...]
        [--out DIR] [--list]

README.md says what is measured and how to read it. Exit status: 0 done; 1 the two did not train to the same loss;
2 the command is wrong.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import jax
import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

import superjax
from benchmarks import jax_loop, pytorch_loop, rates
from superjax.disk.files import write_json, write_text
from superjax.engine import engine
from superjax.runs.case_run import CaseRun
from superjax.runs.environment import environment
from superjax.system.machine import usable_cores

# What superjax is compared with: PyTorch as first written, tuned, tuned with one batch for all models, that compiled, a
# compiled `torch.func.vmap`; `vmap` and `scan` as a user of JAX writes them.
LOOPS = {
    "straightforward": "PyTorch, straightforward",
    "fresh": "PyTorch, tuned",
    "shared": "PyTorch, tuned, one batch for all models",
    "compiled": "PyTorch, tuned, one batch, torch.compile",
    "functional": "torch.func.vmap, torch.compile",
    "jax": "JAX, vmap and scan",
}
LONGER = ("compiled", "functional", "jax")  # these are fast enough to take as many steps as superjax's plain form
RESULTS = Path("benchmarks/results")
WARM_UP_STEPS = 3  # of PyTorch, which compiles for no number of steps
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

    superjax takes more steps than the loops, or than its own plain form, so that all runs last a second or more.
    """

    n_features: int
    n_hidden: int
    n_densities: int
    n_importances: int
    steps: int
    torch_steps: int
    plain_steps: int
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

    def steps_of(self, loop: str) -> int:
        """The steps of a timed run of a loop."""
        return self.plain_steps if loop in LONGER else self.torch_steps

    def run_loop(self, W: np.ndarray, steps: int, loop: str) -> tuple[np.ndarray, np.ndarray, float]:
        """W, b and seconds of a loop on all cores."""
        densities = np.tile(np.repeat(self.densities, self.n_importances)[:, None], (1, self.n_features))
        importances = np.ones((self.models, self.n_features))
        importances[:, -1] = np.tile(self.importances, self.n_densities)
        models, where = (densities, importances, W, steps, self.batch), (usable_cores(), pytorch_device())
        if loop == "jax":
            return jax_loop.train(*models)
        if loop in ("compiled", "functional"):
            return pytorch_loop.train_compiled(*models, loop == "functional", *where)
        if loop == "straightforward":
            return pytorch_loop.train_straightforwardly(*models, *where)
        return pytorch_loop.train(*models, loop == "shared", *where)

    def loss_of(self, W: np.ndarray, b: np.ndarray) -> float:
        """Mean over the models of the loss that superjax stores, for any weights: that of the snapshot at step 0."""
        dataset = self.run_superjax(self.sweep(steps=1, snapshots=[0]), W, b)
        return float(dataset["loss_snapshots"].mean())


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(2, 1, 32, 32, steps=10_000, torch_steps=100, plain_steps=500),
        Workload(5, 2, 10, 10, steps=10_000, torch_steps=300, plain_steps=1000),
        Workload(20, 5, 10, 7, steps=2000, torch_steps=100, plain_steps=500),
        Workload(80, 20, 10, 7, steps=200, torch_steps=20, plain_steps=40),
        Workload(400, 30, 4, 2, steps=200, torch_steps=30, plain_steps=60),
    )
}


class Timing(NamedTuple):
    """Seconds, and processor seconds of all threads."""

    wall: float
    cpu: float

    @property
    def cores(self) -> float:
        """How many cores were busy."""
        return self.cpu / self.wall


def pytorch_device() -> str:
    """The GPU if superjax runs on one and PyTorch can, else the CPU."""
    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


def time_superjax(workload: Workload, sweep: superjax.Sweep, W: np.ndarray) -> Timing:
    """A whole run: training, evaluation and the labelled dataset."""
    wall, cpu = time.perf_counter(), time.process_time()
    workload.run_superjax(sweep, W)
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def time_loop(workload: Workload, W: np.ndarray, steps: int, loop: str) -> Timing:
    """The steps of a loop."""
    cpu = time.process_time()
    _, _, seconds = workload.run_loop(W, steps, loop)
    return Timing(seconds, time.process_time() - cpu)


@contextmanager
def plain_form():
    """superjax in the form that it falls back on."""
    engine.program.cache_clear()
    by_shape = patch.object(engine, "_choose_form", lambda *_: "plain")
    tried = patch.object(engine.Program, "forms", lambda *_: ["plain"])
    with by_shape, tried, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* plain form")
        yield
    engine.program.cache_clear()


def measure(workload: Workload, repeats: int, names: Sequence[str]) -> dict[str, Any]:
    """Time superjax and loops by their names alternately; ratios are taken between neighbours in time."""
    W = workload.initial_weights()
    short, long = workload.sweep(steps=1), workload.sweep(steps=1 + workload.steps)
    first = time_superjax(workload, short, W)
    time_superjax(workload, long, W)
    for loop in names:  # a loop of JAX is compiled for its number of steps
        time_loop(workload, W, workload.steps_of(loop) if loop == "jax" else WARM_UP_STEPS, loop)

    fixed, rounds, products = [], [], []
    for _ in range(repeats):
        before, after = time_superjax(workload, short, W), time_superjax(workload, long, W)
        fixed.append(before.wall)
        loops = {loop: time_loop(workload, W, workload.steps_of(loop), loop) for loop in names}
        rounds.append({"superjax": Timing(after.wall - before.wall, after.cpu - before.cpu), **loops})
        products.append(
            {
                "matrix_gflops": rates.matrix_product_gflops(),
                "products_ns": rates.products_alone_ns(workload.n_features, workload.n_hidden, workload.batch),
            }
        )
    with plain_form():
        longer = workload.sweep(steps=1 + workload.plain_steps)
        time_superjax(workload, longer, W)
        plain = min(time_superjax(workload, longer, W).wall for _ in range(2)) - statistics.median(fixed)

    samples = workload.models * workload.batch
    steps = {"superjax": workload.steps, **{loop: workload.steps_of(loop) for loop in names}}
    ns = {name: [1e9 * r[name].wall / (samples * steps[name]) for r in rounds] for name in steps}
    ratios = {name: [b / a for a, b in zip(ns["superjax"], ns[name], strict=True)] for name in names}
    best = min(names, key=lambda name: statistics.median(ns[name]))
    # W x, Wᵀ h, their two transposed products with the residual, and the two of the weights' gradient
    operations = 10 * workload.n_features * workload.n_hidden
    ours = statistics.median(ns["superjax"])
    plain_ns = 1e9 * plain / (samples * workload.plain_steps)
    return {
        **asdict(workload),
        "models": workload.models,
        "form": engine_form(workload),
        "ns_per_model_sample": {name: summary(values) for name, values in ns.items()},
        "us_per_model_step": ours * workload.batch / 1e3,
        "ratio": {name: summary(values) for name, values in ratios.items()},
        "best_loop": best,
        "plain_ns_per_model_sample": plain_ns,
        "ratio_to_plain": plain_ns / ours,
        "gflops": operations / ours,
        "matrix_product_gflops": summary([p["matrix_gflops"] for p in products]),
        "fraction_of_matrix_product": operations / ours / statistics.median(p["matrix_gflops"] for p in products),
        "products_alone_ns": summary([p["products_ns"] for p in products]),
        "fraction_of_products_alone": statistics.median(
            p["products_ns"] / own for p, own in zip(products, ns["superjax"], strict=True)
        ),
        "cores_busy": {name: round(statistics.median(r[name].cores for r in rounds), 2) for name in steps},
        "superjax_fixed_seconds": round(statistics.median(fixed), 4),
        "superjax_compile_seconds": round(first.wall - statistics.median(fixed), 2),
        "mean_loss": mean_losses(workload, W, names),
    }


def engine_form(workload: Workload) -> str:
    return CaseRun(workload.name, workload.sweep().cases[workload.name]).report.form


def mean_losses(workload: Workload, W: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Mean loss over the models at the start, and after equally many steps of each."""
    b = np.zeros((workload.models, workload.n_features), np.float32)
    dataset = workload.run_superjax(workload.sweep(steps=workload.check_steps), W)
    loops = {loop: workload.run_loop(W, workload.check_steps, loop) for loop in names}
    return {
        "start": workload.loss_of(W, b),
        "superjax": float(dataset["loss"].mean()),
        **{loop: workload.loss_of(*trained[:2]) for loop, trained in loops.items()},
    }


def agrees(result: dict[str, Any]) -> bool:
    """Whether all trained to the same mean loss."""
    loss = result["mean_loss"]
    return all(abs(loss[name] / loss["superjax"] - 1) <= TOLERANCE for name in result["ratio"])


def summary(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": values}


def loops_of(results: dict[str, dict[str, Any]]) -> list[str]:
    """The loops that were timed."""
    return list(next(iter(results.values()))["ratio"])


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results in Markdown: of other loops how many times longer they take."""
    loops = loops_of(results)
    head = ["models", "superjax, ns", *(LOOPS[loop] for loop in loops)]
    head += ["best of these", "superjax, plain form", "of products alone", "of a 1024³ product"]
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("| --- " * lines[0].count(" | ") + "| --- |")
    for result in results.values():
        name = f"n={result['n_features']} m={result['n_hidden']}, {result['models']} models, batch {result['batch']}"
        cells = [name, spread(result["ns_per_model_sample"]["superjax"])]
        cells += [f"{spread(result['ratio'][loop])}, {result['ns_per_model_sample'][loop]['median']:.3g} ns"
                  for loop in loops]  # fmt: skip
        cells += [f"{result['ratio'][result['best_loop']]['median']:.1f}: {LOOPS[result['best_loop']]}"]
        cells += [f"{result['ratio_to_plain']:.1f} ({result['form']})"]
        cells += [f"{result[name]:.0%}" for name in ("fraction_of_products_alone", "fraction_of_matrix_product")]
        lines.append("| " + " | ".join(cells) + " |")
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
        busy = ", ".join(f"{cores[who]}" for who in ("superjax", *result["ratio"]))
        losses = ", ".join(f"{loss[who]:.5f}" for who in ("superjax", *result["ratio"]))
        lines += [
            f"* {name}: {result['us_per_model_step']:.3g} µs a model-step, {result['gflops']:.0f} GFLOP/s (10 n m "
            f"operations a sample) where a 1024³ product ran at {result['matrix_product_gflops']['median']:.0f}. "
            f"Cores busy {busy}; superjax needs {result['superjax_compile_seconds']} s to compile and "
            f"{result['superjax_fixed_seconds']} s a run around the steps. Mean loss {loss['start']:.5f} at the start, "
            f"after {result['check_steps']} steps {losses}"
            + ("." if agrees(result) else f": **they differ by more than {TOLERANCE:.0%}.**")
        ]
    return "\n".join(lines)


LABELS = {"superjax": "superjax", "plain": "superjax, plain form", **dict(reversed(LOOPS.items()))}
COLOURS = ("#D55E00", "#E69F00", "#F0E442", "#CC79A7", "#009E73", "#56B4E9", "#0072B2", "#444444")


def draw(results: dict[str, dict[str, Any]], file: Path) -> None:
    """Nanoseconds of a model-sample of every way to train, beside those of the matrix products alone."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    axes = figure.subplots()
    bars = [name for name in LABELS if name in ("superjax", "plain", *loops_of(results))]
    width = 0.8 / len(bars)
    colours = dict(zip(LABELS, COLOURS, strict=True))
    for k, name in enumerate(bars):
        ns = [r["plain_ns_per_model_sample"] if name == "plain" else r["ns_per_model_sample"][name]["median"]
              for r in results.values()]  # fmt: skip
        places = np.arange(len(results)) + (k - len(bars) // 2) * width
        axes.bar(places, ns, width, color=colours[name], label=LABELS[name])
    for k, result in enumerate(results.values()):
        axes.hlines(result["products_alone_ns"]["median"], k - 0.45, k + 0.45, "black", "dotted",
                    label=None if k else "matrix products alone")  # fmt: skip
    titles = [f"n = {r['n_features']}, m = {r['n_hidden']}\n{r['models']} models" for r in results.values()]
    axes.set(xticks=range(len(results)), xticklabels=titles, yscale="log", ylabel="ns per model-sample")
    axes.set_title("Training ReLU output models on minibatches: shorter is faster")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=120)


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
        "pytorch_device": pytorch_device(),
        "torch_threads": torch.get_num_threads(),
    }


def write_results(results: dict[str, dict[str, Any]], repeats: int, out: Path) -> None:
    """Write the table, the numbers and the plot of the workloads so far into a folder."""
    facts = machine()
    versions = ", ".join(f"{package} {facts['versions'][package]}" for package in ("jax", "torch"))
    device = jax.devices()[0].device_kind if jax.default_backend() != "cpu" else "no accelerator"
    heading = f"{facts['usable_cores']} cores of {facts['processor']}, {device}, {versions}, {facts['date']}"
    text = f"{heading}\n\n{table(results)}\n\n{notes(results)}"
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "compare.json", {"machine": facts, "repeats": repeats, "workloads": results})
    write_text(out / "compare.md", f"# superjax and other loops, ns per model-sample\n\n{text}\n")
    draw(results, out / "compare.png")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description="Time superjax and other loops on the same models."
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="default: all")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="timed rounds (default: %(default)s)")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--steps", type=int, metavar="N", help="of every run and the check, for a trial of the command")
    steps.add_argument("--longer", type=int, default=1, metavar="K", help="K times the steps, for a fast device")
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS), metavar="LOOP",
                        help=f"what to compare with: {', '.join(LOOPS)} (default: all)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--list", action="store_true", help="list the workloads")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    if arguments.repeats < 1 or arguments.longer < 1 or (arguments.steps is not None and arguments.steps < 1):
        parser.error("--repeats, --steps and --longer must be at least 1")
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    if arguments.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:<10}{workload.models:>5} models, batch {workload.batch}")
        return 0
    # As the command line sets superjax up: one device per core, which changes nothing where there is an accelerator.
    jax.config.update("jax_num_cpu_devices", usable_cores())

    results = {}
    for name in arguments.workloads or WORKLOADS:
        workload = WORKLOADS[name]
        if arguments.steps is not None:
            n = arguments.steps
            workload = replace(workload, steps=n, torch_steps=n, plain_steps=n, check_steps=n)
        steps = {name: arguments.longer * getattr(workload, name) for name in ("steps", "torch_steps", "plain_steps")}
        workload = replace(workload, **steps)
        results[name] = measure(workload, arguments.repeats, arguments.loops)
        write_results(results, arguments.repeats, arguments.out)  # the next workload may fail
        print(f"{name} done", file=sys.stderr)

    print((arguments.out / "compare.md").read_text(encoding="utf-8"))
    return 0 if all(map(agrees, results.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
