"""A user's own study: found as models are, drawn and judged like the packaged ones, and what is wrong with it said."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import superjax
from superjax import studies
from superjax.plots import canvas
from superjax.spec import Sweep, SweepError
from superjax.studies import Results
from superjax.sweep import main
from tests.studies.test_studies import results_of

SWEEP = """
study = "%s"
n_features = 3
n_hidden = 2
restarts = 2
train.steps = 9
plot.dpi = 20
[axes.density]
field = "data.density"
values = [0.3, 1.0, 0.1]
"""
STUDY = """
from matplotlib.figure import Figure
from superjax import SweepError
from superjax.studies import Claim, Results, close

def check(case):
    if case.n_hidden > 2:
        raise SweepError("needs a plane")

def figures(results: Results) -> dict[str, Figure]:
    figure = Figure(figsize=(2, 2))
    for data in results.datasets.values():
        figure.subplots().plot(data["density"], data["loss"].min("restart"))
    return {"losses": figure}

def claims(results: Results) -> list[Claim]:
    return [close(f"{name}: densities", "mine", 0.1, data["density"].min(), absolute=1e-6)
            for name, data in results.datasets.items()]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A current folder; modules are looked for in it anew."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    importlib.invalidate_caches()
    return tmp_path


def sweep_with(study: str, code: str | None = None, folder: Path = Path(), *overrides: str) -> Sweep:
    if code is not None:
        (folder / f"{study}.py").write_text(code)
    (folder / "mine.toml").write_text(SWEEP % study)
    return superjax.load(folder / "mine.toml", *overrides)


def wrong(sweep: Sweep, folder: Path) -> tuple[list[str], list[str], list[str]]:
    """What is said to be wrong after training, with the claims and figures that there are all the same."""
    said: list[str] = []
    results = results_of(sweep)
    claims = [claim.claim for claim in studies.claims(results, said.append)]
    paths = studies.draw(results, folder, pytest.fail, said.append)
    return said, claims, [path.name for path in paths]


GENERAL = [
    "mine: no model diverges",
    "mine: sum of the dimensionalities of a model's features minus n_hidden (largest)",
]


