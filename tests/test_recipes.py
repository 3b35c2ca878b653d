"""The recipes of docs/extending.md: each a file of the user's and a sweep file, run from a folder with nothing else."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import superjax
from superjax import studies

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted(path.name for path in (ROOT / "docs" / "recipes").iterdir())


def of_absolute(data):
    best = float(data["loss"].min())
    assert best < 0.01, "two neurons a feature compute |x|"
    assert {"W1", "W2"} <= set(data) and data["W2"].dims[-2:] == ("feature", "hidden")


def of_magnitudes(data):
    # The loss of knowing nothing but means falls with the exponent; a model is better than that.
    assert (np.diff(data["loss"].min("restart").mean("density")) < 0).all()


def of_penalty(data):
    loss, term = data["loss"].min("restart").values, data["term_sparse"].isel(restart=0).values
    assert (np.diff(loss) > -1e-6).all() and term[0] == 0
    np.testing.assert_allclose(data["objective"], data["loss"] + data["term_sparse"], rtol=1e-5)
    superposed = (data["optimum_phase"] == 2).sum("feature").values
    assert superposed[0] == 4 and superposed[-1] == 0, "a strong penalty removes superposition"


def of_counts(data):
    pass  # its claim says it


def best_layers(data, cell):
    best = data.isel(density=cell, restart=int(data["best"][cell]))
    return [best[name].values.astype(float) for name in ("W1", "c", "W2", "b")] + [float(best["loss"])]


def of_squares(data):
    """The stored loss is that of fresh samples, and far below that of knowing nothing but the mean of x²."""
    assert of_squares_in_small(data) < 0.03 * 3 * (0.1 / 5 - 0.01 / 9)


def of_squares_in_small(data) -> float:
    W1, c, W2, b, loss = best_layers(data, -1)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2**17, 3)) * (rng.random((2**17, 3)) < 0.1)
    miss = np.maximum(x @ W1.T + c, 0) @ W2.T + b - x**2
    np.testing.assert_allclose(loss, np.mean(np.sum(miss**2, axis=1)), rtol=0.05)
    return loss


def of_and_pairs(data):
    """The stored loss is that of all 16 inputs; six outputs of five neurons."""
    assert of_and_pairs_in_small(data) < 0.5


def of_and_pairs_in_small(data) -> float:
    W1, c, W2, b, loss = best_layers(data, 0)
    x = np.array(list(itertools.product([0, 1], repeat=4)))
    truth = np.stack([x[:, i] * x[:, j] for i, j in itertools.combinations(range(4), 2)], axis=1)
    miss = np.maximum(x @ W1.T + c, 0) @ W2.T + b - truth
    np.testing.assert_allclose(loss, np.mean(np.sum(miss**2, axis=1)), rtol=0.05)
    assert W2.shape == (6, 5)
    return float(np.abs(miss).max())


def of_dictionaries(data):
    assert data["autoencoder_recovered"].mean("restart").max() > 0.8


def of_sharing(data):
    lines = superjax.boundary_lines(data)
    assert {word for line in lines for word in (line.lower, line.upper)} <= {f"class {k}" for k in range(4)}
    assert max(len(line.at["density"]) for line in lines) > 100


CHECKS = {"absolute": of_absolute, "and_pairs": of_and_pairs, "counts": of_counts, "dictionaries": of_dictionaries,
          "magnitudes": of_magnitudes, "penalty": of_penalty, "sharing": of_sharing, "squares": of_squares}  # fmt: skip


QUICK = ("absolute", "penalty")
TINY = {  # of the others some in a few seconds
    "squares": (of_squares_in_small, ["restarts=2", "axes.density.points=2", "train.steps=200"]),
    "and_pairs": (of_and_pairs_in_small, ["restarts=2", "train.steps=200"]),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.heavy) for n in RECIPES])
def test_a_recipe_runs_from_an_empty_folder(name, tmp_path):
    folder = tmp_path / "empty"
    shutil.copytree(ROOT / "docs" / "recipes" / name, folder)
    ran = subprocess.run(
        [sys.executable, "-m", "superjax.sweep", f"{name}.toml"], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    out = folder / "results" / name
    assert list(out.glob("*.png"))
    claims = json.loads((out / "claims.json").read_text())
    assert all(claim["holds"] for claim in claims), claims
    CHECKS[name](superjax.open(out / f"{name}.nc"))


@pytest.mark.parametrize("name", TINY)
def test_a_recipe_runs_in_small(name, tmp_path):
    """Own model, data and target, and a study that draws and claims; too few steps for the claim to hold."""
    check, small = TINY[name]
    sweep = superjax.load(ROOT / "docs" / "recipes" / name / f"{name}.toml", *small)
    studies.check(sweep)
    results = studies.Results(sweep, superjax.run(sweep), {})
    check(results.datasets[name])
    (path,) = studies.draw(results, tmp_path)
    assert path.name == f"{name}.png" and path.stat().st_size > 10_000
    first, *others = studies.claims(results)
    assert first.kind == "derived" and 0 <= first.measured < 10 and all(claim.holds for claim in others)


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_prints_the_files_that_are_tested(name):
    page = (ROOT / "docs" / "extending.md").read_text()
    for file in sorted((ROOT / "docs" / "recipes" / name).glob("*.*")):
        language = {".py": "python", ".toml": "toml"}[file.suffix]
        assert f"```{language}\n{file.read_text()}```" in page, f"{file.name} is not in docs/extending.md"
