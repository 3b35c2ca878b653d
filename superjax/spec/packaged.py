"""The sweeps and studies that come with the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def sweeps() -> dict[str, Path]:
    """The packaged sweeps by name: a checkout uses its own folder."""
    checkout = _PACKAGE.parent
    own = (checkout / "pyproject.toml").is_file() and (checkout / "sweeps").is_dir()
    return {path.stem: path for path in sorted(((checkout if own else _PACKAGE) / "sweeps").glob("*.toml"))}


def studies() -> list[str]:
    """The names of the studies, a folder each."""
    return sorted(path.parent.name for path in (_PACKAGE / "studies").glob("*/__init__.py"))
