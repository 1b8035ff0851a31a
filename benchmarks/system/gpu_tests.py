"""Runs the tests that need a card and keeps their outcome.

python -m benchmarks.system.gpu_tests --out benchmarks/results
"""

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch

from benchmarks.result_file import Row, write_result

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--processes", type=int, default=4)
    arguments = parser.parse_args()
    torch.cuda.is_available()  # so that the result file names the card
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", "tests/gpu"]
        if arguments.processes > 1:
            # pytest-benchmark, where it is installed, warns of processes side by side, and warnings are errors here.
            command += ["-n", str(arguments.processes), "--dist", "load", "-p", "no:benchmark"]
        subprocess.run(command, cwd=ROOT, check=False)
        rows: list[Row] = []
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            problem = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), None)
            module = str(case.get("classname")).rpartition(".")[2]
            rows.append(
                {
                    "case": f"{module}.{case.get('name')}",
                    "outcome": problem or "passed",
                    "seconds": float(case.get("time", 0)),
                }
            )
    write_result("gpu_tests", rows, folder=arguments.out)


if __name__ == "__main__":
    main()
