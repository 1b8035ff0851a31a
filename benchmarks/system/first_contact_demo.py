"""What a newcomer waits for: `python -m benchmarks.system.first_contact_demo`, to be run on a machine that does nothing else.

Clones this checkout's last commit into a new folder, installs as the README says, and runs `make demo`. Needs the network for installing.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.result_file import RESULTS, Row
from benchmarks.system.first_contact_file import merge_rows

ROOT = Path(__file__).resolve().parents[2]


def timed(command: list[str], folder: Path) -> float:
    """Seconds that a command takes; raises CalledProcessError if it fails."""
    began = time.monotonic()
    subprocess.run(command, cwd=folder, check=True)
    return time.monotonic() - began


def measure(python: str) -> Row:
    """Installing, and then the demo, from a clean clone."""
    with tempfile.TemporaryDirectory(prefix="flenwheel-newcomer-") as place:
        clone = Path(place) / "flenwheel"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        make = ["make", f"PYTHON={python}"]
        install = timed([*make, ".venv/.installed"], clone)
        demo = timed([*make, "demo"], clone)
    return {"case": "demo", "install_seconds": install, "demo_seconds": demo}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter that `make` is given")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    row = measure(arguments.python)
    print(row)
    print(merge_rows([row], folder=arguments.out))


if __name__ == "__main__":
    main()
