"""The gallery of reference figures: `results/README.md`, from the figures and claims that lie there; and how many
claims there are of each case (`superjax.studies.left_out`).

python -m superjax.runs.gallery [FOLDER]
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from superjax import spec
from superjax.disk.files import write_text
from superjax.runs.page import shown
from superjax.runs.reading import CLAIMS
from superjax.spec import Sweep
from superjax.studies.claim import holding
from superjax.studies.left_out import FILE, by_case

_HEAD = """# Gallery

Every figure of the packaged sweeps, the command that draws it, how long that takes on two slow CPU cores, and what was
claimed and measured. Claims that do not hold come first, with the reason. This page is made by
`python -m superjax.runs.gallery`.
"""


def text(folder: Path) -> str:
    """The page in Markdown of all packaged sweeps with figures and claims in a folder."""
    parts, kept = [_HEAD], []
    for name in spec.available():
        if (path := folder / name / CLAIMS).is_file():
            claims = json.loads(path.read_text(encoding="utf-8"))
            figures = sorted(path.name for path in (folder / name).glob("*.png"))
            kept.append((name, claims))
            parts.append("\n".join(_section(spec.load(name), figures, claims)))
    links = (f"* [{name}](#{name}): {_count(claims)}" for name, claims in kept)
    return "\n".join([parts[0], *links, "", *parts[1:]])


def counts(folder: Path) -> dict[str, dict[str, int]]:
    """How many claims lie in a folder, by packaged sweep and case."""
    found = {}
    for name in spec.available():
        if (path := folder / name / CLAIMS).is_file():
            claims = [claim["claim"] for claim in json.loads(path.read_text(encoding="utf-8"))]
            found[name] = dict(sorted(by_case(claims, spec.load(name).cases).items()))
    return found


def _section(sweep: Sweep, figures: Sequence[str], claims: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"## {sweep.name}\n"
    title = sweep.title if sweep.title.endswith(("?", "!")) else f"{sweep.title}."
    yield f"{title} Paper: {sweep.section}.\n" if sweep.section else f"{title}\n"
    yield f"`python -m superjax.sweep {sweep.name}` ({sweep.takes}): {sweep.about}.\n"
    yield from (f"![{sweep.name}: {Path(name).stem}]({sweep.name}/{name})\n" for name in figures)
    yield f"{_count(claims)[0].upper()}{_count(claims)[1:]}.\n"
    failing = [claim for claim in claims if not claim["holds"]]
    if failing:
        yield from _table(failing, "why it does not hold", "note")
    yield f"<details><summary>The {len(claims) - len(failing)} claims that hold</summary>\n"
    yield from _table([claim for claim in claims if claim["holds"]], "tolerance", "tolerance")
    yield "</details>\n"


def _table(claims: Sequence[Mapping[str, Any]], last: str, key: str) -> Iterator[str]:
    yield f"| claim | kind | expected | measured | {last} |\n| --- | --- | --- | --- | --- |"
    for claim in claims:
        cells = (claim["claim"], claim["kind"], claim["expected"], claim["measured"], claim[key])
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""


def _cell(value: Any) -> str:
    return "" if value is None else shown(value).replace("|", "∣").replace("<", "&lt;").replace("\n", " ")


def _count(claims: Sequence[Mapping[str, Any]]) -> str:
    return holding((claim["kind"], claim["holds"]) for claim in claims)


if __name__ == "__main__":
    target = Path(*sys.argv[1:] or ["results"])
    write_text(target / "README.md", text(target))
    if not sys.argv[1:]:
        write_text(FILE, json.dumps(counts(target), indent=1) + "\n")
