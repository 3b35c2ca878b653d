"""Figures are the same whatever the user's matplotlib is set to, and texts are drawn as they are."""

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import superjax
from superjax import plots, studies
from superjax.plots import canvas
from superjax.studies import Results
from tests.studies.test_studies import made_up, results_of

ONE_AXIS = """
title = 'cost $x_{$ of \\alpha'
n_features = 3
n_hidden = 2
restarts = 2
train.steps = 30
plot.dpi = 30
[axes.density]
field = "data.density"
label = 'half of $ and _{'
values = [1, 0.3, 0.1]
"""
HOSTILE = [
    {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": "binary"},
    {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": "style"},
]
STYLE = """text.usetex: True
font.family: No Such Font
axes.facecolor: black
savefig.bbox: tight
lines.linewidth: wide
"""
DRAW = """
import sys
from pathlib import Path
import superjax
from superjax import studies

sweep = superjax.load(sys.argv[1])
studies.check(sweep)
from tests.studies.test_studies import results_of
studies.draw(results_of(sweep), Path(sys.argv[2]))
"""


@pytest.fixture
def sweep(tmp_path) -> superjax.Sweep:
    (tmp_path / "mine.toml").write_text(ONE_AXIS)
    return superjax.load(tmp_path / "mine.toml")


def drawn(sweep, folder) -> bytes:
    (path,) = studies.draw(results_of(sweep), folder)
    return path.read_bytes()


def test_figures_do_not_depend_on_the_users_settings(sweep, tmp_path):
    plain = drawn(sweep, tmp_path)
    assert drawn(sweep, tmp_path) == plain  # drawn again, byte for byte
    with plt.style.context("dark_background"), plt.rc_context({"font.family": "No Such Font", "text.usetex": True}):
        before = dict(matplotlib.rcParams)
        assert drawn(sweep, tmp_path) == plain
        assert dict(matplotlib.rcParams) == before
    with plt.xkcd(), plt.rc_context({"savefig.bbox": "tight", "savefig.transparent": True, "axes.grid": True}):
        assert drawn(sweep, tmp_path) == plain
    with plt.style.context("dark_background"):  # primitives in the user's own axes are in the user's style
        ax = Figure().subplots()
        plots.phase_map(ax, np.arange(2.0), np.arange(2.0), np.zeros((2, 2), np.int8))
        assert ax.get_facecolor() == (0, 0, 0, 1)


def test_a_picture_holds_no_version_or_date(sweep, tmp_path):
    assert b"tEXt" not in drawn(sweep, tmp_path) and b"atplotlib" not in drawn(sweep, tmp_path)


@pytest.mark.heavy
def test_hostile_surroundings_change_no_pixel(sweep, tmp_path):
    """In processes of their own, as matplotlib's import is what fails."""
    plain = drawn(sweep, tmp_path)
    (tmp_path / "binary").write_bytes(b"\x92\xff\x00")
    (tmp_path / "style").write_text(STYLE)
    processes = []
    for k, own in enumerate(HOSTILE):
        own = {key: str(tmp_path / value) if key == "MATPLOTLIBRC" else value for key, value in own.items()}
        (tmp_path / str(k)).mkdir()
        command = [sys.executable, "-c", DRAW, sweep.path, tmp_path / str(k)]
        processes.append(subprocess.Popen(command, env={**os.environ, **own}, stderr=subprocess.PIPE, text=True))
    said = [process.communicate()[1] for process in processes]
    for k, process in enumerate(processes):
        assert process.returncode == 0, said[k]
        assert (tmp_path / str(k) / "mine.png").read_bytes() == plain


def test_what_matplotlib_cannot_do_is_said_before_training(sweep, monkeypatch):
    def broken(*arguments, **keywords):
        raise OSError("no writable\nfolder for fonts")

    monkeypatch.setattr(canvas, "png", broken)
    with pytest.raises(superjax.SweepError, match="matplotlib cannot draw: OSError: no writable folder for fonts"):
        studies.check(sweep)


@pytest.mark.parametrize(
    "text",
    ["$x_{$", "$5 and $6", "\\$", "\\frac{", "\N{GRINNING FACE} \u6f22\u5b57", "\u05e9\u05dc\u05d5\u05dd", "a\tb",
     "\x00\x1b[31m", "\ud800", "W" * 10_000, "a b " * 2500, "", " ", "%s {0} {", "<b>&amp;"],
    ids=ascii,
)  # fmt: skip
def test_any_text_is_drawn_as_it_is(text):
    with canvas.plain():
        figure = Figure(figsize=(4, 3), layout="constrained")
        canvas.heading(figure, text)
        figure.subplots().set_xlabel(canvas.fitted(text, 2.4, lines=2))
        canvas.png(figure, 40.0)
        box = figure._suptitle.get_window_extent() if text.strip() else None
    if box is not None:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    shown = figure.get_suptitle()
    assert len(shown) < 400 and ("…" in shown) == (len(text) > 1000)
    if text.isprintable() and len(text) < 1000:
        assert shown.replace(r"\$", "$") == " ".join(text.split())


def test_letters_can_be_read_in_a_page():
    """At least 8 points where the figure is 1000 pixels wide; figures that are no wider are as they were."""
    for inches in (20.0, 6.0):
        figure = Figure(figsize=(inches, 3), layout="constrained")
        ax = figure.subplots()
        ax.set_xlabel("x", fontsize=6)
        ax.plot([1], [2], label="one")
        ax.tick_params(axis="y", labelsize=5)
        ax.legend(fontsize=7)
        space = figure.add_axes((0, 0, 0.2, 0.2), projection="3d")
        canvas.legible(figure)
        canvas.png(figure, 40.0)
        texts = [
            *space.get_zticklabels(),
            ax.xaxis.label,
            ax.get_legend().get_texts()[0],
            *ax.get_xticklabels(),
            *ax.get_yticklabels(),
        ]
        pixels = [text.get_fontsize() / 72 * 1000 / inches for text in texts]
        assert min(pixels) >= 8 * 96 / 72 - 1e-6
        assert (ax.get_yticklabels()[0].get_fontsize() == 5) == (inches == 6)


def test_a_dollar_is_no_mathematics():
    """The same ink as without parsing."""

    def ink(text, **keywords):
        with canvas.plain():
            figure = Figure(figsize=(4, 1))
            figure.text(0, 0.5, text, **keywords)
            return canvas.png(figure, 50.0)

    assert ink(canvas.literal("$x_1$ of $y^2$")) == ink("$x_1$ of $y^2$", parse_math=False) != ink("$x_1$ of $y^2$")


@pytest.mark.parametrize(
    ("size", "dpi", "given"),
    [((10, 5), 200.0, 200.0), ((20, 400), 200.0, 75.0), ((40, 40), 1200.0, 250.0), ((10, 5), 1.0, 12.0)],
)
def test_the_pixels_of_a_figure_are_bounded(size, dpi, given):
    figure = Figure(figsize=size)
    assert canvas.resolution(figure, dpi) == pytest.approx(given)


def test_other_dots_per_inch_are_said(sweep, tmp_path):
    said = []
    studies.draw(results_of(sweep.override("plot.dpi=1")), tmp_path, said.append)
    (message,) = said
    assert "mine.png: drawn with 12 dots per inch; 1 would make it too small" in message


@pytest.mark.heavy
def test_extreme_axes_are_drawn(sweep, tmp_path):
    for field, values in (("train.learning_rate", [1e-37, 1.0, 1e37]), ("train.learning_rate", [1.0, 1.0000002])):
        for scale in ("log", "linear"):
            own = sweep.override(f'axes.density={{field="{field}", scale="{scale}", values={values}}}')
            for more in ((), ('axes.other={field="train.eps", values=[1e-37, 1e37], scale="log"}',)):
                studies.draw(results_of(own.override(*more)), tmp_path)


def test_a_results_caption_names_no_time(sweep):
    """The same data must give the same figure after each run."""
    from superjax.studies.captions import models_in_words

    data = {name: made_up(case) for name, case in sweep.cases.items()}
    for seconds in (1, 2):
        manifest = {"cases": {"mine": {"seconds": {"train": seconds}}}}
        assert models_in_words(Results(sweep, data, manifest)) == "6 models."
    searched = {name: one.assign(boundary_models=one["loss"].size + 20) for name, one in data.items()}
    assert models_in_words(Results(sweep, searched, {})) == "6 models of the grid and 20 of the search."
