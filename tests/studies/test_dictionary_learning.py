"""Dictionaries over density and correlation: closed forms, what the figures draw, and claims, of made-up data in which
some dictionaries are set by hand. How dictionaries are trained is tested with the stage."""

import json

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh

import superjax
from superjax import analysis, studies
from superjax.disk.files import write_json
from superjax.runs.dataset import derive
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import Results, dictionary_learning
from superjax.studies.dictionary_learning import view
from superjax.studies.dictionary_learning.figures import COLOURS, WIDTH_COLOURS, curves, hedging, maps
from superjax.studies.dictionary_learning.view import Outcome

from .test_studies import made_up

N, M, DENSITY, RHO, PENALTY = 4, 3, [1, 0.5, 0.05], [0, 1], [0.01, 0.1]
L1 = ("narrow", "true_width", "wide", "true_start", "true_directions", "random_directions")
SMALL = [
    f"n_features={N}", f"n_hidden={M}", f"autoencoder.width={N}", "case.narrow.autoencoder.width=2",
    "case.wide.autoencoder.width=8", "restarts=2", f"axes.density.values={DENSITY}", f"axes.correlation.values={RHO}",
    *(f"case.{name}.axes.penalty={{field='autoencoder.penalty', scale='log', values={PENALTY}}}" for name in L1),
]  # fmt: skip
CELLS = (len(DENSITY), len(RHO), len(PENALTY))


def features() -> np.ndarray:
    """Four features in space, of norm 1; partners are orthogonal but in two cells, where they are one direction."""
    W = np.broadcast_to(np.array([[1, 0, 0.6, 0], [0, 1, 0, 0.6], [0, 0, 0.8, -0.8]]), (*CELLS, 2, M, N)).copy()
    W[1, 1, ..., 1::2] = W[1, 1, ..., ::2]
    return W


@pytest.fixture(scope="module")
def results() -> Results:
    """With the larger penalty, sparse dictionaries have the features, where partners are correlated only if they
    started there. Narrow ones have the sums of partners there, else the first members."""
    sweep = superjax.load("dictionary_learning", *SMALL)
    datasets = {}
    for name, case in sweep.cases.items():
        data = made_up(case)
        W = features() if "penalty" in data.dims else features()[:, :, 0]
        data["W"] = data["W"].dims, W[..., : case.restarts, :, :].astype(np.float32)
        for variable in ("firing", "fvu", "l0"):
            data[f"autoencoder_{variable}"][...] = 0.5
        decoder, objective = data["autoencoder_decoder"].values, data["autoencoder_objective"].values
        if name in ("true_width", "true_start"):
            objective[...] = 1
            decoder[2, 0, 1] = W[2, 0, 1]
        if name == "true_width":  # one direction alone: far from the features
            decoder[[0, 0, 2], [0, 1, 1]] = np.array([1.0, -1, 0])[:, None]
        if name == "true_start":
            objective[0] = 2
            decoder[2, 1] = W[2, 1]
        if name == "narrow":
            units = analysis.units(W)
            decoder[:, 0] = units[:, 0][..., ::2]
            decoder[:, 1] = (units[..., ::2] + units[..., 1::2])[:, 1]
        datasets[name] = derive(data, case)
    return Results(sweep, datasets, {})


def of(results: Results, name: str) -> view.Dictionaries:
    return view.Dictionaries(name, results.sweep.cases[name], results.datasets[name])


def held(results: Results) -> dict[str, studies.Claim]:
    return {claim.claim: claim for claim in studies.claims(results)}


def test_the_packaged_cases_have_their_roles(results):
    roles = {name: of(results, name).role for name in results.datasets}
    assert roles == {
        "narrow": "trained", "true_width": "trained", "wide": "trained", "true_start": "true start",
        "true_directions": "true", "random_directions": "random", "top_1": "top K", "top_2": "top K", "top_3": "top K",
    }  # fmt: skip
    assert [one.width for one in view.dictionaries(results, "trained")] == [2, 4, 8]


