"""The user's own modules, and where they are looked for.

A module is looked for in the current folder, then in that of the sweep file, then among the installed packages.
Python's own modules and those imported already from elsewhere are never replaced.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from superjax.disk.files import checksum

_BESIDE: ContextVar[Path | None] = ContextVar("_BESIDE", default=None)
_imported: dict[str, tuple[Path, str]] = {}  # by `load`: file and checksum
PACKAGES = ("site-packages", "dist-packages")


@contextmanager
def beside(sweep: Path) -> Iterator[None]:
    """Look for modules in the folder of a sweep file too, as long as this lasts."""
    token = _BESIDE.set(sweep.parent)
    try:
        yield
    finally:
        _BESIDE.reset(token)


def folders() -> list[Path]:
    """Where modules are looked for before the installed packages."""
    found = []
    with suppress(OSError):  # the current folder may be gone
        found.append(Path.cwd())
    if (folder := _BESIDE.get()) is not None and folder.resolve() not in found:
        found.append(folder.resolve())
    return found


def find(name: str) -> tuple[Path, Path] | None:
    """The folder in which the file of a module is, of those it is looked for in, and the file."""
    for folder in folders():
        path = folder.joinpath(*name.split("."))
        for file in path / "__init__.py", path.with_name(f"{path.name}.py"):
            with suppress(OSError):  # a name that is too long for a file
                if file.is_file():
                    return folder, file
    return None


def exists(name: str) -> bool:
    """Whether there is a module of a name, of the user's or an installed one; nothing is imported to see that."""
    if find(name):
        return True
    top, *rest = name.split(".")
    if top in _imported:  # from a file that has gone since
        return False
    try:
        spec = importlib.util.find_spec(top)
        for k, part in enumerate(rest):
            places = spec.submodule_search_locations if spec else None
            spec = PathFinder.find_spec(".".join([top, *rest[:k], part]), list(places)) if places else None
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None  # a folder without files of Python's has none


def load(name: str) -> ModuleType:
    """The module of a name. One that was imported here before is so anew if its file, or one imported with it, has
    changed or is another. Raises whatever the module does, and ImportError if its name is taken."""
    top, found = name.partition(".")[0], find(name)
    if top in sys.stdlib_module_names or top in ("superjax", "__main__"):
        found = None
    folder, file = found or (Path("nowhere"), Path("nowhere"))
    if any(_changed(path, content, folder) for path, content in _imported.values()) or (
        name in _imported and _imported[name][0] != file
    ):
        for known in _imported:
            sys.modules.pop(known, None)
        _imported.clear()
    if found is None:
        return importlib.import_module(name)
    for taken, there in ((top, folder), (name, file)):
        if taken in sys.modules and not any(place.is_relative_to(there) for place in _places(sys.modules[taken])):
            raise ImportError(f"{taken} is imported already, from {_places(sys.modules[taken])[0]}; rename one of them")
    before = set(sys.modules)
    with _first(folder, top):
        module = importlib.import_module(name)
    for new in sys.modules.keys() - before:
        places = _places(sys.modules[new])
        if is_own(sys.modules[new]) and places[0].is_relative_to(folder):
            _imported[new] = places[0], _content(places[0])
    return module


def main() -> str:
    """What `__main__` is, in words."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return f"the script {Path(file).name}" if file else "a notebook or an interactive session"


def is_own(module: Any) -> bool:
    """Whether a module is the user's: a file, and neither installed nor Python's or superjax's."""
    name = getattr(module, "__name__", "superjax").partition(".")[0]
    file = getattr(module, "__file__", None)
    if not file or name == "superjax" or name in sys.stdlib_module_names:
        return False
    return file.endswith(".py") and not set(PACKAGES) & set(Path(file).parts)


def _places(module: ModuleType) -> list[Path]:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    paths = [Path(place).absolute() for place in places if place] or [Path("nowhere")]
    return [*paths, *(path.resolve() for path in paths)]


def _changed(file: Path, content: str, folder: Path) -> bool:
    return not file.is_relative_to(folder) or _content(file) != content


def _content(file: Path) -> str:
    with suppress(OSError):
        return checksum(file)
    return ""


@contextmanager
def _first(folder: Path, top: str) -> Iterator[None]:
    """A package of the folder is found there, and what it imports is looked for there before the installed packages,
    but after Python's own."""

    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
            return PathFinder.find_spec(name, [str(folder)]) if name == top else None

    installed = (k for k, path in enumerate(sys.path) if any(word in path for word in PACKAGES))
    path, finder = str(folder), Finder()
    sys.meta_path.insert(0, finder)
    sys.path.insert(next(installed, len(sys.path)), path)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        with suppress(ValueError):  # the module may have removed it
            sys.path.remove(path)
