"""The explorer: what its page shows is what the dataset has, in a real browser where there is one."""

import base64
import json
import re
import shutil
import time
import zlib
from html import escape

import numpy as np
import pytest

import superjax
from superjax import analysis, explorer
from superjax import sweep as sweep_command
from superjax.explorer import document as pages
from superjax.explorer import packing
from superjax.studies.results import Results

CONTENT = re.compile(r'<script id="content" type="application/json">(.*?)</script>', re.DOTALL)
DRIVER = shutil.which("chromedriver")
SWEEP = """
title = "</script><b>mine</b> & <script>window.broken = 1</script>"
n_features = 3
n_hidden = 2
restarts = 3
train.steps = 150
optimum = true
data = {kind = "sets", set_size = 3}
[axes.correlation]
field = "data.correlation"
values = [0, 0.5]
[axes.importance]
field = "importance[-1]"
scale = "log"
range = [0.1, 10]
points = 6
label = "<i>weight</i>"
[axes.density]
field = "data.density"
scale = "log"
range = [1, 0.05]
points = 5
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    file = tmp_path_factory.mktemp("explorer") / "mine.toml"
    file.write_text(SWEEP)
    sweep = superjax.load(file)
    return Results(sweep, superjax.run(sweep), {})


def unpacked(array):
    kind = np.dtype(array["type"])
    raw = np.frombuffer(zlib.decompress(base64.b64decode(array["data"])), np.uint8)
    return raw.reshape(kind.itemsize, -1).T.copy().view(kind).reshape(array["shape"])


def content(page: str):
    (found,) = CONTENT.findall(page)
    return json.loads(found)


def test_a_page_holds_the_dataset(results):
    (case,) = content(pages.page(results))["cases"]
    (data,) = results.datasets.values()
    best = data["best"]
    expected = {
        "loss": data["loss"], "phase": data["phase"], "W": data["W"].isel(restart=best), "optimum_b": data["optimum_b"],
        "success": data["success"], "gap": data["gap"], "typical_norm": data["typical_norm"],
        "solution": data["solution"],
    }  # fmt: skip
    dims = ("correlation", "importance", "density")
    for name, array in expected.items():
        found = unpacked(case["arrays"][name])
        values = array.transpose(*dims, "restart", "hidden", "feature", missing_dims="ignore").values
        np.testing.assert_allclose(found, values, rtol=2e-4, err_msg=name)
        assert np.issubdtype(values.dtype, np.floating) or (found == values).all()
    assert [axis["name"] for axis in case["axes"]] == list(dims)
    assert case["axes"][1]["values"] == data["importance"].values.tolist() and case["axes"][1]["log"]
    assert case["solutions"][0] in data["solution"].attrs["flag_meanings"]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1.0, np.nan, -np.inf, 0.0, 3e38, 1e-40]], np.float32),
        np.zeros((0, 2), np.float32),
        np.array([-128, 127], np.int64),
        np.array([70_000, -1], np.int32),
    ],
)
def test_what_is_packed_is_unpacked(values):
    found = unpacked(packing.packed(values))
    assert found.shape == values.shape
    np.testing.assert_allclose(found, values, rtol=2.0**-packing.DIGITS, atol=1e-42)


def test_texts_cannot_leave_their_place(results):
    page = pages.page(results)
    assert "<b>mine</b>" not in page and "<i>weight</i>" not in page
    assert content(page)["title"] == results.sweep.title
    assert not re.search(r'(src|href)="?https?:', page.replace(pages._file("plotly-cartesian.min.js"), ""))


def test_a_large_run_has_fewer_points_and_says_so(results, monkeypatch):
    whole = content(pages.page(results))["cases"][0]
    assert whole["whole"] == 0
    monkeypatch.setattr(pages, "MOST", sum(len(array["data"]) for array in whole["arrays"].values()) - 1)
    (case,) = content(pages.page(results))["cases"]
    assert case["whole"] == 30 and len(case["axes"][1]["values"]) < 6 and len(case["axes"][0]["values"]) == 2
    assert all(len(axis["values"]) >= 2 for axis in case["axes"])
    (data,) = results.datasets.values()
    values = case["axes"][1]["values"]
    expected = data["loss"].sel(importance=values, density=case["axes"][2]["values"]).values
    np.testing.assert_allclose(unpacked(case["arrays"]["loss"]), expected, rtol=2e-4)


def test_a_case_that_is_too_large_at_any_number_of_points_is_left_out(results, monkeypatch):
    monkeypatch.setattr(pages, "MOST", 100)
    assert pages.page(results) is None


def test_only_runs_with_maps_have_a_page(tmp_path):
    (tmp_path / "line.toml").write_text("n_features = 2\nn_hidden = 1\nrestarts = 2\ntrain.steps = 3\n"
                                        'axes.density = {field = "data.density", values = [1, 0.1]}\n')  # fmt: skip
    sweep = superjax.load(tmp_path / "line.toml")
    assert pages.page(Results(sweep, superjax.run(sweep), {})) is None


OWN = """
import equinox as eqx
import jax
from jaxtyping import Array, Float


