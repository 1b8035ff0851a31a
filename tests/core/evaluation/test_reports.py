"""What people see of a benchmark: the grid, the page, the plots; and that repeats give the same bytes."""

import io
import sys

import pytest
from PIL import Image

from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.evaluation.grid import draw_grid
from flenwheel_core.evaluation.plots import plot_turns
from flenwheel_core.evaluation.promotion.characters import compare
from flenwheel_core.evaluation.report import benchmark_markdown
from flenwheel_core.images.sheets import BAD, GOOD
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.requests.benchmark import BenchmarkResult
from tests.kit.scorecards import card

CHAMPION, CHALLENGER = card(passed=10), card(passed=20, identity=0.95, lora="b" * 64)


def test_the_grid_shows_every_cell_of_both_in_the_cards_order() -> None:
    asked: list[str] = []

    def load(digest: str) -> Image.Image:
        asked.append(digest)
        return Image.new("RGB", (16, 16), "white")

    grid = draw_grid(CHALLENGER, CHAMPION, load, tile_px=40)
    assert len(asked) == 2 * len(CARD_CELLS)
    assert asked[:2] == [CHAMPION.cells[0].image, CHALLENGER.cells[0].image]
    colours = {colour for _, colour in grid.getcolors(maxcolors=100_000)}
    assert {GOOD, BAD} <= colours
    assert draw_grid(CHALLENGER, None, load, tile_px=40).width < grid.width


def test_the_page_says_the_verdict_and_every_cell() -> None:
    comparison = compare(CHAMPION, CHALLENGER, BenchmarkRecipe())
    result = BenchmarkResult(
        challenger=CHALLENGER, champion=CHAMPION, comparison=comparison, images="0" * 64, grid="0" * 64
    )
    page = benchmark_markdown(result)
    assert "Promote the challenger" in page
    assert "87%" in page and "43%" in page
    assert all(f"| {cell.id} |" in page for cell in CARD_CELLS)
    assert "(angle)" in page
    alone = BenchmarkResult(challenger=CHALLENGER, champion=None, comparison=None, images="0" * 64, grid="0" * 64)
    assert "champion" not in benchmark_markdown(alone)


def test_plots_are_pictures_and_repeat() -> None:
    cards = [(1, CHAMPION), (2, CHALLENGER)]
    first = plot_turns(cards, target_pass_rate=0.8)
    assert first is not None
    assert Image.open(io.BytesIO(first)).size == (1100, 340)
    assert first == plot_turns(cards, target_pass_rate=0.8)
    assert first != plot_turns(cards[:1], target_pass_rate=0.8)


def test_without_matplotlib_the_report_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert plot_turns([(1, CHAMPION)], target_pass_rate=0.8) is None
