"""An export is whole: what cannot be written for other tools is said, and everything else is there."""

import json
from pathlib import Path

import pytest

from flenwheel_core.adapters.lora_file import lora_bytes
from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.requests.export import ExportRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.export import export
from flenwheel_core.store import Store
from tests.kit.exported import export_request
from tests.kit.tiny_flux import trained


@pytest.mark.parametrize(
    ("changes", "kohya"), [({}, True), ({"dora": True}, True), ({"dora": True, "include": ["*.to_q"]}, False)]
)
def test_the_file_for_other_tools_is_there_or_the_card_says_why_not(
    settings: Settings, tmp_path: Path, changes: dict[str, object], kohya: bool
) -> None:
    store = Store(settings.store_url)
    adapted = trained(LoraRecipe.model_validate({"rank": 4, **changes}))
    lora = LoraRecord(
        digest=store.put_blob(lora_bytes(adapted.parameters, adapted, {"modelspec.architecture": "flux-1-dev/lora"})),
        name="mira-v1",
        target="generator",
        base_model="nano@1",
        trigger="ohwx_char",
        class_word="person",
        rank=4,
        alpha=4.0,
        steps=1,
        images=1,
        dataset="a" * 64,
        request="b" * 64,
    )
    mira = CharacterRef(name="mira", trigger="ohwx_char", class_word="person", kind="person")
    request = ExportRequest(character=mira, lora=lora, sources="c" * 64, pool=store.put_images([]), turn=1)
    notes: list[ProgressEvent] = []
    context = StageContext(store, settings, tmp_path, Progress("export", notes.append))
    files = {file.name: file.digest for file in export(request, context).files}
    card = store.get_blob(files["README.md"]).decode()
    assert ("mira-v1.kohya.safetensors" in files) == kohya == ("mira-v1.kohya.safetensors" in card)
    assert kohya or ("There is no file in kohya's layout" in card and "magnitudes" in notes[0].text)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("nano@1", "Apache-2.0, comes with FLENwheel, commercial use allowed"),
        ("black-forest-labs/FLUX.1-dev@main", "FLUX.1 [dev] Non-Commercial License, not for commercial use"),
        ("/my/folder@1", "licence not known, read it before commercial use"),
    ],
)
def test_card_and_provenance_say_the_base_models_licence(
    settings: Settings, tmp_path: Path, base: str, said: str
) -> None:
    store = Store(settings.store_url)
    adapted = trained(LoraRecipe(rank=4))
    lora = LoraRecord(
        digest=store.put_blob(lora_bytes(adapted.parameters, adapted, {})),
        name="mira-v1",
        target="generator",
        base_model=base,
        trigger="ohwx_char",
        class_word="person",
        rank=4,
        alpha=4.0,
        steps=1,
        images=1,
        dataset="a" * 64,
        request="b" * 64,
    )
    mira = CharacterRef(name="mira", trigger="ohwx_char", class_word="person", kind="person")
    request = ExportRequest(character=mira, lora=lora, sources="c" * 64, pool=store.put_images([]), turn=1)
    context = StageContext(store, settings, tmp_path, Progress("export", lambda event: None))
    files = {file.name: file.digest for file in export(request, context).files}
    card = store.get_blob(files["README.md"]).decode()
    assert f"| licence of the base model | {said} |" in card
    assert ("license_name: flux.1-dev-non-commercial-license" in card) == ("FLUX.1-dev" in base)
    facts = json.loads(store.get_blob(files["provenance.json"]))["base_licence"]
    assert facts["commercial"] == {"nano@1": True, "/my/folder@1": None}.get(base, False)


@pytest.mark.parametrize(
    ("base", "drawn"), [("nano_klein@1", False), ("nano_zimage@1", False), ("nano@1", False), ("a/b@main", True)]
)
def test_a_graph_is_drawn_only_for_a_base_that_comfyui_can_load(
    settings: Settings, tmp_path: Path, base: str, drawn: bool
) -> None:
    store = Store(settings.store_url)
    asked = export_request(store, base=base)
    adapted = trained(LoraRecipe(rank=4))
    data = lora_bytes(adapted.parameters, adapted, {"modelspec.architecture": "flux-1-dev/lora"})
    asked = asked.model_copy(update={"lora": asked.lora.model_copy(update={"digest": store.put_blob(data)})})
    context = StageContext(store, settings, tmp_path, Progress("export", lambda event: None))
    names = {file.name for file in export(asked, context).files}
    assert ("mira-v1.comfyui.json" in names) == drawn
