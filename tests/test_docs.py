"""The pages say what is so: links lead somewhere, commands and sweep files are accepted, code runs, and the reference
of the sweep file is that of the code."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

import superjax
from superjax.problem.members import BUILT_IN, options_of
from superjax.problem.options import Powers
from superjax.spec import reference
from superjax.spec.axis import Axis
from superjax.spec.case import Case
from superjax.spec.fields import Attack, Autoencoder, Boundary, Family, Head, Model, Phases, Plot, Train
from superjax.spec.parts import Data, Target, Term
from superjax.spec.schema import schema
from superjax.sweep import main, parser

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
TABLES = [Head, Case, Axis, Powers, Model, Data, Target, Term, Train, Family, Autoencoder, Attack, Boundary, Phases,
          Plot]  # fmt: skip
TINY = ["axes.importance.points=3", "axes.density.points=3", "train.steps=30", "optimum=false", "study=''"]
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def blocks(path: Path, language: str, marker: str = "") -> list[str]:
    """The code blocks of a language, if there is a marker those that follow it."""
    before = f"<!-- {re.escape(marker)} -->\n" if marker else ""
    return re.findall(rf"^{before}```{language}\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The headings of a page as GitHub's links name them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@page
def test_every_relative_link_leads_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists() and there.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(there), link


def test_the_readme_is_short_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 130
    for path in PAGES[1:]:
        assert f"]({path.relative_to(ROOT)})" in text


def test_the_readme_says_of_every_packaged_sweep_what_its_file_says():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    files = {path.stem: tomllib.loads(path.read_text()) for path in (ROOT / "sweeps").glob("*.toml")}
    assert sorted(rows) == sorted(
        (name, *(file[key] for key in ("about", "section", "takes"))) for name, file in files.items()
    )
    assert files.keys() <= anchors(DOCS / "figures.md")


@page
def test_every_command_that_a_page_shows_is_accepted(path):
    for line in "".join(blocks(path, "bash")).splitlines():
        found = re.search(r"(?:python|\S+/python) -m superjax\.sweep ([^\"#]*)", line)
        if found:
            arguments = parser().parse_intermixed_args(shlex.split(found[1]))
            assert superjax.load(arguments.sweep, *arguments.overrides).cases


@page
def test_every_sweep_file_that_a_page_shows_loads(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    for number, block in enumerate(blocks(path, "toml")):
        text = block if "n_features" in block else f"n_features = 5\nn_hidden = 2\n{block}"
        if "[families" in block:
            text += '[axes.density]\nfield = "data.density"\nvalues = [0.1, 0.2]\n'
        (file := tmp_path / f"sweep{number}.toml").write_text(text)
        assert superjax.load(file).cases
        jsonschema.validate(tomllib.loads(text), schema())


def test_a_product_makes_the_cases_that_the_page_names(tmp_path):
    (block,) = (block for block in blocks(DOCS / "sweep_file.md", "toml") if "[cases]" in block)
    (file := tmp_path / "product.toml").write_text(block)
    cases = list(superjax.load(file).cases)
    assert (cases[0], cases[-1], len(cases)) == ("n_hidden1_kind_linear", "n_hidden4_kind_relu_output", 6)


def test_the_code_of_the_page_about_datasets_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["phase_diagram", "cases=n2_m1", *TINY]) == 0
    opened, run, exported = blocks(DOCS / "dataset.md", "python", "run")
    sweep = re.search(r"superjax\.load\(.*\)", run)
    assert sweep
    run = run.replace(sweep[0], f"{sweep[0]}.override(*{TINY})")
    code = f'{opened}assert data["phase"].dims == ("importance", "density", "restart", "feature")\n{run}\n{exported}'
    # as a user runs it: here lists in place of arrays would be refused
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        "results", "model.safetensors", "best.safetensors", "phases.csv"
    }  # fmt: skip


def write_files(folder: Path) -> None:
    """The files of the page about parts of one's own."""
    found = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)^```$", (DOCS / "extending.md").read_text(),
                       re.DOTALL | re.MULTILINE)  # fmt: skip
    assert len(found) == 6
    for name, text in found:
        (folder / name).write_text(text)
    for path in (DOCS / "recipes").glob("*/*.py"):
        (folder / path.name).write_text(path.read_text())


SWEEP = """
n_features = 4
n_hidden = 2
restarts = 2
data.density = 0.3
train.steps = 5
plot.dpi = 20
"""


@pytest.mark.heavy
def test_the_model_and_target_of_the_page_are_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    (tmp_path / "mine.toml").write_text(SWEEP)
    sweep = superjax.load("mine.toml", "model.kind=mymodels:Gelu", "target.kind=mytargets:centred")
    data = superjax.run(sweep)["mine"]
    assert data["W"].shape == (2, 2, 4)
    assert "phase" in data


def test_the_distribution_term_and_study_of_the_page_make_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    parts = '[terms.energy]\nkind = "myterms:Energy"\nstrength = 0.1\n[axes.density]\nfield = "data.density"\n'
    (tmp_path / "mine.toml").write_text(f'study = "mystudy"\n{SWEEP}{parts}values = [0.5, 1]\n')
    overrides = ["data.kind=mydata:Exponential", "data.scale=2", "train.objective=minibatch", "train.batch=64"]
    assert main(["mine.toml", *overrides]) == 0
    assert (tmp_path / "results" / "mine" / "losses.png").exists()
    data = superjax.open(tmp_path / "results" / "mine" / "mine.nc")
    assert (data["objective"] > data["loss"]).all() and (data["term_energy"] > 0).all()
    claims = json.loads((tmp_path / "results" / "mine" / "claims.json").read_text())
    assert claims[0]["claim"] == "mine: lowest loss over that of no model (largest)"


@pytest.mark.heavy
def test_the_study_of_the_page_holds_for_its_sweep_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    (sweep,) = blocks(DOCS / "extending.md", "toml", "sweep: mystudy")
    (tmp_path / "other.toml").write_text(sweep)
    assert main(["other.toml", "train.steps=200", "axes.density.points=3", "restarts=2"]) == 0
    claims = json.loads((tmp_path / "results" / "other" / "claims.json").read_text())
    assert len(claims) == 3 and all(claim["holds"] for claim in claims)


def test_the_reference_of_the_sweep_file_is_current(capsys):
    assert reference.main(["--check"]) == 0, capsys.readouterr().out


def test_a_reference_that_is_not_current_is_named_and_written(tmp_path, monkeypatch, capsys):
    shutil.copytree(DOCS / "recipes", tmp_path / "recipes")
    for name in ("sweep_file.md", "sweep.schema.json", "extending.md"):
        text = (DOCS / name).read_text()
        (tmp_path / name).write_text(
            text.replace("`train.steps`", "`train.stride`").replace('"steps"', '"stride"').replace("import", "impart")
        )
    monkeypatch.setattr(reference, "DOCS", tmp_path)
    assert reference.main(["--check"]) == 1
    assert capsys.readouterr().out.count("is not current") == 3
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0


def test_every_field_and_every_option_says_what_it_means():
    tables = [*TABLES, *(options_of(cls) for part in BUILT_IN.values() for cls in part.values())]
    silent = [
        f"{table.__name__}.{name}" for table in tables for name, field in table.model_fields.items()
        if not (field.description or "").strip()
    ]  # fmt: skip
    assert not silent


def test_the_page_has_every_field():
    text = (DOCS / "sweep_file.md").read_text()
    fields = {name for table in TABLES for name, field in table.model_fields.items()}
    fields -= {"model", "data", "target", "terms", "train", "phases", "families", "autoencoder", "attack", "plot"}
    fields -= {"axes", "boundary"}
    assert not [name for name in fields if not re.search(rf"^\| `([\w.]+\.)?{name}` \|", text, re.MULTILINE)]


@pytest.mark.parametrize("name", superjax.available())
def test_the_schema_accepts_every_packaged_sweep_and_what_a_run_writes(name):
    path = ROOT / "sweeps" / f"{name}.toml"
    jsonschema.validate(tomllib.loads(path.read_text()), schema())
    jsonschema.validate(tomllib.loads(superjax.load(name).to_toml()), schema())


@pytest.mark.parametrize(
    "text",
    [
        "n_feature = 2",
        "n_features = 0",
        'n_features = "2"',
        "train.step = 1",
        "train.steps = 1.5",
        'train.optimizer = "adamm"',
        'model.kind = "relu"',
        "model.scale = 1",
        "data.density = 1.5",
        "data.density = {zipf = 1, ratio = 1, second = 1}",
        "terms.l1.strengh = 1",
        'target.kind = "absolut"',
        "case.a.train.step = 1",
        'axes.a.scale = "log2"',
        'study = "phase-diagram"',
    ],
)
def test_the_schema_marks_what_is_wrong(text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), schema())


@pytest.mark.parametrize(
    "text",
    [
        'model = {kind = "mine:Model", width = 3}',
        'data = {kind = "pkg.mine:Data", scale = 3}',
        'terms.a = {kind = "mine:Term", strength = 3}',
        'target.kind = "mine:function"',
        'study = "pkg.mine"',
        'importance = [1, 0.5]\ndata.density = 0.5\nmodel.init_std = "notebook"\npreset = "notebook"',
        "cases.n_hidden = [1, 2]",
    ],
)
def test_the_schema_accepts_members_of_ones_own_and_all_ways_to_write_a_value(text):
    jsonschema.validate(tomllib.loads(text), schema())


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation and newest
    assert {superjax.__version__, project, citation[1], newest[1]} == {project}
