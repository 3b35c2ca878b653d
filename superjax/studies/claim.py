"""Claims, and the functions that make one from what it compares: `holds` follows from the tolerance that is stated.

All of them take the text of the claim, its source, and what was measured: a number, or a list of numbers that is
compared entry by entry. What is NaN or infinite never holds. `note` is evidence, in words; `tolerance` is how the
tolerance is stated, where that is not the number that decides; `also` is what must be true besides. `kind` says whose
statement it is: "paper" (of the paper, or of another that is named as source), "derived" (a closed form, a certificate
or a reference of ours), "check" (what any run must meet). Summaries count the kinds apart.

>>> close("norm of a feature", "derived", 1.0, 1.04, absolute=0.05).holds
True
>>> close("loss", "closed form", 0.5, 0.52, relative=0.02).holds
False
"""

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

Kind = Literal["paper", "derived", "check"]
_HYPHEN = re.compile(r"(?<![^\s(\[<>=,;:/|])-(?=[.\d∞])")
KINDS: dict[str, str] = {"paper": "of the paper", "derived": "derived", "check": "general checks"}


class Claim(NamedTuple):
    """A statement of the paper, or a certificate of ours, beside what was measured from the datasets. Where none of the
    functions of this module compares as it must be, `holds` is given."""

    claim: str
    source: str
    expected: Any
    measured: Any
    tolerance: Any
    holds: bool
    note: str = ""
    kind: Kind = "derived"


def close(
    claim: str, source: str, expected: Any, measured: Any, *, absolute: int | float | None = None,
    relative: int | float | None = None, tolerance: Any = None, note: str = "", also: bool = True,
    kind: Kind = "derived",
) -> Claim:  # fmt: skip
    """Measured is expected, up to an absolute difference or to a fraction of what is expected.

    >>> close("loss", "closed form", 0.5, 0.505, relative=0.02)[2:6]
    (0.5, 0.505, '2%', True)
    """
    if (absolute is None) == (relative is None):
        raise TypeError("close needs either absolute or relative")
    with np.errstate(all="ignore"):
        if relative is None:
            stated, near = absolute, np.abs(np.subtract(measured, expected)) <= absolute
        else:
            stated, near = f"{100 * relative:.3g}%", np.abs(np.divide(measured, expected) - 1) <= relative
    stated = stated if tolerance is None else tolerance
    return Claim(claim, source, expected, measured, stated, _all(near, measured) and bool(also), note, kind)


def between(
    claim: str, source: str, expected: Any, measured: Any, lowest: Any, highest: Any, *, tolerance: Any,
    note: str = "", kind: Kind = "derived",
) -> Claim:  # fmt: skip
    """Measured lies between two bounds around what is expected, which `tolerance` states."""
    inside = np.less_equal(lowest, measured) & np.less_equal(measured, highest)
    return Claim(claim, source, expected, measured, tolerance, _all(inside, measured), note, kind)


def vanishes(
    claim: str, source: str, measured: Any, absolute: int | float, *, note: str = "", kind: Kind = "derived"
) -> Claim:
    """A deviation is 0, or an excess no more than that: at most `absolute`.

    >>> vanishes("error of the stored loss (largest)", "float64 reference", 2e-4, 1e-3)[2:6]
    (0.0, 0.0002, 0.001, True)
    """
    return Claim(claim, source, 0.0, measured, absolute, _all(np.less_equal(measured, absolute), measured), note, kind)


def fraction(
    claim: str, source: str, measured: Any, absolute: int | float = 0, *, note: str = "", kind: Kind = "derived"
) -> Claim:
    """All are so: the fraction of those that are is 1, up to `absolute`.

    >>> fraction("features with an antipode (fraction)", "paper", 0.93, 0.1)[2:6]
    (1.0, 0.93, 0.1, True)
    """
    return Claim(
        claim, source, 1.0, measured, absolute, _all(np.greater_equal(measured, 1 - absolute), measured), note, kind
    )