class Own(eqx.Module):
    W: Float[Array, "..."]
    b: Float[Array, " n_outputs"]
    dims = {"W": DIMS, "b": ("output",)}

    def __init__(self, n_features, n_hidden, init_std, *, key):
        shape = (n_hidden, n_features) if DIMS[0] == "hidden" else (n_features, n_hidden)
        self.W = init_std * jax.random.normal(key, shape)
        self.b = jax.numpy.zeros(n_features)

    def __call__(self, x):
        W = self.W if DIMS[0] == "hidden" else self.W.T
        return jax.nn.relu(W.T @ (W @ x) + self.b)
"""


@pytest.mark.parametrize("dims", [("feature", "hidden"), ("hidden", "feature")])
def test_models_of_ones_own_have_a_page(dims, tmp_path, monkeypatch):
    name = f"explored_{dims[0]}"
    (tmp_path / f"{name}.py").write_text(OWN.replace("DIMS", repr(dims)))
    (tmp_path / "own.toml").write_text(SWEEP.split("optimum")[0] + f'model.kind = "{name}:Own"\n[axes.x]\nfield = '
                                       '"data.density"\nvalues = [1, 0.1]\n[axes.y]\nfield = "train.learning_rate"\n'
                                       "values = [0.01, 0.03]\n")  # fmt: skip
    sweep = superjax.load(tmp_path / "own.toml")
    (case,) = content(pages.page(Results(sweep, superjax.run(sweep), {})))["cases"]
    assert case["arrays"]["W"]["shape"][-2:] == [2, 3] and "phase" in case["arrays"]
    assert "loss" in case["arrays"]


SEARCHED = """
n_features = 2
n_hidden = 1
restarts = 4
train.steps = 150
boundary = {resolution = 0.02, band = 0.3}
axes.importance = {field = "importance[-1]", scale = "log", range = [0.2, 5], points = 6}
axes.density = {field = "data.density", scale = "log", range = [1, 0.1], points = 6}
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Results:
    file = tmp_path_factory.mktemp("searched") / "searched.toml"
    file.write_text(SEARCHED)
    sweep = superjax.load(file)
    return Results(sweep, superjax.run(sweep), {})


def test_a_page_has_the_boundaries_that_were_searched(searched, results, monkeypatch):
    (data,) = searched.datasets.values()
    lines = superjax.boundary_lines(data)
    (case,) = content(pages.page(searched))["cases"]
    assert {line.is_band for line in lines} == {False, True}
    for found, line in zip(case["lines"], lines, strict=True):
        assert found["band"] == line.is_band
        np.testing.assert_allclose(found["x"], line.at["importance"], rtol=1e-4)
        np.testing.assert_allclose(found["y"], line.at["density"], rtol=1e-4)
    monkeypatch.setattr(packing, "_VERTICES", 3)
    (case,) = content(pages.page(searched))["cases"]
    for found, line in zip(case["lines"], lines, strict=True):
        assert len(found["x"]) <= 3
        np.testing.assert_allclose(
            found["x"][:: max(len(found["x"]) - 1, 1)], line.at["importance"][[0, -1]], rtol=1e-4
        )
    assert content(pages.page(results))["cases"][0]["lines"] == []