@pytest.mark.parametrize("rho", [0.0, 0.4, 1.0])
def test_the_number_of_active_features_is_that_of_samples(rho):
    rng, s = np.random.default_rng(0), 0.2
    alone, coin = rng.random((200_000, 6)) < s, np.repeat(rng.random((200_000, 3)) < s, 2, axis=1)
    x = np.where(np.repeat(rng.random((200_000, 3)) < rho, 2, axis=1), coin, alone)
    count = x.sum(1)
    np.testing.assert_allclose(view.active_features(6, np.array(s), np.array(rho)), count[count > 0].mean(), rtol=0.01)


@pytest.mark.parametrize("width, n_hidden", [(12, 5), (3, 2), (4, 1)])
def test_what_chance_gives_is_that_of_random_directions(width, n_hidden):
    rng = np.random.default_rng(0)
    latents = analysis.units(rng.normal(size=(20_000, n_hidden, width)))
    largest = latents[:, 0].max(-1)  # with the first axis, as with any direction
    np.testing.assert_allclose(view.chance_cosine(width, n_hidden), largest.mean(), atol=0.01)
    np.testing.assert_allclose(view.chance_found(width, n_hidden), (largest > 0.9).mean(), atol=0.01)


def test_the_best_penalty_is_that_of_the_largest_cosine(results):
    one = of(results, "true_width")
    assert one.best()[2, 0] == 1
    cosine = results.datasets["true_width"]["autoencoder_feature_cosine"].mean("restart")
    np.testing.assert_allclose(one.best_measure("feature_cosine"), cosine.max("penalty"), rtol=1e-6)
    np.testing.assert_allclose(one.best_measure("feature_cosine")[2, 0], 1, rtol=1e-6)


def test_what_becomes_of_dictionaries(results):
    found = view.outcomes(of(results, "true_width"), of(results, "true_start"))
    assert found[2].tolist() == [Outcome.FOUND, Outcome.STUCK]
    assert found[0].tolist() == [Outcome.OTHER, Outcome.OTHER]  # the true start ends twice as high
    assert found[1, 1] == Outcome.MERGED


def test_the_maps_draw_what_is_recovered(results):
    figure = maps(results)
    panels = {ax.get_title().replace("\n", " "): ax for ax in figure.axes if ax.get_title()}
    assert list(panels) == [
        "the model: cosine of partners, features represented", 
        "4 latents, one a feature, L1: outcome, features missed",
        "2 latents, L1 penalty", "4 latents, one a feature, L1 penalty", "8 latents, L1 penalty",
        "4 latents, TopK with K = 1", "4 latents, TopK with K = 2", "4 latents, TopK with K = 3",
        "4 latents, L1 penalty, true start", "4 latents, L1 penalty, random directions",
    ]  # fmt: skip
    (mesh,) = (c for c in panels["4 latents, one a feature, L1 penalty"].collections if isinstance(c, QuadMesh))
    drawn = np.asarray(mesh.get_array()).reshape(len(DENSITY), len(RHO))
    np.testing.assert_allclose(drawn, of(results, "true_width").best_measure("recovered"))
    assert {text.get_text() for text in panels[next(iter(panels))].texts} == {"4"}
    missed = [text.get_text() for text in panels["4 latents, one a feature, L1: outcome, features missed"].texts]
    assert missed == [f"{number:.3g}" for number in of(results, "true_width").missed().mean(-1).ravel()]
    assert missed[-2:] == ["0", "4"]
    assert all(ax.get_yscale() == "log" for ax in panels.values())


