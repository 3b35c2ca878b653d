"""All packaged sweeps by one command, and the page that it leaves."""

import json
import shlex
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import superjax
from superjax import spec, studies
from superjax.runs import all_sweeps, gallery
from superjax.runs.page import write as write_page
from superjax.spec import SweepError, packaged
from superjax.studies import left_out
from superjax.sweep import main
from superjax.system import interrupt

TINY = """
title = "Tiny {name} <b> & more"
section = "None"
restarts = 2
n_features = 2
n_hidden = 1
train.steps = {steps}
plot.dpi = 20
axes.{axis} = {{field = "data.density", range = [0.1, 1], points = 3}}
"""


class Page(HTMLParser):
    """The links to pictures, the rows of all tables, and all text of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.pictures, self.rows, self.text, self.tags, self.inside = [], [], "", set(), ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.inside = tag
        if tag == "img":
            self.pictures.append(dict(attributes)["src"])
        elif tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside != "style":
            self.text += data
        if self.inside == "td":
            self.rows[-1][-1] += data


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """Two packaged sweeps, of one axis each; the working folder is empty."""
    (tmp_path / "sweeps").mkdir()
    files = {}
    for name, steps, axis in (("one", 4, "density"), ("two", 5, "sparse")):
        files[name] = tmp_path / "sweeps" / f"{name}.toml"
        files[name].write_text(TINY.format(name=name, steps=steps, axis=axis))
    monkeypatch.setattr(packaged, "sweeps", lambda: files)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = {number: signal.getsignal(number) for number in interrupt._SIGNALS}
    yield tmp_path / "here"
    for number, handler in before.items():
        signal.signal(number, handler)


def claims_of(folder: Path) -> list[dict]:
    return json.loads((folder / "claims.json").read_text())


def failing_first(claims: list[dict]) -> list[dict]:
    return sorted(claims, key=lambda claim: claim["holds"])


def test_all_sweeps_run_and_the_page_shows_them(tiny, capsys):
    assert main(["--all", "restarts=1", "axes.sparse.range=[0.2, 1]", "--out", "out"]) == 0
    one, two = (superjax.open(tiny / "out" / name / f"{name}.nc") for name in ("one", "two"))
    assert dict(one.sizes)["restart"] == dict(two.sizes)["restart"] == 1
    assert one["density"][0] == 0.1 and two["sparse"][0] == 0.2
    assert "2 of 2 sweeps: out/index.html" in capsys.readouterr().out
    page = Page(tiny / "out" / "index.html")
    assert page.pictures == ["one/one.png", "two/two.png"]
    assert all((tiny / "out" / picture).is_file() for picture in page.pictures)
    claims = [claim for name in ("one", "two") for claim in claims_of(tiny / "out" / name)]
    rows = [row for row in page.rows if row]
    assert [row[0] for row in rows] == [claim["claim"] for claim in claims]
    assert [row[5] for row in rows] == ["yes" if claim["holds"] else "no" for claim in claims]
    assert "Tiny one <b> & more" in page.text and "b" not in page.tags
    assert "incomplete" not in page.text and f"{len(claims)} of {len(claims)} claims hold" in page.text
    # again: nothing is trained
    assert main(["--all", "restarts=1", "axes.sparse.range=[0.2, 1]", "--out", "out", "--figures-only"]) == 0
    assert capsys.readouterr().out.count("redrawn") == 2


def test_the_page_escapes_and_says_what_is_missing(tmp_path):
    sweeps = {name: spec.load(name) for name in ("five_features", "phase_diagram", "protocols")}
    folder = tmp_path / "five_features"
    folder.mkdir()
    claim = {"claim": "<script>a & b", "source": "x", "expected": [1, 2.5], "measured": 0.123456789, "tolerance": None,
             "holds": False, "note": '"<i>"'}  # fmt: skip
    (folder / "claims.json").write_text(json.dumps([claim]))
    (folder / "a b.png").touch()
    manifest = {"finished": True, "files": ["a b.png", "gone.png", "claims.json"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    page = Page(write_page(tmp_path, sweeps, {"protocols": "No <room>"}))
    assert page.rows[-1] == ["<script>a & b", "x", "[1, 2.5]", "0.12346", "null", "no", '"<i>"', "derived"]
    assert page.pictures == ["five_features/a%20b.png"] and not {"script", "i", "room"} & page.tags
    assert "incomplete: phase_diagram (not finished), protocols (failed)" in page.text
    assert "Failed: No <room>" in page.text and "1 of 3 sweeps, 0 of 1 claims hold" in page.text
    (folder / "manifest.json").write_text(json.dumps({**manifest, "finished": False}))
    assert "five_features (not finished)" in Page(write_page(tmp_path, sweeps, {})).text


def test_the_page_has_what_does_not_hold_first_and_says_what_a_sweep_shows(tmp_path):
    folder = tmp_path / "five_features"
    folder.mkdir()
    claim = {"source": "", "expected": 1, "measured": 1, "tolerance": 0, "note": ""}
    claims = [{**claim, "claim": name, "holds": holds} for name, holds in (("a", True), ("b", False), ("c", True))]
    (folder / "claims.json").write_text(json.dumps(claims))
    (folder / "manifest.json").write_text(json.dumps({"finished": True, "files": []}))
    sweep = spec.load("five_features")
    page = Page(write_page(tmp_path, {"five_features": sweep}, {}))
    assert "5 left out: they need" not in page.text
    assert [row[0] for row in page.rows if row] == ["b", "a", "c"]
    said = {"finished": True, "files": [], "claims_left_out": "5 left out: they need a finer grid"}
    (folder / "manifest.json").write_text(json.dumps(said))
    assert "5 left out: they need a finer grid" in Page(write_page(tmp_path, {"five_features": sweep}, {})).text
    assert f"{sweep.about} ({sweep.takes} on two cores)" in page.text


def test_the_gallery_is_current():
    """`python -m superjax.runs.gallery` makes it."""
    results = Path(__file__).resolve().parents[2] / "results"
    assert gallery.text(results) == (results / "README.md").read_text()
    assert gallery.counts(results) == json.loads(left_out.FILE.read_text())


def test_the_gallery_shows_what_lies_there(tmp_path):
    folder = tmp_path / "five_features"
    folder.mkdir()
    claim = {"claim": "a | <b>\n", "source": "x", "expected": [1], "measured": None, "tolerance": None, "kind": "paper"}
    claims = [{**claim, "holds": True, "note": ""}, {**claim, "claim": "c", "holds": False, "note": "why"}]
    (folder / "claims.json").write_text(json.dumps(claims))
    (folder / "one.png").touch()
    lines = gallery.text(tmp_path).splitlines()
    assert [line for line in lines if line.startswith("## ")] == ["## five_features"]
    assert "![five_features: one](five_features/one.png)" in lines
    failing, holding = lines.index("| c | paper | [1] |  | why |"), lines.index("| a ∣ &lt;b>  | paper | [1] |  |  |")
    assert failing < holding
    assert any(line.startswith("1 of 2 claims hold") for line in lines)
    assert any(line.startswith("`python -m superjax.sweep five_features` (") for line in lines)


def test_the_page_bears_hostile_names_and_damaged_claims(tmp_path):
    sweeps = {"five_features": spec.load("five_features")}
    folder = tmp_path / "five_features"
    folder.mkdir()
    claim = {"claim": "a <i>\u202e", "source": "<b>", "expected": None, "measured": [None], "tolerance": {}}
    (folder / "claims.json").write_text(json.dumps([claim | {"holds": True, "note": "</table>"}]))
    (folder / '"><b>.png').touch()
    (folder / "manifest.json").write_text(json.dumps({"finished": True, "files": ['"><b>.png']}))
    page = Page(write_page(tmp_path, sweeps, {}))
    assert "1 of 1 claims hold" in page.text and not {"b", "i"} & page.tags
    assert page.rows[-1][3] == "[null]" and page.rows[-1][6] == "</table>"
    assert page.pictures == ["five_features/%22%3E%3Cb%3E.png"]
    for damaged in (claim, {**claim, "holds": None}, {**claim, "claim": "\ud800", "holds": True}):
        (folder / "claims.json").write_text(json.dumps([damaged]))
        assert "five_features (not finished)" in Page(write_page(tmp_path, sweeps, {})).text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one"], "leave one out"),
        (["restarts=1", "one"], "leave one out"),
        (["--distributed", "auto"], "leave --distributed out"),
        (["--fresh", "--figures-only"], "give one of them"),
        (["--figures-only"], "one has not been run"),
        (["--devices", "99"], "99"),
        (["--out", "a_file"], "a_file"),
        (["axes.densty.points=2"], "no packaged sweep has that"),
        (["axes.density.values=[1]"], "no packaged sweep has that"),
        (["case.three.restarts=2"], "no packaged sweep has that"),
        (["cases=one,two"], "no packaged sweep has that"),
        (["axes.sparse.range=[0, 1]"], "two: axes.sparse.range"),
        (["data.density=0.5"], "one: data.density=0.5 (command line): has no effect"),
        (["train.stepz=2"], "did you mean train.steps"),
        (["restarts=2", "restarts=3"], "twice"),
        (["study='five_features'"], "one: the study five_features draws n_hidden = 2"),
    ],
    ids=" ".join,
)
def test_what_any_sweep_refuses_is_refused_before_all(arguments, said, tiny, capsys):
    (tiny / "a_file").write_text("in the way")
    assert main(["--all", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) <= 6
    assert [path.name for path in tiny.iterdir()] == ["a_file"]


def test_other_settings_of_one_sweep_are_refused_before_the_others_train(tiny, capsys):
    assert main(["two", "train.steps=9"]) == 0
    assert main(["--all"]) == 2
    assert "results/two: holds a run with other settings" in capsys.readouterr().err
    assert not (tiny / "results" / "one").exists()


def test_figures_of_no_run_that_all_replaces_are_named_once(tiny, capsys):
    (tiny / "results" / "one").mkdir(parents=True)
    (tiny / "results" / "one" / "claims.json").write_text("[]")
    assert main(["--all", "restarts=1"]) == 0
    assert capsys.readouterr().err.count("one: may replace figures and claims that belong to no run: claims.json") == 1


@pytest.mark.heavy
def test_all_sweeps_grow_those_that_are_finished(tiny, capsys):
    assert main(["two", "restarts=1"]) == 0
    assert main(["--all"]) == 0
    said = capsys.readouterr().out
    assert "two: 3 of 6 models are taken over from the finished run" in said and "one: 6 models trained" in said


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), pytest.param(ValueError("a bug"), marks=pytest.mark.heavy)]
)
def test_one_failing_sweep_does_not_stop_the_others(error, tiny, capsys, monkeypatch):
    draw = studies.draw

    def failing(results, folder, *_):
        if results.sweep.name == "one":
            raise error
        return draw(results, folder)

    monkeypatch.setattr(studies, "draw", failing)
    assert main(["--all", "restarts=1"]) == 1
    said = capsys.readouterr()
    assert "superjax: failed: one; Resume with" in said.err and "1 of 2 sweeps" in said.out
    page = Page(tiny / "results" / "index.html")
    assert page.pictures == ["two/two.png"] and "incomplete: one (failed)" in page.text
    assert str(error) in page.text


@pytest.mark.heavy
def test_an_interrupt_ends_all_and_the_command_it_names_goes_on(tiny, capsys, monkeypatch):
    """`--fresh` cleared both folders at once: it is not said again, and what is finished is only redrawn."""
    assert main(["two", "restarts=3"]) == 0
    draw = studies.draw

    def interrupted(results, folder, *_):
        if results.sweep.name == "two":
            raise interrupt.Interrupted(signal.SIGINT)
        return draw(results, folder)

    monkeypatch.setattr(studies, "draw", interrupted)
    assert main(["--all", "--fresh", "restarts=1"]) == 130
    command = shlex.split(capsys.readouterr().err.strip().splitlines()[-1])
    assert command[:3] == ["python", "-m", "superjax.sweep"] and command[3:] == ["--all", "restarts=1"]
    assert "two (not finished)" in Page(tiny / "results" / "index.html").text
    monkeypatch.setattr(studies, "draw", draw)
    assert main(command[3:]) == 0
    said = capsys.readouterr().out
    assert "one: 3 models redrawn" in said and "two: 3 models" in said
    assert "incomplete" not in Page(tiny / "results" / "index.html").text


@pytest.mark.heavy
def test_strict_fails_after_all_have_run(tiny, capsys):
    wild = ["train.optimizer=sgd", "train.learning_rate=1e30", "train.schedule=constant"]
    assert main(["--all", "--strict", "restarts=1", *wild]) == 1
    assert "2 of 2 sweeps" in capsys.readouterr().out


def test_overrides_of_axes_and_cases_concern_the_sweeps_that_have_them():
    sweeps = all_sweeps.resolve(["restarts=3", "axes.importance.points=5", "case.n3_m2.train.steps=7"])
    assert list(sweeps) == list(spec.available())
    assert all(case.restarts == 3 for sweep in sweeps.values() for case in sweep.cases.values())
    assert sweeps["protocols"].cases["n2_m1_notebook"].axes["importance"].points == 5
    assert sweeps["phase_diagram"].cases["n3_m2"].train.steps == 7
    assert sweeps["phase_diagram"].cases["n2_m1"].train.steps == 1000
    chosen = all_sweeps.resolve(["cases=n2_m1"])
    assert list(chosen["phase_diagram"].cases) == ["n2_m1"] and len(chosen["protocols"].cases) == 4
    with pytest.raises(SweepError, match=r"^\w+: data.density=0.1 \(command line\): has no effect"):
        all_sweeps.resolve(["data.density=0.1"])


@pytest.mark.heavy
def test_an_override_of_all_need_have_an_effect_in_one_sweep():
    """It concerns those where it has; what is wrong is refused all the same."""
    overrides = [
        "train={batch=512, steps=9, warmup_steps=0}",
        "plot.threshold=0.3",
        "train.skip_empty=true",
        "train.weight_decay=0.02",
    ]
    sweeps = all_sweeps.resolve(overrides)
    assert all(case.train.steps == 9 for sweep in sweeps.values() for case in sweep.cases.values())
    first = {name: next(iter(sweep.cases.values())) for name, sweep in sweeps.items()}
    assert first["uniform_geometry"].train.batch == 512 and first["phase_diagram"].train.batch == 1024
    assert first["uniform_geometry"].train.skip_empty and not first["phase_diagram"].train.skip_empty
    assert first["phase_diagram"].plot.threshold == 0.3 and first["five_features"].plot.threshold == 0.5
    decay = {case.train.weight_decay for case in sweeps["protocols"].cases.values()}
    assert decay == {0.0, 0.02}
    for texts, says in (
        (["train.batch=512", "train.objective=exact"], r"train.batch=512 \(command line\): has no effect"),
        (["train.batch=0"], "must be >= 1"),
        (["train.streams=2"], r"\w+: .*must be <= restarts = 1: a stream"),
    ):
        with pytest.raises(SweepError, match=says):
            all_sweeps.resolve(texts)


@pytest.mark.heavy
def test_the_true_atlas_reduced(tmp_path):
    """Every packaged sweep from the command line. Takes minutes: most of it compiles the programs of all cases, which
    no reduction spares. (Each study draws from a run of its own in the tests of studies.)"""
    small = ["restarts=1", "train={steps=3, warmup_steps=0}", "axes.importance.points=3", "axes.density.points=3",
             "plot.dpi=30", "axes.perturbed.points=3", "case.three_correlated_pairs.optimum=false",
             "case.correlated_pairs.optimum=false"]  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "superjax.sweep", "--all", *small], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    names, page = list(spec.available()), Page(tmp_path / "results" / "index.html")
    assert f"{len(names)} of {len(names)} sweeps" in result.stdout and "incomplete" not in page.text
    assert {picture.partition("/")[0] for picture in page.pictures} == set(names)
    assert all((tmp_path / "results" / picture).is_file() for picture in page.pictures)
    shown = [row[0] for row in page.rows if row]
    in_order = (claim for name in names for claim in failing_first(claims_of(tmp_path / "results" / name)))
    assert shown == [claim["claim"] for claim in in_order]
