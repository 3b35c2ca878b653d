"""Learning in jumps: what is measured of courses that are known, what the figures draw, what the claims notice."""

import json

import numpy as np
import pytest

import superjax
from superjax import analysis, studies
from superjax.disk.files import write_json
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import learning_dynamics
from superjax.studies.learning_dynamics.view import ANTIPRISM, EVENTS, Course, Shape, courses, events

REDUCED = (
    "train.snapshots=60", "case.energy_levels.restarts=2", "case.energy_levels.n_features=8",
    "case.energy_levels.n_hidden=3", "case.energy_levels.train.steps=1500", "case.energy_levels.train.batch=256",
    "case.octahedron.restarts=2", "case.octahedron.train.nodes=2", "case.octahedron.train.steps=6000",
    "case.octahedron.train.learning_rate=0.045", "case.octahedron.train.batch=1024",
)  # fmt: skip


@pytest.fixture(scope="module")
def results() -> studies.Results:
    sweep = superjax.load("learning_dynamics", *REDUCED)
    manifest = {"cases": {name: {"seconds": {"train": 1.5}} for name in sweep.cases}}
    return studies.Results(sweep, superjax.run(sweep), manifest)


def known_course(octahedron: bool = True) -> Course:
    """Two sets that separate at step 50, open at 500, are triangles at 2000 and turn at 10000, the loss falling each
    time."""
    step = np.unique(np.geomspace(1, 1e5, 400).round().astype(int))

    def after(centre):
        return 1 / (1 + np.exp(-8 * np.log(step / centre)))

    separate, opened, complete, turned = map(after, (50, 500, 2000, 10000))
    middle = np.ones(3) / np.sqrt(3)
    W = np.zeros((len(step), 3, 6))
    for t in range(len(step)):
        pair = middle + opened[t] * (np.array([0, 1, 1]) / np.sqrt(2) - middle)
        first = np.stack([middle, pair, pair], axis=1)
        first[:, 0] += opened[t] * (np.eye(3)[0] - middle)
        first[:, 1:] += complete[t] * (np.eye(3)[:, 1:] - first[:, 1:])
        angle = np.pi / 3 * (1 - turned[t] * octahedron)
        axis = np.cross(np.eye(3), middle)
        turn = np.eye(3) + np.sin(angle) * axis + (1 - np.cos(angle)) * axis @ axis
        W[t] = separate[t] * np.concatenate([first, -turn @ first], axis=1)
    return Course(step, W + 1e-6, np.exp(-separate - opened - complete - turned))


def test_speed_and_drops_of_a_known_curve():
    step = np.unique(np.geomspace(1, 1e4, 300).round().astype(int))
    np.testing.assert_allclose(analysis.speed(step, 3 * np.log(step)), 3, rtol=1e-9)
    sigmoid = sum(1 / (1 + np.exp(-6 * np.log(step / centre))) for centre in (30, 1000))
    found = step[analysis.drops(step, np.exp(-sigmoid))]
    np.testing.assert_allclose(found, [30, 1000], rtol=0.05)
    assert len(analysis.drops(step, np.full(len(step), 2.0))) == 0


def test_the_largest_change_within_a_factor_of_steps():
    """A step of a curve is found whole, of one that rises evenly in ln(steps) a share, and a smooth one has less than
    the jump that a steep one of the same ends has."""
    step = np.unique(np.geomspace(1, 1e4, 300).round().astype(int))
    x = np.log(step)
    curves = np.stack([0.5 * (step > 300), 0.5 * x / x[-1], 0.5 / (1 + np.exp(-12 * (x - np.log(300))))], axis=1)
    change, at = analysis.largest_change(step, curves, 1.5)
    np.testing.assert_allclose(change, [0.5, 0.5 * np.log(1.5) / x[-1], 0.5 * np.tanh(3 * np.log(1.5))], rtol=0.02)
    np.testing.assert_allclose(step[at[[0, 2]]], 300, rtol=0.25)
    smooth = analysis.smooth(step, curves[0], curves[-1])
    np.testing.assert_allclose(smooth[[0, -1]], curves[[0, -1]], atol=1e-12)
    assert (np.diff(smooth, axis=0) >= 0).all()
    assert analysis.largest_change(step, smooth, 1.5)[0].max() < 0.06


