"""The built wheel, installed by pip into an empty environment, finds its sweeps from any folder."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


def pip() -> list[str]:
    """A command that runs pip: of this interpreter, or if it has none (venv --without-pip) of the one below it."""
    below = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, str(below)):
        command = [python, "-m", "pip"]
        if subprocess.run([*command, "--version"], capture_output=True).returncode == 0:
            return command
    raise AssertionError("no pip to install the wheel with")


def test_the_wheel_holds_every_sweep_and_the_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"superjax/sweeps/{path.name}" for path in (ROOT / "sweeps").glob("*.toml")} <= names
    assert "superjax/py.typed" in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_an_installed_superjax_finds_its_sweeps_from_an_empty_folder(wheel, tmp_path):
    # The environment is empty but for the wheel; its dependencies are those of this interpreter.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    install = [*pip(), "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    installed = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    assert any(site.glob("superjax-*.dist-info/RECORD"))
    (site / "dependencies.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
    )
    (empty := tmp_path / "empty").mkdir()
    code = "import superjax, pathlib; print(pathlib.Path(superjax.__file__).parent)"
    where = subprocess.run([python, "-c", code], cwd=empty, capture_output=True, text=True, check=True)
    assert where.stdout.strip() == str(site / "superjax")
    listed = subprocess.run(
        [python, "-m", "superjax.sweep", "--list"], cwd=empty, capture_output=True, text=True, check=True
    ).stdout
    names = {line.partition(":")[0] for line in listed.splitlines() if not line.startswith(" ")}
    assert {path.stem for path in (ROOT / "sweeps").glob("*.toml")} == names
    own = subprocess.run(
        [python.with_name("superjax"), "--list"], cwd=empty, capture_output=True, text=True, check=True
    )
    assert own.stdout == listed
    new = subprocess.run(
        [python, "-m", "superjax.sweep", "--new", "mine.toml"], cwd=empty, capture_output=True, text=True
    )
    assert new.returncode == 0 and (empty / "mine.toml").is_file(), new.stderr
    small = ["axes.importance.points=3", "axes.density.points=3", "restarts=2", "train.steps=30", "cases=n2_m1"]
    result = subprocess.run(
        [python, "-m", "superjax.sweep", "phase_diagram", *small], cwd=empty, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert (empty / "results" / "phase_diagram" / "phase_diagram.png").exists()
