"""What the code of a user's class is, so that what was trained with one is never mixed with what is trained with
another."""

import ast
import hashlib
import sys
import types
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import jax
import numpy as np

from superjax.system.modules import PACKAGES, is_own

_PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...))


def digest(cls: Any, name: str) -> str:
    """SHA-256 of the user's files that a class is made of: that of the module with a name, that it was taken from, that
    which defines it, and all that they import, wherever in them it is said. Comments, docstrings and layout do not
    matter, nor what is imported already.

    Of a class without a file it is that of its compiled methods and of all functions and values that they refer to.
    """
    texts: dict[str, str] = {}
    for module in (sys.modules.get(name), sys.modules.get(cls.__module__)):
        if module is not None and is_own(module) and module.__name__ != "__main__":
            texts |= _texts(module.__name__, Path(str(module.__file__)).resolve())
    lines = list(map(repr, sorted(texts.items()))) or list(_compiled(cls, set()))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()


def combined(digests: dict[str, str]) -> str:
    """One digest of the code of several members of a problem by their paths: of one alone its own, "" of none."""
    if len(digests) < 2:
        return next(iter(digests.values()), "")
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def _texts(name: str, file: Path) -> dict[str, str]:
    """The modules of the user that a module is made of, without comments and docstrings, by name."""
    is_package = file.name == "__init__.py"
    root = file.parents[name.count(".") + is_package]
    known, todo = {}, [(name, file)]
    while todo:
        name, file = todo.pop()
        if name not in known:
            tree = _WithoutDocstrings().visit(ast.parse(file.read_bytes()))
            known[name] = ast.unparse(tree)
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            todo += [(other, there) for other in _imported(tree, package) if (there := _file_of(other, root))]
    return known


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> Any:
        return None if isinstance(node.value, ast.Constant) else node


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """The names of all that may be modules among what is imported anywhere in one, with the packages they are in."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            try:
                source = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # beyond the top, or relative in no package: it cannot be imported
                continue
            names = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        for parts in (name.split(".") for name in names):
            yield from (".".join(parts[:k]) for k in range(1, len(parts) + 1))


def _file_of(name: str, root: Path) -> Path | None:
    """The file of a module of the user, beside the class's own or where else Python looks, None if there is none."""
    if (top := name.partition(".")[0]) in sys.stdlib_module_names or top == "superjax":
        return None
    for folder in (root, *(Path(path or ".").resolve() for path in sys.path)):
        if not set(PACKAGES) & set(folder.parts):
            path = folder.joinpath(*name.split("."))
            for file in path / "__init__.py", path.with_name(f"{path.name}.py"):
                if file.is_file():
                    return file
    return None


def _compiled(value: Any, seen: set[int]) -> Iterator[str]:
    """What a value is, in words: of functions their instructions and all that they refer to, but for what is
    installed."""
    value = getattr(value, "__wrapped__", getattr(value, "__func__", getattr(value, "fget", value)))
    if isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _compiled(item, seen)
    elif isinstance(value, frozenset | set | dict):
        yield repr(sorted(map(repr, value.items() if isinstance(value, dict) else value)))
    elif isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        yield f"{array.dtype} {array.shape} {array.tobytes().hex()}"
    elif id(value) not in seen:
        seen.add(id(value))
        yield from _compiled_code(value, seen)


def _compiled_code(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, types.CodeType):
        yield f"{value.co_code.hex()} {value.co_names} {value.co_varnames}"
        yield from _compiled(value.co_consts, seen)
    elif isinstance(value, types.FunctionType) and not _is_installed(value):
        yield from _compiled(value.__code__, seen)
        yield from _compiled(value.__defaults__ or (), seen)
        yield from _compiled([cell.cell_contents for cell in value.__closure__ or ()], seen)
        for name in sorted(_names(value.__code__) & value.__globals__.keys()):
            yield name
            yield from _compiled(value.__globals__[name], seen)
    elif isinstance(value, type) and not _is_installed(value):
        for base in value.__mro__:
            for name, own in sorted(vars(base).items()) if not _is_installed(base) else ():
                yield name
                yield from _compiled(own, seen)


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _is_installed(value: Any) -> bool:
    name = str(value.__module__)
    file = getattr(sys.modules.get(name), "__file__", None)
    standard = sys.stdlib_module_names | {"builtins", "superjax"}
    return (
        name.partition(".")[0] in standard - {"__main__"} or bool(file) and bool(set(PACKAGES) & set(Path(file).parts))
    )
