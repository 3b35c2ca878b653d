"""How superjax's cost grows with models, sizes and cores, and where the time of the command line goes.

    python -m benchmarks.scaling [SECTION ...] [--repeats 5] [--out benchmarks/results]

Every section is measured in processes of its own. README.md says what each of them is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from superjax.disk.files import write_json, write_text
from superjax.runs.environment import environment
from superjax.system.machine import usable_cores

RESULTS = Path("benchmarks/results")
repeats = 5  # of what is timed in a process
MAP = """
restarts = 16
n_features = {n}
n_hidden = {m}
[axes.importance]
field = "importance[-1]"
scale = "log"
range = [0.1, 10]
points = {points}
[axes.density]
field = "data.density"
scale = "log"
range = [1, 0.01]
points = {points}
"""
GRIDS = {100: (5, 4), 1000: (10, 10), 10_000: (50, 4), 100_000: (100, 10), 1_000_000: (250, 16)}  # points, restarts
SIZES = [(2, 1), (3, 2), (5, 2), (8, 3), (12, 4), (16, 4), (17, 4), (20, 5), (24, 6), (32, 8), (40, 10), (60, 15),
         (80, 20), (160, 30)]  # fmt: skip
SIZE_MODELS, BATCH = 64, 1024
SMALLER_DEFAULT = [f"case.{case}.axes.{axis}.points={points}" for case, points in (("n2_m1", 100), ("n3_m2", 60))
                   for axis in ("importance", "density")]  # fmt: skip


def in_process(name: str, *arguments: object, cores: int | None = None) -> Any:
    """The JSON that `measure_NAME(*arguments)` prints in a process of its own, on so many cores."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--measure", name, *map(str, arguments)]
    command += ["--repeats", str(repeats)]
    if cores is not None:
        command += ["--cores", str(cores)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def cold_runs() -> int:
    """How many processes are timed: at most three, one takes long."""
    return min(repeats, 3)


def sweep_of(n: int, m: int, points: int, *overrides: str):
    import superjax

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "map.toml"
        file.write_text(MAP.format(n=n, m=m, points=points), encoding="utf-8")
        return superjax.load(file, *overrides)


def peak_memory_gib() -> float:
    """The most memory that this process has held: on its accelerator if it uses one, else on the host."""
    import jax

    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats:
        return stats["peak_bytes_in_use"] / 2**30
    # getrusage would count what the process was forked from
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20


def run_seconds(sweep, repeats: int) -> list[float]:
    """Seconds of `superjax.run`, already compiled."""
    import superjax

    superjax.run(sweep)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        superjax.run(sweep)
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_models(models: str) -> dict[str, float]:
    """Microseconds a model-step of the exact map of n=2 m=1 by number of models, 1000 steps, evaluation included."""
    points, restarts = GRIDS[int(models)]
    sweep = sweep_of(2, 1, points, f"restarts={restarts}")
    seconds = statistics.median(run_seconds(sweep, repeats if int(models) < 10**6 else 1))
    cost = 1e3 * seconds / (points**2 * restarts)
    return {"models": points**2 * restarts, "us_per_model_step": cost, "peak_memory_gib": peak_memory_gib()}


def measure_sizes(features: str, hidden: str) -> dict[str, Any]:
    """Nanoseconds a model-sample of minibatch training, what a run of one step costs subtracted, and of its five
    products alone."""
    from benchmarks import rates
    from superjax.runs.case_run import CaseRun

    n, m = int(features), int(hidden)
    minibatch = ["train.objective=minibatch", f"train.batch={BATCH}", "axes.density.points=8", "restarts=1"]

    def seconds(steps: int) -> float:
        return statistics.median(run_seconds(sweep_of(n, m, 8, *minibatch, f"train.steps={steps}"), repeats))

    steps = int(np.clip(2e6 / (n * m), 50, 5000))
    form = CaseRun("map", sweep_of(n, m, 8, *minibatch).cases["map"]).report.form
    ns = 1e9 * (seconds(1 + steps) - seconds(1)) / (SIZE_MODELS * BATCH * steps)
    operations, memory = 10 * n * m, peak_memory_gib()
    products = statistics.median(rates.products_alone_ns(n, m, BATCH) for _ in range(repeats))
    size = {"n_features": n, "n_hidden": m, "form": form, "peak_memory_gib": memory}
    return {**size, "ns_per_model_sample": ns, "gflops": operations / ns, "products_gflops": operations / products}


def measure_retraining() -> dict[str, Any]:
    """Seconds to train a 48 x 48 x 8 map again."""
    seconds = run_seconds(sweep_of(2, 1, 48, "restarts=8"), repeats)
    return {"seconds": statistics.median(seconds), "all": seconds}


def measure_cores() -> dict[str, float]:
    """Seconds of a 100 x 100 x 10 map and of a minibatch sweep, on the cores this process may use."""
    minibatch = ["train.objective=minibatch", "train.steps=1000", "restarts=1"]
    return {
        "exact": statistics.median(run_seconds(sweep_of(2, 1, 100, "restarts=10"), repeats)),
        "minibatch": statistics.median(run_seconds(sweep_of(2, 1, 32, *minibatch), repeats)),
    }


def command_line(folder: Path, *arguments: str) -> dict[str, Any]:
    """A run of the command line in a cold process, into a folder: seconds by phase, peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "superjax.sweep", *arguments, "--out", str(folder)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise RuntimeError(f"superjax.sweep {' '.join(arguments)} failed")
    (manifest,) = folder.glob("*/manifest.json")
    record = json.loads(manifest.read_text())
    phases = dict(record["seconds"])
    del phases["all"]
    for case in record["cases"].values():
        for phase, seconds in case["seconds"].items():
            phases[phase] = phases.get(phase, 0) + seconds
    return {
        "wall_seconds": wall,
        "seconds_by_phase": phases,
        "compile_seconds": sum(case["compile_seconds"] for case in record["cases"].values()),
        "models": sum(case["models"] for case in record["cases"].values()),
        "peak_memory_gib": usage.ru_maxrss / 2**20,
    }


def section_models() -> list[Any]:
    return [in_process("models", models) for models in GRIDS]


def section_sizes() -> list[Any]:
    return [in_process("sizes", n, m) for n, m in SIZES]


def section_cores() -> dict[str, Any]:
    """All cores and one, alternately."""
    rounds = [(in_process("cores"), in_process("cores", cores=1)) for _ in range(cold_runs())]
    ratio = {kind: statistics.median(one[kind] / every[kind] for every, one in rounds) for kind in rounds[0][0]}
    return {"cores": usable_cores(), "one_core_over_all": ratio, "rounds": rounds}


def section_command_line() -> dict[str, Any]:
    """The default phase diagram and one of 100 x 100 x 10 and 60 x 60 x 10 models: the middle one of cold runs."""
    found = {}
    for name, overrides in (("default", []), ("smaller", SMALLER_DEFAULT)):
        runs = []
        for _ in range(cold_runs()):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(command_line(Path(folder), "phase_diagram", *overrides))
        runs.sort(key=lambda run: run["wall_seconds"])
        found[name] = {**runs[len(runs) // 2], "all_wall_seconds": [run["wall_seconds"] for run in runs]}
    return found


def section_million() -> dict[str, Any]:
    """The 256 x 256 x 16 map of n=2 m=1, and the phases of its best restarts beside the optimum's."""
    import superjax

    with tempfile.TemporaryDirectory() as scratch:
        folder, file = Path(scratch), Path(scratch) / "map.toml"
        file.write_text(MAP.format(n=2, m=1, points=256), encoding="utf-8")
        timed = command_line(folder / "found", str(file))
        command_line(folder / "true", str(file), "optimum=true", "restarts=4")
        found, true = (superjax.open(folder / name / "map" / "map.nc").load() for name in ("found", "true"))
    gap = (true["optimum_other_loss"] / true["optimum_loss"] - 1).values
    best = found["phase"].isel(restart=found["loss"].argmin("restart"))
    equal = (best == true["optimum_phase"]).all("feature").values
    clear = ~(gap <= 1e-3)
    return {**timed, "cells_with_gap": int(clear.sum()), "phases_equal": float(equal[clear].mean())}


SECTIONS = {
    "models": section_models,
    "sizes": section_sizes,
    "cores": section_cores,
    "retraining": lambda: in_process("retraining"),
    "command_line": section_command_line,
    "million": section_million,
}
MEASURES = {
    "models": measure_models,
    "sizes": measure_sizes,
    "cores": measure_cores,
    "retraining": measure_retraining,
}


def report(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = []
    if "models" in results:
        lines += ["| models, n=2 m=1, exact | µs a model-step | peak memory, GiB |", "| --- | --- | --- |"]
        lines += [
            f"| {r['models']:,} | {r['us_per_model_step']:.4f} | {r['peak_memory_gib']:.2f} |"
            for r in results["models"]
        ]
        lines += [""]
    if "sizes" in results:
        columns = ("n", "m", "form", "ns a model-sample", "GFLOP/s", "products alone, GFLOP/s", "peak memory, GiB")
        lines += [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
        for r in results["sizes"]:
            cost = f"{r['ns_per_model_sample']:.3g} | {r['gflops']:.0f} | {r['products_gflops']:.0f}"
            cost += f" | {r['peak_memory_gib']:.2f}"
            lines += [f"| {r['n_features']} | {r['n_hidden']} | {r['form']} | {cost} |"]
        lines += [""]
    if "cores" in results:
        ratio = results["cores"]["one_core_over_all"]
        text = ", ".join(f"{kind} {value:.2f}" for kind, value in ratio.items())
        lines += [f"* One core takes so many times as long as {results['cores']['cores']}: {text}."]
    if "retraining" in results:
        lines += [f"* A 48 x 48 x 8 map trained again, already compiled: {results['retraining']['seconds']:.2f} s."]
    for name, r in results.get("command_line", {}).items():
        phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in r["seconds_by_phase"].items())
        lines += [
            f"* `phase_diagram`, {name} grid ({r['models']:,} models), cold: {r['wall_seconds']:.1f} s ({phases}; "
            f"compilation in that {r['compile_seconds']:.1f}), {r['peak_memory_gib']:.2f} GiB."
        ]
    if "million" in results:
        r = results["million"]
        lines += [
            f"* 256 x 256 x 16 = {r['models']:,} models of n=2 m=1, cold: {r['wall_seconds']:.1f} s, "
            f"{r['peak_memory_gib']:.2f} GiB; phases of the best restart equal the optimum's in "
            f"{r['phases_equal']:.2%} of the {r['cells_with_gap']:,} cells whose gap exceeds 1e-3."
        ]
    return "\n".join(lines)


def draw(results: dict[str, Any], file: Path) -> None:
    """Cost against the number of models and against size, and where the time of the default run goes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.2), layout="constrained")
    by_models, by_size, by_phase = figure.subplots(1, 3)
    models = results["models"]
    by_models.loglog([r["models"] for r in models], [r["us_per_model_step"] for r in models], "o-")
    by_models.set(xlabel="models", ylabel="µs per model-step", title="n = 2, m = 1, exact loss, whole run")
    for form, marker in (("fused", "o"), ("mapped", "s"), ("plain", "^")):
        chosen = [r for r in results["sizes"] if r["form"] == form]
        if chosen:
            products = [r["n_features"] * r["n_hidden"] for r in chosen]
            by_size.loglog(products, [r["ns_per_model_sample"] for r in chosen], marker, label=f"{form} form")
    by_size.set(xlabel="n · m", ylabel="ns per model-sample", title=f"minibatch {BATCH}, {SIZE_MODELS} models")
    by_size.legend(frameon=False)
    phases = results["command_line"]["default"]["seconds_by_phase"]
    by_phase.barh(list(phases), list(phases.values()))
    by_phase.invert_yaxis()
    by_phase.set(xlabel="seconds", title="default phase diagram, cold process")
    figure.savefig(file, dpi=120)


def main(argv: list[str] | None = None) -> int:
    global repeats
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description="How the cost of superjax grows.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"default: {' '.join(SECTIONS)}")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=repeats, metavar="N", help="timed runs (default: %(default)s)")
    # in a process of its own
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    repeats = arguments.repeats
    if arguments.measure:
        import jax

        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
        jax.config.update("jax_num_cpu_devices", usable_cores())
        name, *rest = arguments.sections
        print(json.dumps(MEASURES[name](*rest)))
        return 0
    unknown = [name for name in arguments.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    results = {}
    for name in arguments.sections or SECTIONS:
        results[name] = SECTIONS[name]()
        print(f"{name} done", file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "scaling.json", {"machine": environment(), "sections": results})
    facts = environment()
    heading = f"{usable_cores()} cores, jax {facts['versions']['jax']}, {facts['date']}"
    write_text(arguments.out / "scaling.md", f"# How the cost of superjax grows\n\n{heading}\n\n{report(results)}\n")
    if {"models", "sizes", "command_line"} <= results.keys():
        draw(results, arguments.out / "scaling.png")
    print(report(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
