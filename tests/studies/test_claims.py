"""The functions that make claims: what holds follows from the tolerance that is stated, and is stated as it decides."""

import json
from dataclasses import replace

import numpy as np
import pytest

from superjax.spec import load
from superjax.studies import (
    Claim,
    at_least,
    at_most,
    between,
    close,
    equal,
    fraction,
    left_out,
    less_than,
    more_than,
    vanishes,
)

NAN, INF = float("nan"), float("inf")
CASES = [  # a claim of what was measured, the measurements that hold, those that do not
    (lambda x: close("c", "s", 2.0, x, absolute=0.5), [1.5, 2.0, 2.5, [2.0, 1.5], np.float32(2.25)], [1.49, 2.51]),
    (lambda x: close("c", "s", -2.0, x, relative=0.25), [-1.5, -2.5, [-2.0]], [-1.4, -2.6, 2.0]),
    (lambda x: close("c", "s", [1.0, 2.0], x, absolute=0.5), [[1.5, 1.5], np.array([1.0, 2.5])], [[1.0, 2.6]]),
    (lambda x: between("c", "s", 2.0, x, 1.5, 4.0, tolerance="t"), [1.5, 2.0, 4.0], [1.4, 4.1]),
    (lambda x: between("c", "s", [1, 2], x, [0, -INF], [1, INF], tolerance=1), [[0, 99], [1, -99]], [[2, 2], [-1, 2]]),
    (lambda x: vanishes("c", "s", x, 0.25), [0.25, 0.0, -3.0], [0.26]),
    (lambda x: fraction("c", "s", x, 0.25), [0.75, 1.0], [0.74, 0.0]),
    (lambda x: fraction("c", "s", x), [1.0], [0.999]),
    (lambda x: at_most("c", "s", 1, x), [1, -5.0], [1.001]),
    (lambda x: at_most("c", "s", 1, x, 0.5), [1.5, [1.0, 1.5]], [1.51, [1.0, 1.6]]),
    (lambda x: at_least("c", "s", 1, x, 0.5), [0.5, 9.0], [0.49]),
    (lambda x: less_than("c", "s", 0.5, x), [0.499, -1.0], [0.5, 0.6]),
    (lambda x: more_than("c", "s", 0.5, x), [0.501], [0.5, 0.4]),
    (lambda x: equal("c", "s", 3, x), [3, 3.0, np.int64(3)], [2, [3, 3], "3"]),
    (lambda x: equal("c", "s", ["a", "b"], x), [["a", "b"]], [["b", "a"], ["a"], "a", []]),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_claim_holds_up_to_its_tolerance(case):
    claim, right, wrong = CASES[case]
    for measured, holds in [(x, True) for x in right] + [(x, False) for x in [*wrong, NAN, INF, -INF, [1.0, NAN]]]:
        found = claim(measured)
        assert isinstance(found, Claim) and found.holds is holds, (measured, found)
        assert (found.claim, found.source, found.note) == ("c", "s", "") and found.measured is measured


@pytest.mark.parametrize(
    ("claim", "expected", "tolerance"),
    [
        (close("c", "s", 2.0, 1.0, absolute=1), 2.0, 1),
        (close("c", "s", 2.0, 1.0, relative=0.02), 2.0, "2%"),
        (close("c", "s", 2.0, 1.0, relative=0.003), 2.0, "0.3%"),
        (close("c", "s", 2.0, 1.0, relative=0.123, tolerance="a step"), 2.0, "a step"),
        (between("c", "s", 2.0, 1.0, 0, 3, tolerance="30% above"), 2.0, "30% above"),
        (vanishes("c", "s", 1.0, 0.1), 0.0, 0.1),
        (fraction("c", "s", 1.0, 0.1), 1.0, 0.1),
        (at_most("c", "s", 0, 1.0, 1e-3), "<= 0", 1e-3),
        (at_most("c", "s", 0.01, 1.0, tolerance=0.01), "<= 0.01", 0.01),
        (at_least("c", "s", 0.5, 1.0), ">= 0.5", 0),
        (less_than("c", "s", 0.1, 1.0), "< 0.1", 0),
        (more_than("c", "s", 0.9, 1.0), "> 0.9", 0),
        (equal("c", "s", "pentagon", "2 digons", tolerance=0.05), "pentagon", 0.05),
    ],
)
def test_what_decides_is_stated(claim, expected, tolerance):
    assert (claim.expected, claim.tolerance) == (expected, tolerance)
    assert type(claim.expected) is type(expected) and json.dumps(claim)


def test_what_must_be_true_besides():
    assert [close("c", "s", 1.0, 1.0, absolute=0, also=also).holds for also in (True, False)] == [True, False]
    assert [equal("c", "s", 1, 1, also=also).holds for also in (True, False)] == [True, False]


@pytest.mark.parametrize("both", [{}, {"absolute": 1.0, "relative": 0.1}])
def test_close_needs_one_tolerance(both):
    with pytest.raises(TypeError, match="either absolute or relative"):
        close("c", "s", 1.0, 1.0, **both)


def test_relative_to_zero_holds_for_nothing():
    assert not close("c", "s", 0.0, 0.0, relative=0.1).holds and not close("c", "s", 0.0, 1.0, relative=0.1).holds


@pytest.mark.parametrize(
    ("overrides", "claims", "says"),
    [
        ([], {"": 1, "n2_m1": 22, "n3_m2": 18}, ""),
        ([], {"": 1, "n2_m1": 20, "n3_m2": 18}, "2 left out: they need a finer grid or other settings"),
        ([], {"": 1, "n2_m1": 21, "n3_m2": 18}, "1 left out: it needs a finer grid or other settings"),
        (["cases=n2_m1"], {"": 1, "n2_m1": 22}, "18 left out: 18 of cases that are not run (n3_m2)"),
        (
            ["cases=n3_m2"],
            {"n3_m2": 20},  # more than on its defaults: nothing is made up for
            "23 left out: 22 of cases that are not run (n2_m1); 1 needs these cases, a finer grid or other settings",
        ),
        (["study="], {}, ""),
    ],
)
def test_claims_that_are_not_made_are_counted(overrides, claims, says, monkeypatch, tmp_path):
    """The counts are those of the reference figures, here of a table of its own."""
    monkeypatch.setattr(left_out, "FILE", tmp_path / "left_out.json")
    left_out.FILE.write_text('{"phase_diagram": {"": 1, "n2_m1": 22, "n3_m2": 18}}')
    sweep = load("phase_diagram", *overrides)
    texts = [f"{case or 'theory'}: {k}" for case, count in claims.items() for k in range(count)]
    assert left_out.left_out(sweep, texts) == says
    assert left_out.left_out(replace(sweep, cases={"mine": sweep.cases[next(iter(sweep.cases))]}), texts) == ""
