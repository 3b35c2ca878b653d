"""Claims of a study that a run does not make: those of cases that are not run, and those that its grid is too coarse
for or its settings rule out. How many a study makes of each case on its own sweep is kept in `left_out.json`, which
`python -m superjax.runs.gallery` writes."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from superjax.spec import Sweep

FILE = Path(__file__).with_suffix(".json")


def by_case(claims: Iterable[str], cases: Iterable[str]) -> Counter[str]:
    """How many claims there are of each case, which they begin with; "" are those of several.

    >>> by_case(["n2: no model diverges", "n2: loss", "theory: triple point"], ["n2", "n3"])
    Counter({'n2': 2, '': 1})
    """
    known = set(cases)
    return Counter(start if (start := claim.partition(": ")[0]) in known else "" for claim in claims)


def left_out(sweep: Sweep, claims: Iterable[str]) -> str:
    """How many claims of its study a run of a sweep did not make, in words; "" if it made all of them, or if the study
    is not packaged, or is used for cases of other names."""
    made_there = json.loads(FILE.read_text(encoding="utf-8")).get(sweep.study or "", {})
    if not made_there.keys() & sweep.cases.keys():
        return ""
    made = by_case(claims, sweep.cases)
    not_run = {name: count for name, count in made_there.items() if name and name not in sweep.cases}
    others = sum(max(0, count - made[name]) for name, count in made_there.items() if name not in not_run)
    need = f"need{'s' if others == 1 else ''} {'these cases, ' if not_run else ''}a finer grid or other settings"
    parts = [f"{sum(not_run.values())} of cases that are not run ({', '.join(not_run)})"] if not_run else []
    parts += [f"{others if not_run else 'it' if others == 1 else 'they'} {need}"] if others else []
    return f"{sum(not_run.values()) + others} left out: {'; '.join(parts)}" if parts else ""
