"""Which stages hold the card."""

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.ingest import IngestRequest
from flenwheel_core.runner.stage import ENRICH, EXPORT, INGEST


def request(captioner: str | None) -> IngestRequest:
    character = CharacterRef(name="mira", trigger="ohwx_char", class_word="person", kind="person")
    return IngestRequest(character=character, files=(), recipe=IngestRecipe(), verifier="face", captioner=captioner)


def test_reading_pictures_holds_the_card_only_where_a_model_captions_them() -> None:
    assert INGEST.needs_card(request("nano")) and not INGEST.needs_card(request(None))
    assert ENRICH.uses_gpu and not EXPORT.uses_gpu
