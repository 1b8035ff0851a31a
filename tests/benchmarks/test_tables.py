"""The commands that the pages of measurements give are ones that can be given."""

from benchmarks.tables import _command


def test_a_module_that_is_there_stays_and_one_that_moved_is_found() -> None:
    assert (
        _command("python -m benchmarks.system.publishing --only s3")
        == "python -m benchmarks.system.publishing --only s3"
    )
    assert _command("python -m benchmarks.kit.publishing") == "python -m benchmarks.system.publishing"
    assert _command("pytest tests/gpu") == "pytest tests/gpu"