def agreement(
    claim: str,
    source: str,
    one: np.ndarray,
    other: np.ndarray,
    absolute: int | float = 0,
    *,
    note: str = "",
    kind: Kind = "derived",
) -> Claim:
    """Two labellings agree: Cohen's kappa is 1, up to `absolute`.

    Kappa is 0 where as many labels agree as would by chance, with as many of each kind. The note begins with how many
    differ.

    >>> agreement("phases (cells)", "paper", np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))[2:5]
    (1.0, 0.5, 0)
    """
    chance = sum(float((one == label).mean() * (other == label).mean()) for label in np.union1d(one, other))
    same = float((one == other).mean())
    kappa = (same - chance) / (1 - chance) if chance < 1 else same
    words = f"{(one != other).sum()} of {one.size} differ, {1 - same:.1%} (measured: agreement beyond chance)"
    return fraction(claim, source, kappa, absolute, note=f"{words}{note}", kind=kind)


def at_most(
    claim: str,
    source: str,
    bound: int | float,
    measured: Any,
    absolute: int | float = 0,
    *,
    tolerance: Any = None,
    note: str = "",
    kind: Kind = "derived",
) -> Claim:
    """Measured is at most a bound, up to `absolute`.

    >>> at_most("excess", "derived", 0, 1e-5, 1e-4)[2:6]
    ('<= 0', 1e-05, 0.0001, True)
    """
    stated = absolute if tolerance is None else tolerance
    holds = _all(np.less_equal(measured, bound + absolute), measured)
    return Claim(claim, source, f"<= {bound:g}", measured, stated, holds, note, kind)


def at_least(
    claim: str,
    source: str,
    bound: int | float,
    measured: Any,
    absolute: int | float = 0,
    *,
    note: str = "",
    kind: Kind = "derived",
) -> Claim:
    """Measured is at least a bound, up to `absolute`."""
    holds = _all(np.greater_equal(measured, bound - absolute), measured)
    return Claim(claim, source, f">= {bound:g}", measured, absolute, holds, note, kind)


def less_than(
    claim: str, source: str, bound: int | float, measured: Any, *, note: str = "", kind: Kind = "derived"
) -> Claim:
    """Measured is below a bound."""
    return Claim(claim, source, f"< {bound:g}", measured, 0, _all(np.less(measured, bound), measured), note, kind)


def more_than(
    claim: str, source: str, bound: int | float, measured: Any, *, note: str = "", kind: Kind = "derived"
) -> Claim:
    """Measured is above a bound."""
    return Claim(claim, source, f"> {bound:g}", measured, 0, _all(np.greater(measured, bound), measured), note, kind)


def equal(
    claim: str,
    source: str,
    expected: Any,
    measured: Any,
    *,
    tolerance: Any = 0,
    note: str = "",
    also: bool = True,
    kind: Kind = "derived",
) -> Claim:
    """Measured is what is expected: a name, a number that counts, a list of these.

    >>> equal("solution at density 0.1", "paper", "pentagon", "2 digons").holds
    False
    """
    return Claim(
        claim, source, expected, measured, tolerance, bool(np.array_equal(expected, measured) and also), note, kind
    )


def holding(claims: Iterable[tuple[str, bool]], left_out: str = "") -> str:
    """How many claims hold, of kinds and whether they do; the kinds apart where there are several. What was `left_out`
    is said too.

    >>> holding([("paper", True), ("paper", False), ("check", True)])
    '2 of 3 claims hold (of the paper 1 of 2, general checks 1 of 1)'
    """
    every = list(claims)
    of = {words: [held for known, held in every if known == kind] for kind, words in KINDS.items()}
    counts = {words: f"{sum(held)} of {len(held)}" for words, held in of.items() if held}
    apart = ", ".join(f"{words} {count}" for words, count in counts.items())
    held = f"{sum(held for _, held in every)} of {len(every)} claims hold" + (f" ({apart})" if len(counts) > 1 else "")
    return f"{held}; {left_out}" if left_out else held


def signed(text: str) -> str:
    """The same text in which negative numbers have a minus sign, not a hyphen.

    >>> signed("-0.71 (-.9 to 1e-05), n-1")
    '−0.71 (−.9 to 1e-05), n-1'
    """
    return _HYPHEN.sub("−", text)


def plain(value: Any) -> Any:
    """The same without the types of numpy and xarray."""
    value = value.values if isinstance(value, xr.DataArray) else value
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _all(found: Any, measured: Any) -> bool:
    """Whether all is found, of measurements that are finite."""
    return bool(np.all(found) and np.isfinite(np.asarray(measured, float)).all())
