"""Every command pins the models it uses, and looks for no others."""

import pytest

from flenwheel_core.base.errors import FlenwheelError, InterruptedStageError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.library.characters import Character, CharacterFacts, Library, PoolEntry
from flenwheel_core.models.pinning import BENCHMARK_MODELS, EDITOR_TURN_MODELS, TRAINING_MODELS, ModelUse, pin_recipe
from flenwheel_core.plans.ingest_request import pinned_ingest_request
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.store import Store
from tests.kit.turn_world import FINGERPRINT

MIRA = Character(name="mira", trigger="ohwx_char", class_word="person", kind="subject", recipe="nano")


def recipe(**models: str) -> Recipe:
    known = load_recipe("nano")
    return known.model_copy(update={"models": known.models.model_copy(update=models)})


def file(caption: str | None) -> SourceFile:
    return SourceFile(name="a.png", digest="a" * 64, caption=caption)


@pytest.mark.parametrize(
    ("uses", "absent"),
    [
        (TRAINING_MODELS, ("editor", "captioner", "verifier", "reader")),
        (BENCHMARK_MODELS, ("editor", "captioner")),
        (EDITOR_TURN_MODELS, ("base",)),
    ],
)
def test_only_the_models_in_use_are_looked_for(
    settings: Settings, uses: tuple[ModelUse, ...], absent: tuple[str, ...]
) -> None:
    pinned = pin_recipe(recipe(**dict.fromkeys(absent, "/nowhere")), settings, uses)
    named = [use for use in uses if getattr(recipe().models, use) is not None]
    assert named and all(getattr(pinned.models, use).startswith("nano@") for use in named)
    assert all(getattr(pinned.models, use) == "/nowhere" for use in absent)
    with pytest.raises(FlenwheelError, match="/nowhere"):
        pin_recipe(recipe(**dict.fromkeys(absent, "/nowhere")), settings)


def test_the_captioner_is_looked_for_where_a_picture_has_no_caption(settings: Settings) -> None:
    elsewhere = recipe(base="/nowhere", editor="/nowhere", captioner="/nowhere")
    request = pinned_ingest_request(MIRA, (file("standing"),), elsewhere, settings)
    assert request.captioner is None and request.verifier.startswith("nano@")
    with pytest.raises(FlenwheelError, match="/nowhere"):
        pinned_ingest_request(MIRA, (file("standing"), file(None)), elsewhere, settings)
    silent = elsewhere.model_copy(
        update={"ingest": elsewhere.ingest.model_copy(update={"describe_with_captioner": False})}
    )
    assert pinned_ingest_request(MIRA, (file(None),), silent, settings).captioner is None
    bare = pinned_ingest_request(MIRA, (file(None),), recipe(base="/nowhere"), settings)
    assert bare.captioner is not None and bare.captioner.startswith("nano@")


def test_a_search_trains_on_pinned_models(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search itself is stopped: what it would train on is what is looked at."""
    from deployments.cli import search as commands_search

    library = Library(Store(settings.store_url))
    library.create_character(MIRA)
    library.freeze_facts("mira", CharacterFacts(sources="a" * 64, fingerprint=FINGERPRINT))
    image = ImageRecord(
        digest="a" * 64, width=8, height=8, kind=ImageKind.SOURCE, stage="ingest", request="b" * 64, item="a"
    )
    library.add_to_pool("mira", [PoolEntry(image=image, caption="photo of ohwx_char", real=True, turn=0, gate=None)])
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    seen: list[TrainRequest] = []

    def stop(request: TrainRequest, *_: object, **__: object) -> None:
        seen.append(request)
        raise InterruptedStageError("seen")

    monkeypatch.setattr(commands_search, "search", stop)
    with pytest.raises(InterruptedStageError):
        commands_search.search_settings("mira", trials=1)
    assert seen[0].base.startswith("nano@")
