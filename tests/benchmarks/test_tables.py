"""The commands that the pages of measurements give are ones that can be given."""

from benchmarks.page_nano import NANO
from benchmarks.tables import FOLDER, _command, _figure


def test_a_module_that_is_there_stays_and_one_that_moved_is_found() -> None:
    assert (
        _command("python -m benchmarks.system.publishing --only s3")
        == "python -m benchmarks.system.publishing --only s3"
    )
    assert _command("python -m benchmarks.kit.publishing") == "python -m benchmarks.system.publishing"
    assert _command("pytest tests/gpu") == "pytest tests/gpu"


def test_a_share_is_shown_with_its_interval_where_the_row_has_its_count() -> None:
    row = {"accepted_share": 0.873563, "held_out": 87}
    assert _figure(row, "accepted_share", "held_out") == "87.4 % (78.8 to 92.8)"
    assert _figure({"accepted_share": 0.0, "held_out": 19}, "accepted_share", "held_out") == "0 % (0 to 16.8)"
    assert _figure(row, "accepted_share", None) == "0.874" and _figure({}, "accepted_share", "held_out") == ""


def test_the_nano_models_of_the_easier_world_stand_on_the_page_with_those_of_today() -> None:
    assert {"nano_models", "nano_models_world1"} <= {table.result for table in NANO.tables}
    page = (FOLDER / "nano.md").read_text()
    assert "world 1" in page and "nano_models_world1.json" in page
