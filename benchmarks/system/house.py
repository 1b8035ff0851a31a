"""How the code itself stands: `python -m benchmarks.system.house`.

The row `house`:

* `circles`: groups of modules, and groups of rooms, that import each other in a circle; imports inside functions and for types only count.
  A room is a folder below `flenwheel_core` or `deployments`, or one of the packages `flows` and `tasks`.
* `files_to_add_a_family`: the largest figure of the rows of families (below).
* `toy_family_lines`: lines of the family that the tests bring from outside of the package; it draws, edits and trains.
* `repeated_runs`: runs of six and more equal lines that stand in two files of the product (`repeats.py`).
* `required_dependencies`: packages that every installation gets.
* `longest_file`: lines of the longest module.

A row a family: `existing_files`, the modules and tables of settings outside of its own folder that name it, which are those that had to be
touched to add it. The toy family is known through the setting `stage_modules` of a workspace; a shipped one is found by its folder.
"""

import argparse
import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from grimp import build_graph  # the graph that import-linter checks

from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.system.repeats import repeated_runs

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flenwheel_core", "flows", "tasks", "deployments")
TOY = ROOT / "tests" / "kit" / "toy_family.py"


def product_files() -> list[Path]:
    """All modules that users install."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module_imports() -> dict[str, set[str]]:
    """Which module imports which others, wherever in its file the import stands."""
    graph = build_graph(*PACKAGES, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def room_imports(modules: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Which room imports which others."""
    rooms: dict[str, set[str]] = {}
    for module, imported in modules.items():
        rooms.setdefault(_room(module), set()).update(map(_room, imported))
    return {room: others - {room} for room, others in rooms.items()}


def circles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups in which each imports every other, directly or through others of its group."""
    reach: dict[str, set[str]] = {}
    for start in imports:
        seen: set[str] = set()
        waiting = list(imports[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(imports.get(name, ()))
        reach[start] = seen
    groups = {frozenset(other for other in reach[name] if name in reach.get(other, ())) for name in imports}
    return sorted(sorted(group) for group in groups if group)


def _room(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[: 1 if parts[0] in ("flows", "tasks") else 2])


def existing_files(name: str, own: Path) -> list[str]:
    """Modules and tables of settings outside of a family's own place that name it."""
    named = re.compile(rf"\b{re.escape(name)}\b")
    texts = itertools.chain(product_files(), [ROOT / "pyproject.toml"], (ROOT / "flenwheel_core").rglob("*.toml"))
    return [
        path.relative_to(ROOT).as_posix()
        for path in texts
        if not path.is_relative_to(own) and named.search(path.read_text())
    ]


def family_rows() -> list[Row]:
    """What adding each family touched."""
    models = ROOT / "flenwheel_core" / "models"
    places = {path.parent.name: path.parent for path in sorted(models.glob("*/family.py"))} | {TOY.stem: TOY}
    return [{"case": name, "existing_files": len(existing_files(name, own))} for name, own in places.items()]


def measure() -> list[Row]:
    """All rows."""
    modules = module_imports()
    families = family_rows()
    house: Row = {
        "case": "house",
        "circles": len(circles(modules)) + len(circles(room_imports(modules))),
        "files_to_add_a_family": max(int(row["existing_files"] or 0) for row in families),
        "toy_family_lines": _lines(TOY),
        "repeated_runs": len(repeated_runs(product_files())),
        "required_dependencies": len(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]),
        "longest_file": max(map(_lines, product_files())),
    }
    return [house, *families]


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="the circles and repeated runs themselves")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    if arguments.show:
        modules = module_imports()
        for circle in [*circles(modules), *circles(room_imports(modules))]:
            print("circle:", ", ".join(circle))
        for run in repeated_runs(product_files()):
            print(run.told(ROOT))
    print(write_result("house", measure(), folder=arguments.out))


if __name__ == "__main__":
    main()
