"""The rooms of the package: imports between them run one way, as docs/how_it_works.md draws them."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "superjax"
PICTURE = re.compile(r"## The rooms\n.*?```mermaid\n(.*?)```", re.DOTALL)
# What takes long to import may be imported where it is used, and so may a module of ours that imports it.
SLOW = {"jax", "jaxlib", "numpy", "scipy", "matplotlib", "xarray", "h5netcdf", "h5py", "optax", "equinox", "tqdm"}
NOT_EVERYWHERE = {"fcntl", "resource"}  # Windows has none


class Import(NamedTuple):
    """A module imports a module, where it says so, at the top or inside a function."""

    module: str
    imported: str
    line: int
    hidden: bool


@cache
def modules() -> dict[str, Path]:
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imports_of(module: str, node: ast.AST, hidden: bool = False) -> Iterator[Import]:
    """What a module imports, but for the use of type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        found = []
        if isinstance(child, ast.Import):
            found = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}: a relative import in line {child.lineno}"
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            found = [name if name in modules() else str(child.module) for name in names]
        yield from (Import(module, name, child.lineno, hidden) for name in found)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports_of(module, child, hidden or inside)


@cache
def imports() -> list[Import]:
    return [one for name, path in modules().items() for one in imports_of(name, ast.parse(path.read_text()))]


def room(module: str) -> str:
    """The folder of a module, or its own name if it is in none; "" is the package itself."""
    return [*module.split("."), ""][1]


def ours() -> list[Import]:
    """Imports of the package's own modules, but of those that any module may import: the package and its errors."""
    return [one for one in imports() if one.imported in modules() and room(one.imported) not in ("", "errors")]


def reach(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """All that can be reached along arrows."""

    def from_(name: str, seen: set[str]) -> set[str]:
        for other in arrows.get(name, set()) - seen:
            seen.add(other)
            from_(other, seen)
        return seen

    return {name: from_(name, set()) for name in arrows}


def drawn() -> dict[str, set[str]]:
    """The arrows of the picture."""
    picture = PICTURE.search((ROOT / "docs" / "how_it_works.md").read_text())
    assert picture, "docs/how_it_works.md has no picture under ## The rooms"
    arrows: dict[str, set[str]] = {}
    for start, ends in re.findall(r"^\s*(\w+)\S* --> (.+)$", picture[1], re.MULTILINE):
        arrows.setdefault(start, set()).update(re.findall(r"\w+", ends))
    return arrows


def test_modules_import_in_no_circle_not_even_hidden_ones():
    arrows: dict[str, set[str]] = {}
    for one in ours():
        if one.imported != one.module:
            arrows.setdefault(one.module, set()).add(one.imported)
    circles = {name for name, found in reach(arrows).items() if name in found}
    assert not circles


def test_imports_between_rooms_run_along_the_arrows_of_the_picture():
    allowed = reach(drawn())
    assert not {name for name, found in allowed.items() if name in found}, "the picture has a circle"
    against = {
        f"{one.module}, line {one.line}: {room(one.module)} -> {room(one.imported)}"
        for one in ours()
        if room(one.module) not in ("", room(one.imported))
        and room(one.imported) not in allowed.get(room(one.module), set())
    }
    assert not against


def test_every_arrow_of_the_picture_is_an_import():
    real = {(room(one.module), room(one.imported)) for one in ours()}
    assert {(start, end) for start, ends in drawn().items() for end in ends} <= real


def test_the_picture_has_every_room():
    rooms = {room(name) for name in modules()} - {"", "errors"}
    assert {name for start, ends in drawn().items() for name in (start, *ends)} == rooms


def test_imports_are_hidden_in_functions_for_start_up_time_alone():
    top: dict[str, set[str]] = {}
    for one in imports():
        if not one.hidden:
            top.setdefault(one.module, set()).add(one.imported)
    found = reach(top)

    def is_slow(name: str) -> bool:
        return bool({other.partition(".")[0] for other in {name, *found.get(name, ())}} & SLOW)

    needless = [
        f"{one.module}, line {one.line}: {one.imported}"
        for one in imports()
        if one.hidden and one.imported not in NOT_EVERYWHERE and not is_slow(one.imported)
    ]
    assert not needless
