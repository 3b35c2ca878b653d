"""All benchmarks, one after the other: `python -m benchmarks`. README.md says what they measure."""

import sys

from benchmarks import compare, scaling

if __name__ == "__main__":
    sys.exit(compare.main([]) or scaling.main([]))
