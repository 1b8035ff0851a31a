"""A workspace as a team has it: the store on S3, a token on everything, and a message when a gate opens."""

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks.kit.workspace import Running, write_recipe
from deployments.prefect.api import USER
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from tests.kit.s3_server import options_of

pytestmark = pytest.mark.slow
TOKEN = "a-secret-of-the-team"


@pytest.fixture
def letterbox() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An address that Apprise can post JSON to, and what came in."""
    received: list[dict[str, str]] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_turn_on_s3_behind_a_token_with_messages(
    tmp_path: Path, s3_endpoint: str, letterbox: tuple[str, list[dict[str, str]]], prefect_database: Path
) -> None:
    address, received = letterbox
    settings = Settings(
        workspace=tmp_path / "workspace",
        store=f"s3://flenwheel/{tmp_path.name}",
        store_options=options_of(s3_endpoint),
        gpu="cpu",
        author="tester",
        token=SecretStr(TOKEN),
        notify=(SecretStr(address),),
        stage_modules=("benchmarks.kit.turn_stages",),
        models=tmp_path / "models",
        import_ahead=False,
    )
    running = Running(settings, write_recipe(tmp_path), database=prefect_database)
    running.start()
    try:
        _strangers_are_refused(settings)
        running.add_character("mira")
        run = running.schedule("mira")
        ended = running.finish(run, "mira")
        assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
        champion = Library(running.store).champion("mira")
        assert champion is not None
        assert not (settings.root / "store").exists(), "everything is on S3"

        for deployment in ("training/training", "benchmark/benchmark"):
            alone = running.api.start(deployment, {"character": "mira"}).id
            ended = running.wait_state(alone, "COMPLETED", "FAILED", "CRASHED")
            assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
        assert Library(running.store).champion("mira") == champion, "steps on their own promote nothing"
    finally:
        assert running.stop() == 0
    titles = [message["title"] for message in received]
    assert len(titles) == 2 and all("mira" in title for title in titles), received
    logs = running.log.read_text() + "".join(path.read_text() for path in (settings.root / "logs").iterdir())
    assert TOKEN not in logs


def _strangers_are_refused(settings: Settings) -> None:
    services = load_services(settings)
    assert services is not None
    basic = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
    # The characters of the studio and the runs of the server: not without the token, and with it.
    for url, allowed in (
        (f"{services.studio_url}/api/v1/characters", f"Bearer {TOKEN}"),
        (f"{services.api_url}/admin/version", basic),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=20)
        refused.value.close()
        assert refused.value.code == 401
        request = urllib.request.Request(url, headers={"Authorization": allowed})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200
