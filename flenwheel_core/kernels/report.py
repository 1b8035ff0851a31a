"""Tries every kernel on this machine's card and prints the line: `python -m flenwheel_core.kernels.report`.

Exit codes: 0 all of them run or are turned off, or there is no card; 1 one fails.
"""

import sys

import torch

from flenwheel_core.kernels.table import KERNELS, kernel_line


def main() -> int:
    """Prints the line; returns the exit code."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    print(kernel_line(device))  # noqa: T201 - what it is for
    return int(any(kernel.state(device).failed for kernel in KERNELS.values()))


if __name__ == "__main__":
    sys.exit(main())
