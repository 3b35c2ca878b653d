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
from superjax.studies.learning_dynamics.view import EVENTS, Course, Shape, courses, events

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


def test_the_events_of_a_known_course():
    course = known_course()
    at = events(course)
    np.testing.assert_allclose(course.step[list(at[: len(EVENTS)])], [50, 500, 2000, 10000], rtol=0.35)
    np.testing.assert_allclose(course.step[course.drops], [50, 500, 2000, 10000], rtol=0.05)
    assert course.falls_fast(np.array(at[: len(EVENTS)])).all()
    shape = Shape.of(course.W)
    assert shape.triangles[-1] and not shape.triangles[at.opened]
    np.testing.assert_allclose(shape.partner[-1], -1, atol=1e-3)
    prism = Shape.of(known_course(octahedron=False).W[-1])
    assert prism.triangles and np.allclose(prism.partner, -2 / 3, atol=1e-3)  # turned by a sixth: (2, 2, -1) / 3


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
    top, middle, bottom = figures["energy_levels"].axes
    drawn = [line.get_ydata() for line in top.lines if len(line.get_xdata()) == len(course.step)]
    assert len(drawn) == data.sizes["feature"]
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(course.dimensionality.T, axis=0))
    np.testing.assert_array_equal(middle.lines[0].get_ydata(), course.loss)
    np.testing.assert_array_equal(bottom.lines[0].get_ydata(), course.falling)
    marked = {line.get_xdata()[0] for line in middle.lines[1:]}
    assert marked == set(course.step[course.drops])
    assert {"1/2 digon", "3/4 tetrahedron"} <= {text.get_text() for text in top.texts}

    data = results.datasets["octahedron"]
    course = courses(data)[int(data["best"])]
    *spaces, loss, within, partner = figures["octahedron"].axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), course.loss)
    assert len(spaces) == len(EVENTS) and all(event in [text.get_text() for text in loss.texts] for event in EVENTS)
    ends = np.array([[values[-1] for values in line.get_data_3d()] for line in spaces[-1].lines[:6]])
    np.testing.assert_allclose(ends, (analysis.canonical_rotation(course.W[-1]) @ course.W[-1]).T, atol=1e-6)
    lines = [line.get_ydata() for line in partner.lines if len(line.get_xdata()) == len(course.step)]
    np.testing.assert_array_equal(lines, Shape.of(course.W).partner.T)


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    first = [claim._asdict() for claim in studies.claims(results)]
    for name, data in results.datasets.items():
        write_dataset(tmp_path / f"{name}.nc", data)
    stored = {name: superjax.open(tmp_path / f"{name}.nc") for name in results.datasets}
    write_json(tmp_path / "claims.json", [c._asdict() for c in studies.claims(results._replace(datasets=stored))])
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))
    for part in ("ends in", "within 0.02", "jumps of features", "drops of the loss", "1/√3", "s/3", "antipodal"):
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
    """Another loss curve, other final features, and sets that never are one direction."""
    data = {name: dataset.copy(deep=True) for name, dataset in results.datasets.items()}
    data["energy_levels"]["dimensionality"] *= 0.9
    data["energy_levels"]["loss_snapshots"][:] = data["energy_levels"]["loss_snapshots"].values[:, ::-1]
    data["octahedron"]["loss"] *= 1.1
    data["octahedron"]["W_snapshots"][:, :-20, :, 0] *= -1
    held = {claim.claim: claim.holds for claim in learning_dynamics.claims(results)}
    broken = learning_dynamics.claims(results._replace(datasets=data))
    failed = [claim.claim for claim in broken if not claim.holds and held[claim.claim]]
    for part in ("within 0.02", "jumps of features", "loss of the best model", "same set when"):
        assert any(part in claim for claim in failed), part


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
    (jumps,) = (claim for claim in learning_dynamics.claims(partly) if "jumps of features" in claim.claim)
    assert jumps.note.count("8 jumps") == 1  # of one restart
