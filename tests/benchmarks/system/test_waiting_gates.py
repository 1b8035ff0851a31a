from pathlib import Path
from typing import cast

from benchmarks.system.waiting_gates import measure


def test_a_suspended_run_leaves_something_in_the_database(tmp_path: Path) -> None:
    """More than its bare row and its progress could hide in, and less than a picture."""
    row = measure(tmp_path, 5)
    assert 5_000 < cast(float, row["database_bytes_a_gate"]) < 500_000