def falling_apart(width: float) -> Course:
    """Six features in three dimensions, of which three are lost at steps 100, 300 and 900, within a width in ln(steps),
    and their partners left alone: dimensionalities from 1/2 to 0 and to 1."""
    step = np.unique(np.geomspace(1, 1e4, 400).round().astype(int))
    W = np.tile(np.concatenate([np.eye(3), -np.eye(3)], axis=1), (len(step), 1, 1))
    for k, centre in enumerate((100, 300, 900)):
        dimensionality = 0.5 / (1 + np.exp(np.log(step / centre) / width))
        W[:, k, 3 + k] *= np.sqrt(dimensionality / (1 - dimensionality))
    return Course(step, W, np.exp(-np.log(step)))


def test_what_jumps_and_what_does_not():
    jumps = falling_apart(0.1).jumps()
    np.testing.assert_allclose(falling_apart(0.1).dimensionality.sum(-1), 3, atol=1e-6)
    assert jumps.real.all() and (jumps.smooth < jumps.change / 2).all()
    np.testing.assert_allclose(falling_apart(0.1).step[jumps.at[3:]], [100, 300, 900], rtol=0.2)
    assert not falling_apart(2.0).jumps().real.any()


def test_the_events_of_a_known_course():
    course = known_course()
    at = events(course)
    np.testing.assert_allclose(course.step[list(at[: len(EVENTS)])], [50, 500, 2600, 10000], rtol=0.35)
    np.testing.assert_allclose(course.step[course.drops], [50, 500, 2000, 10000], rtol=0.05)
    assert (course.falling[[at.separate, at.opened, at.turned]] > course.typical(at.separate, at.antiprism)).all()
    shape = Shape.of(course.W)
    assert shape.triangles[at.triangles :].all() and not shape.triangles[at.triangles - 1]
    np.testing.assert_allclose(shape.turn[at.triangles], 0, atol=1.5)
    assert shape.turn[at.antiprism] >= ANTIPRISM > shape.turn[at.antiprism - 1]
    np.testing.assert_allclose(shape.turn[-1], 60, atol=0.1)
    np.testing.assert_allclose(shape.partner[-1], -1, atol=1e-3)
    prism = Shape.of(known_course(octahedron=False).W[-1])
    assert prism.triangles and np.allclose(prism.partner, -2 / 3, atol=1e-3)  # turned by a sixth: (2, 2, -1) / 3
    np.testing.assert_allclose(prism.turn, 0, atol=1e-3)


def test_the_turn_forgets_rotations_and_mirrors():
    W = known_course().W[250]
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    np.testing.assert_allclose([Shape.of(turn @ W).turn, Shape.of(W[::-1]).turn], Shape.of(W).turn, atol=1e-6)


def test_one_rotation_for_all_snapshots_keeps_overlaps():
    W = np.random.default_rng(0).standard_normal((5, 3, 6))
    turn = analysis.canonical_rotation(W[-1])
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turn @ W[-1], analysis.canonical(W[-1]), atol=1e-12)
    np.testing.assert_allclose((turn @ W).swapaxes(1, 2) @ (turn @ W), W.swapaxes(1, 2) @ W, atol=1e-12)


