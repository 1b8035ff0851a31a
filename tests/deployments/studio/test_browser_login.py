"""Logging in and out in a real browser, a link in a message, and what another site's page can do to a studio with and without a token."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser
from starlette.types import Message, Receive, Scope, Send

from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from tests.kit.browser import GATE, Reviewer, free_port, until
from tests.kit.gate_world import open_gate, settings_in

pytestmark = pytest.mark.slow
TOKEN = "a-secret-of-the-team"
ATTACK = """
async ([url, options]) => {
  try { const answer = await fetch(url, options); return [answer.type, answer.status]; } catch { return ["refused", 0]; }
}
"""


@contextmanager
def listening(settings: Settings, answered: list[int]) -> Iterator[str]:
    """A studio's address; every status it answers with is noted."""
    app, port = create_app(settings, None), free_port()

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            answered.extend([message["status"]] if message["type"] == "http.response.start" else [])
            await send(message)

        await app(scope, receive, note)

    server = uvicorn.Server(uvicorn.Config(noted, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, "the studio")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_a_link_in_a_message_opens_the_gate_after_one_login(chromium: Browser, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "a", token=TOKEN)
    store = Store(settings.store_url)
    open_gate(store, 3, side=64)
    # The message is read on another site: a second studio without a token serves its page.
    with (
        listening(settings, []) as address,
        listening(settings_in(tmp_path / "b"), []) as mail,
        chromium.new_context() as context,
    ):
        reviewer = Reviewer(context, address)
        page = reviewer.page

        def follow() -> None:
            page.goto(mail.replace("127.0.0.1", "localhost"))
            page.evaluate("(url) => { location.href = url }", f"{address}/gates/{GATE}")

        follow()
        page.wait_for_url(f"{address}/login**")
        page.fill("input[name=token]", "not the token")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=That is not the token.")
        page.fill("input[name=token]", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#gate[data-ready]")
        reviewer.press("g")
        reviewer.saved()
        assert len(Reviews(store).current(GATE)) == 1
        follow()
        page.wait_for_selector("#gate[data-ready]")
        page.goto(f"{address}/characters")
        page.click("form[action='/logout'] button")
        page.wait_for_url(f"{address}/login")
        page.goto(f"{address}/characters")
        assert page.url.startswith(f"{address}/login")
        assert reviewer.complaints == []


def test_another_sites_page_gets_nothing_and_changes_nothing(
    chromium: Browser, tmp_path: Path, other_site: int
) -> None:
    settings = settings_in(tmp_path)
    store = Store(settings.store_url)
    open_gate(store, 3, side=64)
    image = Reviews(store).images(Reviews(store).get(GATE))[0].digest
    with listening(settings, answered := []) as address, chromium.new_context() as context:
        page = context.new_page()
        for site in ("127.0.0.1", "evil.test"):
            page.goto(f"http://{site}:{other_site}/")
            answered.clear()
            form = {"method": "POST", "body": "x", "mode": "no-cors"}
            for path, options in (
                ("/api/v1/session", {}),
                ("/api/v1/characters/mira/ingest", {"method": "POST"}),
                ("/api/v1/characters/mira/ingest", form),
                (f"/api/v1/gates/{GATE}/pictures/{image}/decision", form),
                (f"/api/v1/gates/{GATE}/undo", {"method": "POST", "headers": {"x-csrf-token": "guessed"}}),
            ):
                answer = page.evaluate(ATTACK, [address + path, options])
                assert answer in (["refused", 0], ["opaque", 0]), (site, path, answer)
            assert len(answered) == 5 and set(answered) == {403}, "they came as far as the studio's door"
    assert Reviews(store).current(GATE) == {}
