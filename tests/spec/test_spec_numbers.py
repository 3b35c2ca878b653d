"""Numbers are taken for what they become as float32, or refused."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from superjax.problem.numbers import SMALLEST, single
from superjax.spec import Case, SweepError, load
from superjax.spec.grid import HYPER, Grid

SMALL = "n_features = 3\nn_hidden = 2\ntrain.optimizer = 'adamw'\ndata = {kind = 'sets', set_size = 3}\n"
SWEPT = ["importance", "importance[1]", "importance.ratio", "data.density", "data.correlation", "model.init_std",
         "train.learning_rate", "train.weight_decay", "train.b1", "train.b2", "train.eps",
         "train.clip_norm"]  # fmt: skip


def case(folder: Path, text: str, *overrides: str) -> Case:
    (folder / "s.toml").write_text(text)
    return load(folder / "s.toml", *overrides).cases["s"]


def numbers(case: Case) -> dict[str, np.ndarray]:
    """Every number of every cell, before and after it becomes a float32 whose subnormals are 0."""
    return {name: np.asarray(value, float) for name, value in Grid(case).numbers().items()}


def survives(value: np.ndarray) -> bool:
    as_single = np.vectorize(single)(value)
    finite = np.isfinite(as_single) | np.isinf(value)  # clip_norm may be left out, which is infinite
    return bool((finite & ((as_single == 0) == (value == 0)) & ((as_single == 1) <= (value >= 1 - 2**-25))).all())


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(SWEPT),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-330, 308).map(lambda k: float(f"1e{k}")),
    st.booleans(),
)
@example("train.b1", 0.9999999999, False)
@example("importance", 1e-300, True)
@example("data.density", 1e-46, True)
def test_what_is_accepted_survives_as_float32(tmp_path: Path, path: str, value: float, as_axis: bool) -> None:
    """As a value and as one of an axis: not 0 unless it was, nor 1, nor infinite, and neither is its square where that
    is taken."""
    base = SMALL + "importance.ratio = 0.5\n" * (path == "importance.ratio")
    axis = f"[axes.a]\nfield = '{path}'\nvalues = [0.5, {value!r}]\n"
    try:
        accepted = case(tmp_path, base + axis if as_axis else base, *([] if as_axis else [f"{path}={value!r}"]))
    except SweepError as error:
        assert len(str(error).splitlines()) <= 2
        return
    found = numbers(accepted)
    assert all(survives(array) for array in found.values())
    squared = [found[name] for name in ("data.density", "model.init_std", "clip_norm")] + [found["importance"].max(-1)]
    assert all(survives(array**2) for array in squared)
    assert set(HYPER) <= set(found)


@pytest.mark.parametrize(
    "override",
    [
        "train.learning_rate=1e39", "train.learning_rate=1e-40", "train.b1=0.9999999999", "train.b2=0.99999998",
        "train.b1=1e-40", "train.eps=1e-46", "train.eps=1e39", "train.clip_norm=1e-300", "train.clip_norm=1e30",
        "train.weight_decay=1e-300", "train.weight_decay=1e39", "importance=1e-300", "importance=1e39",
        "importance=[1e-30, 0, 0]", "importance=[1, 1e-40, 0]", "importance=[1, 1e30, 0]", "importance[0]=1e-40",
        "importance.ratio=1e20", "importance.ratio=1e-20", "data.density=1e-46", "data.density=1e-30",
        "data.correlation=1e-45", "model.init_std=1e-300", "model.init_std=1e25", "phases.represented=1e-300",
    ],
)  # fmt: skip
def test_extremes(tmp_path: Path, override: str) -> None:
    with pytest.raises(SweepError, match="float32|must be <= 1e|> 0"):
        case(tmp_path, SMALL, override)


def test_powers_of_a_ratio(tmp_path: Path) -> None:
    """None may overflow, nor the second be 0; what is too small for float32 later is 0, in every cell too."""
    for ratio, n in (1.1, 1000), (1e-25, 1000), (1e-20, 3):
        text = f"n_features = {n}\nn_hidden = 2\nimportance.ratio = {ratio}\ntrain.objective = 'minibatch'\n"
        with pytest.raises(SweepError, match=f"must not (overflow|vanish) at n_features = {n}"):
            case(tmp_path, text)
    for ratio, n in (0.5, 200), (0.7, 400), (0.3, 100), (0.9, 1000):
        text = f"n_features = {n}\nn_hidden = 2\nimportance.ratio = {ratio}\ntrain.objective = 'minibatch'\n"
        plain = case(tmp_path, text).importance_vector()
        swept = case(tmp_path, f"{text}[axes.r]\nfield = 'importance.ratio'\nvalues = [0.8, {ratio}]")
        np.testing.assert_allclose(numbers(swept)["importance"][1], plain, rtol=1e-14)
        powers = np.array([ratio**k for k in range(n)])
        assert 0 < plain.count(0) < n and plain == np.where(powers.astype(np.float32) < SMALLEST, 0, powers).tolist()
        assert case(tmp_path, text, "importance[-1]=0").importance == plain
    text = "n_features = 400\nn_hidden = 2\nimportance.ratio = 1.1\ntrain.objective = 'minibatch'\n"
    assert math.isfinite(case(tmp_path, text).importance_vector()[-1])
    with pytest.raises(SweepError, match="axes.a.values.* 2.0 is refused: importance.ratio must not overflow"):
        case(tmp_path, text + "[axes.a]\nfield = 'importance.ratio'\nvalues = [1, 1.05, 2]")


def test_a_density_that_no_minibatch_can_have(tmp_path: Path) -> None:
    """Uniform float32 numbers are multiples of 2**-23: below, no feature is ever active."""
    text = "n_features = 3\nn_hidden = 2\ntrain.objective = 'minibatch'\n"
    with pytest.raises(SweepError, match=r"must be at least 2\*\*-23 = 1.2e-07 with minibatch"):
        case(tmp_path, text, "data.density=1e-8")
    assert case(tmp_path, text, "data.density=1e-8", "train.skip_empty=true").train.skip_empty


def test_every_value_of_an_axis(tmp_path: Path) -> None:
    """Not its ends alone, and values of families."""
    axis = SMALL + "[axes.a]\nfield = 'data.correlation'\nvalues = [-1, 1e-300, 1]"
    with pytest.raises(SweepError, match="1e-300 is refused: data.correlation must be 0 or of a size"):
        case(tmp_path, axis)
    wide = SMALL + "[axes.a]\nfield = 'train.eps'\nscale = 'log'\nrange = [1e-300, 1]\npoints = 5"
    with pytest.raises(SweepError, match="1e-300 is refused"):
        case(tmp_path, wide)
    family = "n_features = 2\nn_hidden = 1\n[axes.a]\nfield = 'data.density'\nvalues = [0.1, 0.2]\n[families.f]\n"
    with pytest.raises(SweepError, match=r"families.f.W\[0\]\[1\] = 1e"):
        case(tmp_path, family + "W = [[1, 1e300]]\nalong = 'a'\nstart = 0.1")


@given(st.floats(allow_nan=False))
def test_single_is_float32_without_subnormals(value: float) -> None:
    with np.errstate(over="ignore", under="ignore"):
        expected = float(np.float32(value))
    assert single(value) == (expected if abs(expected) >= SMALLEST else 0.0)
