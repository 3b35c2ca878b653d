"""How often the claims of a sweep hold over seeds 0 to 4: a table in Markdown. As long as five runs of the sweep.

    python -m tests.seeds SWEEP [KEY=VALUE ...]

The runs lie in the folder `seeds`, and go on or are read again if they are there.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from superjax.sweep import main

SEEDS = range(5)


def table(found: Sequence[list[dict[str, Any]]]) -> list[str]:
    """Lines of the table: every claim, how many of the seeds that make it it holds for, and what each measured.

    >>> one = {"claim": "norm", "kind": "paper", "expected": 1.0, "measured": 1.02, "holds": True}
    >>> print(*table([[one], [{**one, "measured": 0.7, "holds": False}]]), sep="\\n")
    | claim | kind | expected | holds | measured, seed by seed |
    | --- | --- | --- | --- | --- |
    | norm | paper | 1.0 | 1 of 2 | 1.02; 0.7 |
    """
    lines = ["| claim | kind | expected | holds | measured, seed by seed |", "| --- | --- | --- | --- | --- |"]
    for text in dict.fromkeys(claim["claim"] for claims in found for claim in claims):
        same = [next((claim for claim in claims if claim["claim"] == text), None) for claims in found]
        made = [claim for claim in same if claim]
        cells = (
            text, made[0]["kind"], _shown(made[0]["expected"]),
            f"{sum(claim['holds'] for claim in made)} of {len(made)}",
            "; ".join(_shown(claim["measured"]) if claim else "not made" for claim in same),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(entry)}" for key, entry in value.items())
    return f"{value:.3g}" if isinstance(value, float) and value != int(value) else str(value)


def run(sweep: str, *overrides: str) -> None:
    found = []
    for seed in SEEDS:
        folder = Path("seeds") / str(seed)
        if status := main([sweep, f"seed={seed}", *overrides, "--out", str(folder)]):
            sys.exit(status)
        (name,) = {path.parent for path in folder.glob("*/claims.json") if path.parent.name == Path(sweep).stem}
        found.append(json.loads((name / "claims.json").read_text()))
    print("\n".join(table(found)))


if __name__ == "__main__":
    run(*sys.argv[1:])
