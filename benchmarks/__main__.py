"""All benchmarks, one after the other, each in a process of its own: `python -m benchmarks`. README.md says what they
measure."""

import subprocess
import sys

if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"{__doc__}\nIt takes no arguments; benchmarks.compare and benchmarks.scaling do (--help).")
    status = [subprocess.call([sys.executable, "-m", f"benchmarks.{name}"]) for name in ("compare", "scaling")]
    sys.exit(max(status))