def test_the_figures_draw_the_courses(results):
    figures = learning_dynamics.figures(results)
    assert list(figures) == ["energy_levels", "octahedron"]
    data = results.datasets["energy_levels"]
    course = courses(data)[int(data["best"])]
    top, middle, bottom, changes = figures["energy_levels"].axes
    drawn = [line.get_ydata() for line in top.lines if len(line.get_xdata()) == len(course.step)]
    assert len(drawn) == data.sizes["feature"]
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(course.dimensionality.T, axis=0))
    dots = [line for line in top.lines if line.get_marker() == "o"]
    assert len(dots) == course.jumps().real.sum()
    assert [text.get_text().split(":")[0] for text in changes.get_legend().get_texts()] == [
        "features", "smooth curves of the same ends",
    ]  # fmt: skip
    np.testing.assert_array_equal(middle.lines[0].get_ydata(), course.loss)
    np.testing.assert_array_equal(bottom.lines[0].get_ydata(), course.falling)
    marked = {line.get_xdata()[0] for line in middle.lines[1:]}
    assert marked == set(course.step[course.drops])
    assert {"1/2 digon", "3/4 tetrahedron"} <= {text.get_text() for text in top.texts}

    data = results.datasets["octahedron"]
    course = courses(data)[int(data["best"])]
    *spaces, loss, within, partner, turn = figures["octahedron"].axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), course.loss)
    assert len(spaces) == len(EVENTS) and all(event in [text.get_text() for text in loss.texts] for event in EVENTS)
    ends = np.array([[values[-1] for values in line.get_data_3d()] for line in spaces[-1].lines[:6]])
    np.testing.assert_allclose(ends, (analysis.canonical_rotation(course.W[-1]) @ course.W[-1]).T, atol=1e-6)
    lines = [line.get_ydata() for line in partner.lines if len(line.get_xdata()) == len(course.step)]
    np.testing.assert_array_equal(lines, Shape.of(course.W).partner.T)
    (drawn,) = [line for line in turn.lines if line.get_color() == "black"]
    np.testing.assert_array_equal(drawn.get_ydata(), Shape.of(course.W).turn[events(course).triangles :])


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    first = [claim._asdict() for claim in studies.claims(results)]
    for name, data in results.datasets.items():
        write_dataset(tmp_path / f"{name}.nc", data)
    stored = {name: superjax.open(tmp_path / f"{name}.nc") for name in results.datasets}
    write_json(tmp_path / "claims.json", [c._asdict() for c in studies.claims(results._replace(datasets=stored))])
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))
    wanted = ("ends in", "within 0.02", "features that jump", "jumps of features", "drops of the loss", "1/√3", "s/3")
    for part in (*wanted, "antipodal", "not half turned"):
        assert any(part in claim["claim"] + claim["source"] for claim in first), part


def test_small_models_end_as_the_paper_says(results):
    """3 digons in both cases, reduced as they are, by way of separate sets."""
    held = {claim.claim: claim.holds for claim in learning_dynamics.claims(results)}
    wanted = (
        "ends in",
        "same set when the sets are separate",
        "norm of the features then",
        "loss then",
        "separate, and",
    )
    for part in wanted:
        assert all(holds for claim, holds in held.items() if part in claim), part


def test_claims_notice_wrong_data(results):
    """Other final features, features that never change, and sets that never are one direction."""
    data = {name: dataset.copy(deep=True) for name, dataset in results.datasets.items()}
    data["energy_levels"]["dimensionality"] *= 0.9
    data["energy_levels"]["W_snapshots"][:] = data["energy_levels"]["W_snapshots"].isel(snapshot=-1)
    data["octahedron"]["loss"] *= 1.1
    data["octahedron"]["W_snapshots"][:, :-20, :, 0] *= -1
    held = {claim.claim: claim.holds for claim in learning_dynamics.claims(results)}
    broken = learning_dynamics.claims(results._replace(datasets=data))
    failed = [claim.claim for claim in broken if not claim.holds and held[claim.claim]]
    for part in ("within 0.02", "loss of the best model", "same set when"):
        assert any(part in claim for claim in failed), part
    for part in ("features that jump", "jumps of features"):
        (before,), (after,) = ([c.measured for c in learning_dynamics.claims(r) if part in c.claim]
                               for r in (results, results._replace(datasets=data)))  # fmt: skip
        assert before > 0.3 and after == 0, part


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("train.snapshots=2",), "needs train.snapshots, 3 or more"),
        (("train.snapshots=[0, 5, 9]",), "needs train.snapshots, 3 or more"),
        (("axes.density={field='data.density', values=[0.1, 0.2]}",), "without axes"),
        (("case.octahedron.n_hidden=2",), "two sets of 3 features in 3 dimensions"),
        (("case.octahedron.data.set_size=2",), "two sets of 3 features in 3 dimensions"),
        (("model.kind=mine:Model",), "tied models only"),
    ],
)
def test_what_cannot_be_drawn_is_refused(overrides, said):
    with pytest.raises(SweepError, match=said):
        studies.check(superjax.load("learning_dynamics", *overrides))


def test_what_diverged_is_left_out(results):
    data = {name: dataset.copy(deep=True) for name, dataset in results.datasets.items()}
    data["octahedron"]["W_snapshots"][:, 30:] = np.nan
    data["energy_levels"]["loss_snapshots"][1 - int(data["energy_levels"]["best"]), 9] = np.inf
    partly = results._replace(datasets=data)
    assert list(learning_dynamics.figures(partly)) == ["energy_levels"]
    assert not any("octahedron" in claim.claim for claim in learning_dynamics.claims(partly))
    (jumps,) = (claim for claim in learning_dynamics.claims(partly) if "features that jump" in claim.claim)
    assert "of 8 features" in jumps.note  # of one restart
