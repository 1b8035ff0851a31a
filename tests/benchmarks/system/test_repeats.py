from pathlib import Path

from benchmarks.system.repeats import counted_lines, repeated_runs

RUN = [f"step_{number} = {number}" for number in range(7)]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines))
    return path


def test_a_run_is_one_and_as_long_as_it_can_be(tmp_path: Path) -> None:
    first = write(tmp_path / "a.py", "alone = 1", *RUN, "other = 1")
    second = write(tmp_path / "b.py", *RUN, "another = 2")
    (run,) = repeated_runs([first, second])
    assert (run.lines, run.first_line, run.second_line) == (7, 2, 1)


def test_blank_lines_comments_and_imports_are_passed_over_and_white_space_is_folded(tmp_path: Path) -> None:
    first = write(tmp_path / "a.py", *RUN[:3], "", "# a remark", *RUN[3:])
    second = write(
        tmp_path / "b.py",
        "from os import (",
        "    path,",
        ")",
        *(f"    {line.replace(' = ', '  =  ')}" for line in RUN),
    )
    assert [text for _, text in counted_lines(second.read_text())] == [
        " ".join(line.replace("=", " = ").split()) for line in RUN
    ]
    assert [run.lines for run in repeated_runs([first, second])] == [7]


def test_five_lines_are_no_run_and_a_file_is_not_compared_with_itself(tmp_path: Path) -> None:
    twice = write(tmp_path / "a.py", *RUN, "between = 1", *RUN)
    short = write(tmp_path / "b.py", *RUN[:5])
    assert repeated_runs([twice, short]) == []


def test_the_same_run_in_three_files_counts_for_each_pair(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.py", *RUN) for name in "abc"]
    assert len(repeated_runs(files)) == 3
