"""Installs superjax as Colab's install cell does, beside the versions of a Colab runtime, and runs the notebooks there.

    python3.13 notebooks/try_on_colab.py cpu|gpu|tpu [NOTEBOOK.ipynb ...]

`colab/cpu.txt` and so on list what a runtime has. Here these versions are constraints: the installation fails if one
that superjax needs would have to change. Takes minutes. Needs Python's version of that runtime, 3.13; the accelerator
itself is not needed, the notebooks run on the CPU.
"""

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
OF_THE_NOTEBOOK = ["ipykernel", "ipywidgets", "nbclient", "nbformat"]  # the runtime has them


def main(runtime: str, *names: str) -> int:
    versions = HERE / "colab" / f"{runtime}.txt"
    notebooks = [Path(name) for name in names] or sorted(HERE.glob("*.ipynb"))
    with tempfile.TemporaryDirectory(prefix="colab-") as work:
        venv.create(Path(work) / "venv", with_pip=True)
        python = Path(work) / "venv" / "bin" / "python"
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", versions]
        subprocess.run([*install, *OF_THE_NOTEBOOK], check=True)
        subprocess.run([*install, HERE.parent], check=True)
        known = _versions(versions.read_text())
        installed = _versions(subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True).stdout)
        changed = {name for name in installed.keys() & known.keys() if installed[name] != known[name]}
        print(
            f"{runtime}: {len(installed.keys() & known.keys()) - len(changed)} of its packages are used, changed: "
            f"{', '.join(sorted(changed)) or 'none'}"
        )
        print("added:", ", ".join(f"{name} {installed[name]}" for name in sorted(installed.keys() - known.keys())))
        failed = [path.name for path in notebooks if not _runs(python, path, work)]
    print(f"failed: {', '.join(failed)}" if failed else f"{len(notebooks)} notebooks run")
    return 1 if failed or changed else 0


def _versions(text: str) -> dict[str, str]:
    """The lines NAME==VERSION, by the name as packaging has it."""
    pairs = (line.partition("==")[::2] for line in text.splitlines() if "==" in line)
    return {name.strip().lower().replace("_", "-").replace(".", "-"): version.strip() for name, version in pairs}


def _runs(python: Path, notebook: Path, work: str) -> bool:
    folder = Path(work) / notebook.stem
    folder.mkdir()
    read = f"nbformat.read({str(notebook.resolve())!r}, 4)"
    run = f"import nbformat, nbclient; nbclient.NotebookClient({read}, timeout=600).execute()"
    begun = time.monotonic()
    done = subprocess.run([python, "-c", run], cwd=folder, capture_output=True, text=True)
    print(
        f"{notebook.name}: {'runs' if done.returncode == 0 else done.stderr[-3000:]}, {time.monotonic() - begun:.0f} s"
    )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
