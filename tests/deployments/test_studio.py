"""A turn from the browser: started there, reviewed by keyboard, finished; the suspended Prefect run resumes and completes."""

import pytest
from playwright.sync_api import Browser

from benchmarks.kit.workspace import Running
from deployments.prefect.gates import waiting_runs
from flenwheel_core.base.services import load_services
from flenwheel_core.gates.session import Reviews
from tests.kit.browser import Reviewer, until

pytestmark = pytest.mark.slow


def test_a_turn_is_started_and_approved_in_the_browser(running: Running, chromium: Browser) -> None:
    running.add_character("zoe")
    services = load_services(running.settings)
    assert services is not None and services.studio_url is not None
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        reviewer = Reviewer(context, services.studio_url)
        page = reviewer.page
        page.goto(f"{services.studio_url}/characters/zoe")
        page.click("#start-turn button")
        reviewer.see("#turn-state", "in the queue")
        run = running.wait_gate("zoe-t1-gate-a-r1")
        reviewer.open("zoe-t1-gate-a-r1")
        reviews = Reviews(running.store)
        session = reviews.get("zoe-t1-gate-a-r1")
        pictures = len(reviews.images(session))
        for _ in range(pictures):
            shown = reviewer.shown
            reviewer.press("g")
            until(
                lambda before=shown: reviewer.shown != before or len(reviews.current(session.gate)) == pictures,  # type: ignore[misc]
                "the next picture",
            )
        reviewer.saved()
        reviewer.press("f")
        until(lambda: page.is_enabled("#approve"), "enough good pictures")
        page.focus("#approve")
        page.keyboard.press("Enter")
        reviewer.see("#banner", "Answered: approve by")
        until(lambda: session.gate not in waiting_runs(running.api), "the run goes on")
        closed = reviews.closed(session.gate)
        assert closed is not None and closed.good == pictures and closed.verdict == "approve"
        ended = running.finish(run.id, "zoe")
        assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
        page.goto(f"{services.studio_url}/turns/zoe/1")
        assert "✓ done" in page.inner_text("#live") and "Completed" in page.inner_text("#live")
        page.wait_for_selector("svg.chart")
        assert reviewer.complaints == []
