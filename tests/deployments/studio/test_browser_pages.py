"""Every page in a real browser, wide and narrow: nothing is blocked, cut off, unlabelled or hard to read."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from flenwheel_core.library.characters import Library
from tests.kit.browser import Reviewer, Studio, until
from tests.kit.style_world import studied_style
from tests.kit.turn_world import fill_turn

pytestmark = pytest.mark.slow

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}

UNLABELLED = """
[...document.querySelectorAll("button, a[href], input:not([type=hidden]), select, textarea")].filter((node) => {
  if (!node.checkVisibility() || node.type === "file") return false;
  const named = node.getAttribute("aria-label") || node.getAttribute("aria-labelledby") || node.labels?.length || node.innerText?.trim();
  return !named && !node.querySelector("img[alt]:not([alt=''])");
}).map((node) => node.outerHTML.slice(0, 90))
"""

FAINT = """
(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const colour = parse(getComputedStyle(n).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.8) return colour;
    }
    return [0, 0, 0];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest("button:disabled, svg")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className} ${node.textContent.trim().slice(0, 30)}`);
  }
  return found;
})()
"""


@pytest.fixture
def addresses(studio: Studio) -> list[str]:
    """Every page, with a turn that ended to show."""
    store = studio.reviews.store
    images = [entry.image for entry in Library(store).pool("mira")]
    lora = fill_turn(store, images)
    paths = [
        "/",
        "/characters",
        "/characters/mira",
        "/turns",
        "/turns/mira/1",
        "/gallery",
        f"/pictures/{studio.images[0]}",
    ]
    study = f"/styles/monet/{studied_style(store).key()}"
    paths += ["/characters/monet", study, f"{study}/pairs"]
    paths += ["/loras", f"/loras/{lora.digest}", "/edit-prompts", "/api", f"/gates/{studio.session.gate}", "/login"]
    return [studio.address + path for path in paths]


@pytest.mark.parametrize("size", SIZES)
def test_pages_are_whole_labelled_and_readable(chromium: Browser, addresses: list[str], size: str) -> None:
    width, height = SIZES[size]
    with chromium.new_context(viewport={"width": width, "height": height}) as context:
        reviewer = Reviewer(context, addresses[0])
        page = reviewer.page
        failed: list[str] = []
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        for address in addresses:
            page.goto(address, wait_until="networkidle")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{address} is {wide} px too wide"
            assert page.evaluate(UNLABELLED) == [], address
            assert page.evaluate(FAINT) == [], address
            assert page.locator("h1").count() == 1, address
        assert failed == [] and reviewer.complaints == []


def focused(page: Page) -> Iterator[str]:
    """Walks with Tab and tells how each stop shows that it has the focus."""
    for _ in range(12):
        page.keyboard.press("Tab")
        yield str(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))


def test_the_focus_is_visible(reviewer: Reviewer) -> None:
    reviewer.open()
    assert set(focused(reviewer.page)) == {"solid"}


def test_charts_are_drawn_with_their_figures(reviewer: Reviewer, addresses: list[str], studio: Studio) -> None:
    page = reviewer.page
    page.goto(f"{studio.address}/turns/mira/1")
    page.wait_for_selector("svg.chart polyline")
    page.click("details summary:has-text('figures')")
    assert page.locator(".chart-box tbody tr").count() == 40
    page.goto(f"{studio.address}/loras")
    page.wait_for_selector("svg.chart")
    assert page.locator("svg.chart").count() == 3
    lines = page.locator("svg.chart").nth(1).locator("polyline").all()
    dashes = [line.get_attribute("stroke-dasharray") for line in lines]
    assert len(set(dashes)) == len(dashes) == 2, "told apart without colour"


def test_a_picture_dropped_on_the_page_opens_its_record(reviewer: Reviewer, studio: Studio) -> None:
    page = reviewer.page
    page.goto(f"{studio.address}/gallery")
    data = list(studio.reviews.store.get_blob(studio.images[2]))
    page.evaluate(
        """(bytes) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "found.png", { type: "image/png" }));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        data,
    )
    page.wait_for_url(f"**/pictures/{studio.images[2]}")
    assert "enriched image" in page.inner_text(".tree")


def test_a_turn_starts_from_the_character_page(reviewer: Reviewer, studio: Studio) -> None:
    page = reviewer.page
    page.goto(f"{studio.address}/characters/mira")
    page.click("#start-turn button")
    reviewer.see("#turn-state", "in the queue")


def test_a_turn_whose_run_failed_is_ended_from_its_page(reviewer: Reviewer, studio: Studio) -> None:
    Library(studio.reviews.store).open_turn("mira", "run-1", "0" * 64)
    studio.server.state = "FAILED"
    page = reviewer.page
    page.goto(studio.address)
    assert "Nobody waits for it any more" in page.inner_text("#live")
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{studio.address}/turns/mira/1")
    page.click("#end-turn")
    until(lambda: studio.reviews.closed(studio.session.gate) is not None, "the gate's answer")
    page.wait_for_selector("#live:has-text('stopped')")
    assert page.locator("#end-turn").count() == 0
