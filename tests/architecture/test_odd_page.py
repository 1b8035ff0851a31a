"""docs/odd.md quotes messages of the program: each of them is still said."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.kit.sources import ROOT, sources

PAGE = ROOT / "docs" / "odd.md"
SCRIPTS = ROOT / "deployments" / "studio" / "static"


def _quoted() -> list[str]:
    """What stands in backticks in the first column of the page's tables."""
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return [quote for row in rows for quote in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def _said(tree: ast.AST) -> Iterator[str]:
    """Every text of a module, with … where a value goes in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def messages() -> str:
    modules = [text for path in sources() for text in _said(ast.parse(path.read_text("utf-8")))]
    scripts = [re.sub(r"\$\{[^}]*\}", "…", path.read_text("utf-8")) for path in sorted(SCRIPTS.glob("*.js"))]
    return "\n".join((*modules, *scripts))


@pytest.mark.parametrize("quote", _quoted())
def test_the_program_still_says_it(quote: str, messages: str) -> None:
    assert quote in messages


def test_the_page_says_what_to_do_about_each() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) > 50 and all(len(row.strip("| ").split(" | ")) == 2 for row in rows)
