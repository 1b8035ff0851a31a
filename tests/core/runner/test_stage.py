"""Which stages hold the card."""

import json
from pathlib import Path

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.ingest import IngestRequest
from flenwheel_core.runner.stage import ENRICH, EXPORT, INGEST


def request(captioner: str | None) -> IngestRequest:
    character = CharacterRef(name="mira", trigger="ohwx_char", class_word="person", kind="person")
    return IngestRequest(character=character, files=(), recipe=IngestRecipe(), verifier="face", captioner=captioner)


def test_reading_pictures_holds_the_card_only_where_a_model_captions_them() -> None:
    assert INGEST.needs_card(request("nano")) and not INGEST.needs_card(request(None))
    assert ENRICH.uses_gpu and not EXPORT.uses_gpu


def test_an_editor_that_works_elsewhere_leaves_the_card_to_others(tmp_path: Path) -> None:
    def edits(editor: str) -> EnrichRequest:
        return EnrichRequest(
            character=request(None).character,
            sources="a" * 64,
            items=(),
            editor=editor,
            sampler=Sampler(steps=1, width=64, height=64),
            turn=1,
        )

    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "ImageEditAddress"}))
    assert not ENRICH.needs_card(edits(str(tmp_path))) and not ENRICH.needs_card(edits(f"{tmp_path}@0123"))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "Flux2KleinPipeline"}))
    for editor in (str(tmp_path), "nano", "owner/editor@main", str(tmp_path / "nothing"), str(tmp_path.parent)):
        assert ENRICH.needs_card(edits(editor))