def test_a_run_draws_and_judges_with_it(tmp_path):
    """From the command line, with the study beside the sweep file, in another folder than the current one."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "own_study.py").write_text(STUDY)
    (tmp_path / "there" / "mine.toml").write_text(SWEEP % "own_study")
    command = [sys.executable, "-m", "superjax.sweep", "there/mine.toml"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = tmp_path / "results" / "mine"
    assert (found / "losses.png").read_bytes().startswith(b"\x89PNG") and not (found / "mine.png").exists()
    first, *rest = json.loads((found / "claims.json").read_text())
    assert first == {"claim": "mine: densities", "source": "mine", "expected": 0.1, "measured": first["measured"],
                     "tolerance": 1e-6, "holds": True, "note": "", "kind": "derived"}  # fmt: skip
    assert [claim["claim"] for claim in rest] == GENERAL and "3 of 3 claims hold" in result.stdout
    assert 'study = "own_study"' in (found / "sweep.toml").read_text()


def test_it_gets_axes_in_order(folder):
    sweep = sweep_with(
        "orderly", STUDY + "\ndef claims(results):\n    global seen\n    seen = results\n    return []\n"
    )
    studies.claims(results_of(sweep))
    seen = sys.modules["orderly"].seen.datasets["mine"]["density"].values  # pyright: ignore
    assert seen.tolist() == sorted(seen.tolist())


def test_a_study_may_be_in_a_package(folder):
    (folder / "here" / "pkg").mkdir()
    (folder / "here" / "pkg" / "__init__.py").touch()
    (folder / "here" / "pkg" / "nested.py").write_text(STUDY)
    studies.check(sweep := sweep_with("pkg.nested"))
    assert wrong(sweep, folder) == ([], ["mine: densities", *GENERAL], ["losses.png"])


def test_its_check_refuses_before_training(folder):
    sweep = sweep_with("choosy", STUDY, Path(), "n_hidden=3")
    with pytest.raises(SweepError, match=r'^mine: the study choosy needs a plane\n  study = "" in the file'):
        studies.check(sweep)
    studies.check(sweep.override("n_hidden=2"))
    studies.check(sweep_with("uncritical", STUDY.replace("def check", "def unused"), Path(), "n_hidden=3"))


@pytest.mark.parametrize(
    ("study", "says"),
    [
        ("phase_diagrm", r'= "phase_diagrm", no such study; did you mean phase_diagram\?\n  allowed: absolute_value'),
        ("no_such_thing", r"no such study\n  allowed: .* or pkg.module\n  looked for no_such_thing.py in .*here"),
        ("no_such.thing", r"looked for no_such/thing.py in "),
        ("numpy.no_such_thing", r"no such study"),
        ("a-b", r"no such study\n  allowed: .* or pkg.module$"),
        ("here/study.py", r"no such study"),
        ("data", r"no such study"),  # a folder without Python in it
    ],
)
def test_what_is_no_module_is_no_study(study, says, folder):
    Path("data").mkdir()
    with pytest.raises(SweepError, match=r"^mine.toml: (?s:.)*" + says):
        sweep_with(study)


UNUSABLE = {
    "broken_syntax": ("def figures(:\n", r"cannot be imported, SyntaxError: .*broken_syntax.py, line 1"),
    "broken_import": ("import no_such_module\n", r"cannot be imported, ModuleNotFoundError: .*\n  at .*, line 1"),
    "broken_code": ("x = 1\ny = x / 0\n", r"cannot be imported, ZeroDivisionError: .*\n  at .*broken_code.py, line 2"),
    "broken_exit": ("import sys\nsys.exit(3)\n", r"cannot be imported, SystemExit: 3\n  at .*broken_exit.py, line 2"),
    "no_figures": ("def claims(results): return []\n", r"no_figures.py has no function figures\(results\)$"),
    "no_claims": ("def figures(results): return {}\nclaims = 3\n", r"no_claims.py has no function claims\(results\)$"),
    "odd_check": (STUDY + "check = 3\n", r"its check is no function check\(case\)$"),
}  # fmt: skip


@pytest.mark.parametrize("study", UNUSABLE)
def test_what_cannot_be_a_study_is_refused_before_training(study, folder):
    code, says = UNUSABLE[study]
    sweep = sweep_with(study, code)
    with pytest.raises(SweepError, match=rf'^study = "{study}": (?s:.)*{says}') as error:
        studies.check(sweep)
    assert len(str(error.value).splitlines()) <= 6


def test_a_check_that_fails_refuses(folder):
    sweep = sweep_with("stumbling", STUDY + "\ndef check(case):\n    return case.no_such_field\n")
    said = r"^mine: the study stumbling cannot check it: check\(case\) raises AttributeError: .*\n  at "
    with pytest.raises(SweepError, match=said):
        studies.check(sweep)


LATE = {  # what replaces a function: what is said, the claims and figures that there are besides
    "claims_raise": (
        "def claims(results):\n    return [][1]\n",
        r"claims\(results\) raises IndexError: .*\n.*claims_raise.py, line 20$", [], ["losses.png"],
    ),
    "claims_exit": (
        "def claims(results):\n    raise SystemExit\n", r"claims\(results\) raises SystemExit", [], ["losses.png"],
    ),
    "claims_none": (
        "def claims(results):\n    pass\n", "returns a value of type NoneType, must be a list of claims",
        [], ["losses.png"],
    ),
    "claims_odd": (
        "def claims(results):\n    return [1, close('a', 'b', 1, 1, absolute=0), 2]\n",
        r"claims\(results\)\[0\] is a value of type int, must be a Claim; 1 more are wrong", ["a"], ["losses.png"],
    ),
    "claims_set": (
        "def claims(results):\n    return [Claim('a', 'b', 1, {1}, 0, True)]\n",
        "has a value of type set as measured, must be numbers", [], ["losses.png"],
    ),
    "claims_held": (
        "def claims(results):\n    return [Claim('a', 'b', 1, 1, 0, 'yes')]\n",
        "has a value of type str as holds, must be True or False", [], ["losses.png"],
    ),
    "claims_text": (
        "def claims(results):\n    return [Claim('a', None, 1, 1, 0, True)]\n",
        "has a value of type NoneType as source, must be a string", [], ["losses.png"],
    ),
    "figures_raise": (
        "def figures(results):\n    1 / 0\n",
        r"figures\(results\) raises ZeroDivisionError: .*\n.*figures_raise.py, line 20$",
        ["mine: densities"], ["mine.png"],
    ),
    "figures_list": (
        "def figures(results):\n    return [Figure()]\n", "returns a value of type list, must be a table",
        ["mine: densities"], ["mine.png"],
    ),
    "figures_odd": (
        "def figures(results):\n    return {'a': 3, 'b': Figure(figsize=(1, 1))}\n",
        r'figures\(results\)\["a"\] is a value of type int, must be a matplotlib Figure',
        ["mine: densities"], ["b.png"],
    ),
    "figures_name": (
        "def figures(results):\n    return {'../a': Figure()}\n", r"has the name '../a', which is no file name",
        ["mine: densities"], ["mine.png"],
    ),
    "figures_text": (
        "def figures(results):\n    f = Figure(figsize=(1, 1))\n    f.suptitle(r'$\\nothing$')\n    return {'a': f}\n",
        'the figure "a" cannot be drawn, it raises ValueError', ["mine: densities"], ["mine.png"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("study", LATE)
def test_what_fails_after_training_costs_only_itself(study, folder):
    code, says, claims, figures = LATE[study]
    sweep = sweep_with(study, STUDY + code)
    studies.check(sweep)
    (said,), found, drawn = wrong(sweep, folder)
    assert re.search(says, said), said
    assert (found, drawn) == ([*claims, *GENERAL], figures)
    results = results_of(sweep)
    with pytest.raises(SweepError, match=says):  # from Python
        studies.claims(results)
        studies.draw(results, folder)


def test_a_study_that_breaks_during_the_run_costs_only_itself(folder):
    studies.check(sweep := sweep_with("edited", STUDY))
    Path("edited.py").write_text("half of it is (")
    said, found, drawn = wrong(sweep, folder)
    assert len(said) == 2 and all("edited" in line and "SyntaxError" in line for line in said)
    assert (found, drawn) == (GENERAL, ["mine.png"])


def test_it_can_change_no_dataset(folder):
    code = "\ndef claims(results):\n    results.datasets['mine']['loss'] = 0\n    return []\n"
    results = results_of(sweep_with("careless", STUDY + code))
    before = results.datasets["mine"].copy(deep=True)
    studies.claims(results)
    assert results.datasets["mine"].identical(before)


def test_a_run_whose_study_fails_keeps_its_datasets(folder, capsys):
    sweep_with("late", STUDY + "\ndef figures(results):\n    return results.nothing\n")
    assert main(["mine.toml"]) == 1
    said, found = capsys.readouterr(), Path("results/mine")
    assert "superjax: the study late: figures(results) raises AttributeError" in said.err
    assert "late.py, line 21" in said.err
    assert superjax.open(found / "mine.nc")["loss"].shape == (3, 2)
    claims = json.loads((found / "claims.json").read_text())
    assert [claim["claim"] for claim in claims] == ["mine: densities", *GENERAL]
    assert (found / "mine.png").is_file() and not json.loads((found / "manifest.json").read_text())["finished"]
    Path("late.py").write_text(STUDY)
    assert main(["mine.toml"]) == 0 and "6 models redrawn" in capsys.readouterr().out
    assert (found / "losses.png").is_file() and json.loads((found / "manifest.json").read_text())["finished"]
    Path("late.py").unlink()  # it decides no results
    assert main(["mine.toml", "study=''"]) == 0 and "6 models redrawn" in capsys.readouterr().out
    assert main(["mine.toml"]) == 2 and "no such study" in capsys.readouterr().err


def test_a_model_that_no_packaged_study_could_draw_is_its_own_matter(folder, monkeypatch):
    monkeypatch.setattr(canvas, "image", lambda figure, dpi, kind: b"\x89PNG")
    sweep = sweep_with("free", STUDY)
    results = results_of(sweep)
    plain = {name: data[["loss", "diverged_at"]] for name, data in results.datasets.items()}
    assert [claim.claim for claim in studies.claims(Results(sweep, plain, {}))] == ["mine: densities", GENERAL[0]]
