"""An exported LoRA, and a Hub that can be written to."""

from collections.abc import Iterator

import pytest

from benchmarks.kit.broken_server import Breaker, serving
from benchmarks.kit.hub_app import HubApp
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.publishing.bundle import Bundle, bundle_of
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.export import export
from flenwheel_core.store import Store
from tests.kit.exported import SECRET, export_request, publish_request


@pytest.fixture
def context(settings: Settings) -> StageContext:
    scratch = settings.scratch / "test"
    scratch.mkdir(parents=True)
    return StageContext(Store(settings.store_url), settings, scratch, Progress("publish", lambda event: None))


@pytest.fixture
def bundle(context: StageContext) -> Bundle:
    """What is published of a LoRA on nano."""
    asked = export_request(context.store)
    files = export(asked, context).files
    return bundle_of(publish_request(context.store, files, asked, "folder", "x"), context.store)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[HubApp, Breaker]]:
    """The Hub's stand-in, which the client is told of by the environment."""
    app = HubApp(SECRET)
    with serving(app) as (url, breaker):
        app.url = url
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_TOKEN", SECRET)
        # Large files go by LFS here; the stand-in has no Xet.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield app, breaker