def test_a_page_that_fails_does_not_fail_the_run(tmp_path, monkeypatch, capsys):
    def broken(results):
        raise MemoryError("no room")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explorer, "page", broken)
    (tmp_path / "own.toml").write_text(SWEEP.replace("train.steps = 150", "train.steps = 3"))
    assert sweep_command.main(["own.toml", "plot.dpi=20"]) == 0
    said = capsys.readouterr()
    assert "explore.html: not written, MemoryError: no room" in said.err
    assert json.loads((tmp_path / "results" / "own" / "manifest.json").read_text())["finished"]


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    if DRIVER is None:
        pytest.skip("there is no chromedriver: apt install chromium-driver")
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1000"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def shown(browser) -> str:
    return browser.find_element("id", "cell").text


def wait_for(browser, script: str):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(f"return {script}"))


def test_a_browser_shows_the_values_of_the_dataset(results, browser, tmp_path):
    """Keys, a move of the pointer and the switches change what is shown, to the values of the dataset."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    (tmp_path / "explore.html").write_text(pages.page(results), encoding="utf-8")
    browser.get((tmp_path / "explore.html").as_uri())
    wait_for(browser, "document.body.dataset.ready")
    (data,) = results.datasets.values()
    assert browser.find_element("id", "title").text == results.sweep.title
    assert not browser.execute_script("return window.broken")

    def words(k, i, j, what):
        where = data.isel(correlation=k, importance=i, density=j)
        value = what(where)
        if isinstance(value, float):
            value = f"{value:.4g}"
        return (
            f"correlation = {float(where.correlation):.4g}, importance = {float(where.importance):.4g}, "
            f"density = {float(where.density):.4g}; ", value,
        )  # fmt: skip

    def phase(where):
        return analysis.PHASES[int(where["phase"][int(where["best"]), -1])].replace("_", " ")

    def check(k, i, j, what):
        place, value = words(k, i, j, what)
        wait_for(browser, f"document.getElementById('cell').textContent.startsWith({json.dumps(place)})")
        assert f": {value}" in shown(browser)

    def select(name, text):
        Select(browser.find_element("css selector", f"select[name='{name}']")).select_by_visible_text(text)

    check(0, 3, 2, phase)
    body = browser.find_element("tag name", "body")
    body.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_UP)  # density falls along its axis, and 1 is on top
    check(0, 4, 1, phase)
    body.send_keys(Keys.ARROW_RIGHT * 9)
    check(0, 5, 1, phase)
    slider = browser.find_element("css selector", "input[name='correlation']")
    slider.send_keys(Keys.ARROW_RIGHT)
    check(1, 5, 1, phase)
    select("map", "loss of the best restart")
    place, _ = words(1, 5, 1, phase)
    lowest = float(data["loss"].isel(correlation=1, importance=5, density=1).min())
    assert shown(browser).startswith(place)
    assert float(re.search(r": ([\d.e-]+)", shown(browser))[1]) == pytest.approx(lowest, rel=2e-3)
    select("map", "norm ‖W_i‖")
    select("of", "optimum")
    select("feature", "0")
    norm = float(data["optimum_norm"].isel(correlation=1, importance=5, density=1, feature=0))
    assert float(re.search(r"of feature 0: ([\d.e-]+)", shown(browser))[1]) == pytest.approx(norm, rel=2e-3, abs=1e-6)
    bars = browser.execute_script("return document.getElementById('norms').data[0].y")
    expected = data["optimum_norm"].isel(correlation=1, importance=5, density=1).values
    np.testing.assert_allclose(bars, expected, rtol=1e-3, atol=1e-6)

    body.send_keys(Keys.ESCAPE)
    plot = browser.find_element("css selector", "#map .nsewdrag")
    before = shown(browser)
    size = plot.size
    ActionChains(browser).move_to_element_with_offset(plot, -size["width"] // 2 + 8, size["height"] // 2 - 8).perform()
    wait_for(browser, f"document.getElementById('cell').textContent !== {json.dumps(before)}")
    place, _ = words(1, 0, 4, phase)
    wait_for(browser, f"document.getElementById('cell').textContent.startsWith({json.dumps(place)})")

    wait_for(browser, "location.hash.includes('x=0')")
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    wait_for(browser, "document.body.dataset.ready")
    assert shown(browser).startswith(place) and "norm" in shown(browser)
    browser.find_element("id", "theme").click()
    assert browser.execute_script("return document.documentElement.dataset.theme") in ("light", "dark")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_browser_marks_merged_features_and_has_ticks_and_labels_that_can_be_read(results, browser, tmp_path):
    ((name, trained),) = results.datasets.items()
    data = trained.copy(deep=True)
    W = data["W"].transpose("correlation", "importance", "density", "restart", "hidden", "feature").values
    W[:] = [[0.01, 0, 1.2], [1, 0, 0]]  # no feature is on the direction of another
    W[0, 4, 1] = [[1, 0, 0.99], [0, 0.01, 0]]  # feature 2 is on that of feature 0
    data["W"] = (("correlation", "importance", "density", "restart", "hidden", "feature"), W)
    found = pages.page(Results(results.sweep, {name: data}, {}))
    (tmp_path / "merged.html").write_text(found, encoding="utf-8")

    def at(i, j):
        browser.get("about:blank")
        browser.get(f"{(tmp_path / 'merged.html').as_uri()}#x={i}&y={j}&further=0&map=phase&of=best&feature=2")
        wait_for(browser, "document.body.dataset.ready")

    def of(plot, what):
        return browser.execute_script(f"return document.getElementById('{plot}').{what}")

    at(4, 1)
    assert ", merged" in shown(browser) and "hatched" in browser.find_element("id", "legend").text
    low, high, _ = of("map", "data[1].x")
    assert low < float(data["importance"][4]) < high
    assert of("weights", "data[0].text") == [" 0, 2", " 1", ""]  # those of one place together
    assert of("weights", "_fullLayout.xaxis.range") == pytest.approx(of("weights", "_fullLayout.yaxis.range"))
    assert of("losses", "layout.xaxis.tickvals") == [1, 2, 3]
    assert of("map", "layout.xaxis.tickvals") == pytest.approx(data["importance"].values)
    at(3, 1)
    assert "merged" not in shown(browser)
    box = "document.querySelector('#weights .textpoint:last-of-type text').getBoundingClientRect().top"
    assert browser.execute_script(f"return {box} - document.getElementById('weights').getBoundingClientRect().top") > 25


def test_a_browser_draws_the_boundaries(searched, browser, tmp_path):
    (tmp_path / "searched.html").write_text(pages.page(searched), encoding="utf-8")
    browser.get((tmp_path / "searched.html").as_uri())
    wait_for(browser, "document.body.dataset.ready")
    (data,) = searched.datasets.values()
    for dash, band in (("solid", False), ("dash", True)):
        lines = [line for line in superjax.boundary_lines(data) if line.is_band == band]
        drawn = browser.execute_script(
            "return document.getElementById('map').data.filter(trace => trace.mode === 'lines' && trace.line.color === "
            f"'#ffffff' && trace.line.dash === '{dash}').map(trace => [trace.x, trace.y])"
        )
        ((x, y),) = drawn
        for found, name in ((x, "importance"), (y, "density")):
            expected = np.concatenate([[*line.at[name], np.nan] for line in lines])
            np.testing.assert_allclose([np.nan if v is None else v for v in found], expected, rtol=1e-4)
    legend = browser.find_element("id", "legend").text
    assert "white line: boundary that was searched; dashed: ends of the band of the restarts" in legend


def test_the_page_works_inside_a_notebook(results, browser, tmp_path):
    """As the content of a frame, which has no address to keep the cell in."""
    from selenium.webdriver.common.keys import Keys

    frame = f'<iframe srcdoc="{escape(pages.page(results))}" style="width: 100%; height: 900px"></iframe>'
    (tmp_path / "notebook.html").write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><div>{frame}</div>', encoding="utf-8"
    )
    browser.get_log("browser")
    browser.get((tmp_path / "notebook.html").as_uri())
    browser.switch_to.frame(0)
    wait_for(browser, "document.body.dataset.ready")
    before = shown(browser)
    browser.find_element("id", "title").click()  # keys go to the frame from then on
    browser.find_element("tag name", "body").send_keys(Keys.ARROW_RIGHT)
    wait_for(browser, f"document.getElementById('cell').textContent !== {json.dumps(before)}")
    time.sleep(0.4)  # the cell would be in the address by now
    assert browser.find_element("id", "link").text == ""
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    browser.switch_to.default_content()
