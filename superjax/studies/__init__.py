"""A study of a sweep: which figures it draws, which claims it checks. A folder each.

A study has `check(case)`, which refuses with a SweepError what it cannot draw, and two functions of its `Results`:
`figures`, a table of file names (without suffix) and matplotlib figures, and `claims`, a list. They get no axis whose
values go up and down. `ARRAYS` names the weights that it needs, by default W. A user's own study is a module with the
same two functions, and may have `check`.
"""

from superjax.studies.base import check, claims, draw, needs_array
from superjax.studies.claim import (
    Claim,
    agreement,
    at_least,
    at_most,
    between,
    close,
    equal,
    fraction,
    less_than,
    more_than,
    vanishes,
)
from superjax.studies.results import Results

__all__ = [
    "Claim",
    "Results",
    "agreement",
    "at_least",
    "at_most",
    "between",
    "check",
    "claims",
    "close",
    "draw",
    "equal",
    "fraction",
    "less_than",
    "more_than",
    "needs_array",
    "vanishes",
]