def test_the_curves_are_the_measures_beside_true_and_random_directions(results):
    figure = curves(results)
    columns = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in columns] == ["2 latents, L1 penalty", "4 latents, one a feature, L1 penalty",
                                                  "8 latents, L1 penalty"]  # fmt: skip
    lines = {line.get_linestyle(): line for line in columns[1].lines if line.get_color() == COLOURS[0]}
    for style, name in (("-", "true_width"), ("--", "true_directions"), (":", "random_directions")):
        np.testing.assert_allclose(lines[style].get_ydata(), of(results, name).measure("feature_cosine")[1, 0])
    chance = [line.get_ydata()[0] for line in columns[1].lines if line.get_color() == "0.5"]
    np.testing.assert_allclose(chance, view.chance_cosine(N, M))
    assert {line.get_linestyle() for line in columns[0].lines if line.get_color() == COLOURS[0]} == {"-"}


def test_hedging_is_drawn_by_correlation_and_claimed(results):
    sums, others = view.hedged(results, of(results, "narrow"))
    assert sums.shape == (2, 2)  # the sparse density, of two restarts
    np.testing.assert_allclose([sums, others], [[[0, 1]] * 2, [[0, 0]] * 2])
    figure = hedging(results)
    ax = next(ax for part in figure.subfigs for ax in part.axes if ax.get_title() == "sums of partners")
    (line,) = (line for line in ax.lines if line.get_color() == WIDTH_COLOURS[0])
    np.testing.assert_allclose([line.get_xdata(), line.get_ydata()], [RHO, [0, 1]])
    claims = {claim: one for claim, one in held(results).items() if claim.startswith("narrow: latents nearest")}
    assert [(one.measured, one.holds) for one in claims.values()] == [(1.0, True)]


def test_features_are_found_where_the_true_dictionary_is_a_minimum(results):
    claims = {claim.split(": ", 1)[1]: one for claim, one in held(results).items() if claim.startswith("true_width")}
    alone, correlated = (one for claim, one in claims.items() if "among the minima (lowest)" in claim)
    assert alone.holds and np.isclose(alone.measured, 1) and "1 of 1 cells" in alone.note
    assert not correlated.holds and correlated.measured < 0.95 and "1 of 1 cells" in correlated.note
    every, some = (one for claim, one in claims.items() if claim.startswith("features recovered, with"))
    assert every.holds and every.measured == 1 and not some.holds and some.measured == 0
    assert "of 2 by cell: 0 at 0.05; the others miss 4 to 4" in some.note
    share = next(one for claim, one in claims.items() if claim.startswith("the true dictionary is among"))
    assert share.measured == 1.0 and share.holds


def test_claims_are_the_same_of_a_stored_dataset(results, tmp_path):
    stored = {}
    results = results._replace(datasets={name: results.datasets[name] for name in ("true_width", "true_start")})
    for name, data in results.datasets.items():
        write_dataset(tmp_path / f"{name}.nc", data)
        stored[name] = xr.load_dataset(tmp_path / f"{name}.nc", engine="h5netcdf")
    for which, given in (("memory", results), ("disk", results._replace(datasets=stored))):
        write_json(tmp_path / which, [claim._asdict() for claim in studies.claims(given)])
    assert json.loads((tmp_path / "memory").read_text()) == json.loads((tmp_path / "disk").read_text())


@pytest.mark.parametrize("role", ["narrow", "top_1", "true_directions", "random_directions", "true_start"])
def test_a_single_case_is_drawn(results, role):
    alone = results._replace(datasets={role: results.datasets[role]})
    assert "dictionary_learning" in dictionary_learning.figures(alone)
    assert all(isinstance(claim.holds, bool) for claim in studies.claims(alone))


@pytest.mark.parametrize(
    "overrides, says",
    [
        (["data={kind='independent'}", "cases=top_1", "axes.correlation={field='train.learning_rate', values=[0.1]}"],
         "needs exactly the axes density"),
        (["data.set_size=4", "cases=top_1"], "needs data.kind"),
        (["case.narrow.axes.penalty.field=autoencoder.learning_rate", "cases=narrow"], "needs exactly the axes"),
    ],
)  # fmt: skip
def test_what_it_cannot_draw_is_refused(overrides, says):
    with pytest.raises(SweepError, match=says):
        studies.check(superjax.load("dictionary_learning", *overrides))
