"""Rules of the house that no linter knows."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.kit.order import LONGEST
from tests.kit.sources import ROOT, sources

MOST_LINES = 400
HEAVY = ("torch", "diffusers", "transformers", "peft", "deepface", "dlib", "cv2", "prefect", "fastapi")


def test_files_are_small() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources()
        if (count := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_no_catch_all_modules() -> None:
    assert [path for path in sources() if path.stem in ("utils", "helpers", "common", "misc")] == []


@pytest.mark.parametrize(
    "module",
    [
        "flenwheel_core.requests.train",
        "flenwheel_core.store",
        "flenwheel_core.library.characters",
        "flenwheel_core.plans.pictures",
        "flenwheel_core.recipes.loading",
        "flenwheel_core.gates.session",
        "flenwheel_core.runner.launch",
        "flenwheel_core.runner.worker",
        "flenwheel_core.models.registry",
    ],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_only_gates_suspends() -> None:
    pattern = re.compile(r"\b(suspend_flow_run|pause_flow_run)\b")
    users = [path.relative_to(ROOT).as_posix() for path in sources() if pattern.search(path.read_text())]
    assert users == ["flows/gates.py"]


def test_only_the_decoder_process_reads_pictures_of_strangers() -> None:
    users = [path.relative_to(ROOT).as_posix() for path in sources() if "read_picture(" in path.read_text()]
    assert users == ["flenwheel_core/images/decoder.py", "flenwheel_core/images/reading.py"]


def test_benchmarks_stand_alone() -> None:
    """They import nothing from the tests, and nothing that the docs claim rests on the lab's research."""
    found = {}
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        text = path.read_text()
        name = path.relative_to(ROOT).as_posix()
        if uses := re.findall(r"\btests\.\w+(?:\.\w+)*", text):
            found[name] = uses
        if not name.startswith("benchmarks/lab/") and (uses := re.findall(r"\bbenchmarks\.lab\.\w+", text)):
            found[name] = uses
    assert found == {}


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        (r"\bfcntl\b", "flenwheel_core/base/locks.py"),
        (r"\bgetppid\b|\bprctl\b", "flenwheel_core/base/processes.py"),
        (r"\"gpu:", "flenwheel_core/base/settings.py"),
    ],
)
def test_locks_watched_parents_and_the_slots_limit_are_written_once(pattern: str, place: str) -> None:
    users = [path.relative_to(ROOT).as_posix() for path in sources() if re.search(pattern, path.read_text())]
    assert users == [place]


MIRRORED = {
    "core": "flenwheel_core",
    "flows": "flows",
    "tasks": "tasks",
    "deployments": "deployments",
    "benchmarks": "benchmarks",
    "tools": "tools",
    "notebooks": "notebooks",
}
"""Folders of tests, and what they test."""
OTHER_TESTS = ("architecture", "gpu", "kit")


def test_tests_mirror_the_code() -> None:
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("*.py")} - {Path()}
    mirrored = {folder for folder in folders if folder.parts[0] not in OTHER_TESTS}
    assert {folder.parts[0] for folder in mirrored} <= set(MIRRORED)
    missing = [
        str(folder)
        for folder in mirrored
        if not (ROOT / MIRRORED[folder.parts[0]]).joinpath(*folder.parts[1:]).is_dir()
    ]
    assert missing == []


def test_helpers_of_tests_lie_in_the_kit() -> None:
    """No test takes anything from another test: what several use is a module of `tests/kit`."""
    strewn, borrowed = [], []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("tests/kit/") and not re.fullmatch(r"test_\w+|conftest|__init__", path.stem):
            strewn.append(name)
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom | ast.Import):
                continue
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            borrowed += [
                f"{name}: {module}"
                for module in modules
                if module.startswith("tests.") and not module.startswith("tests.kit")
            ]
    assert strewn == []
    assert borrowed == []


def test_tests_that_run_alone_are_where_make_test_looks_for_them() -> None:
    (pattern,) = re.findall(r"^ALONE = (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    marked = {path for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.alone" in path.read_text()}
    found = {path for path in marked if path.match(pattern)}
    assert len(found) >= 3 and marked - found == {Path(__file__)}


def test_files_that_begin_first_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []


def test_every_family_is_kept_from_the_others() -> None:
    """import-linter checks what is listed: a new family belongs on the list, and into the picture of the house."""
    folders = {path.parent.name for path in (ROOT / "flenwheel_core" / "models").glob("*/family.py")}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (kept_apart,) = [contract["modules"] for contract in contracts if contract["type"] == "independence"]
    assert {module.rpartition(".")[2] for module in kept_apart} == folders
    assert ", ".join(sorted(folders)) in (ROOT / "docs" / "architecture.md").read_text()


def test_no_settings_object_at_module_level() -> None:
    found = []
    for path in sources():
        for node in ast.parse(path.read_text()).body:
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and ast.unparse(node.value.func) == "Settings"
            ):
                found.append(path)
    assert found == []


def test_weights_are_loaded_from_safetensors_only() -> None:
    """A pickle can run code, and its bytes are not what a reference is pinned to."""
    weightless = re.compile(r"Tokenizer|Processor|Scheduler")
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr != "from_pretrained" or weightless.search(ast.unparse(node.func.value)):
                continue
            given = {keyword.arg for keyword in node.keywords}
            if not given & {"use_safetensors", None}:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_every_package_says_what_it_is() -> None:
    nameless = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.stem != "__init__" and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert nameless == []


NOT_YET_MEASURED = {"cluster_gates", "cluster_speed"}
"""Result files that a page waits for. Whoever measures one takes its name out here."""


def test_result_files_have_the_agreed_form() -> None:
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        result = json.loads(path.read_text())
        assert set(result) == {"benchmark", "command", "date", "machine", "versions", "rows"}, path.name
        assert result["benchmark"] == path.stem
        assert result["rows"] and all("case" in row for row in result["rows"]), path.name


def test_checkout_stays_light() -> None:
    """So that it travels to other machines quickly: most of it is weights, and they leave code and documents 6 MiB at least."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in listed.split("\0") if name and (ROOT / name).exists()}
    weights = sum(size for name, size in sizes.items() if name.startswith("flenwheel_core/nano/weights/"))
    assert weights < 48 * 2**20 and sum(sizes.values()) < 54 * 2**20


def test_measurements_are_up_to_date() -> None:
    from benchmarks.tables import FOLDER, pages

    wanted = pages()
    assert all(path.read_text() == text for path, text in wanted.items()), "run: python -m benchmarks.tables"
    assert set(FOLDER.glob("*.md")) <= set(wanted), "run: python -m benchmarks.tables"


def test_measurements_can_be_read_by_a_person() -> None:
    """Every result file is on a page, and no table has more columns than fit a screen."""
    from benchmarks.pages import PAGES
    from benchmarks.tables import shown

    measured = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")}
    assert measured <= shown()
    assert shown() - measured <= NOT_YET_MEASURED, "a table whose result file is missing is left out of its page"
    assert not measured & NOT_YET_MEASURED, "it is measured: take its name out of NOT_YET_MEASURED"
    assert all(len(table.columns) <= 7 for page in PAGES for table in page.tables)
