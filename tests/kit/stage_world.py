"""A small real world for tests of the stages: drawn characters, a store, and a vision model with fixed random weights.

Random features tell pictures apart by colour and place; that is enough to see whether the stages do their work. How well the
trained models do theirs is measured in benchmarks/.
"""

import io
import threading
from dataclasses import replace
from functools import cache
from pathlib import Path

from PIL import Image

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.nano.world import Character, View, caption, make_character, make_view, render
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.ingest import IngestRequest, IngestResult, SourceFile
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.ingest import ingest
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture

HERO = CharacterRef(name="hero", trigger="ohwx_char", class_word="person", kind="subject")
SEED = 31


def tiny_vision_model(folder: Path) -> Path:
    """A DINOv2 folder of 30 k parameters, always the same."""
    import torch
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    if not folder.exists():
        state = torch.get_rng_state()
        torch.manual_seed(0)
        config = Dinov2Config(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, patch_size=16, image_size=64, mlp_ratio=2
        )
        Dinov2Model(config).save_pretrained(folder)
        torch.set_rng_state(state)
        size = {"height": 64, "width": 64}
        BitImageProcessor(size={"shortest_edge": 64}, crop_size=size).save_pretrained(folder)
    return folder


def context(settings: Settings) -> StageContext:
    scratch = settings.scratch / "test"
    scratch.mkdir(parents=True, exist_ok=True)
    store = Store(settings.store_url, settings.store_options)
    return StageContext(store, settings, scratch, Progress("test", lambda _: None), 0, threading.Event())


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def hero() -> Character:
    return make_character(SEED)


@cache
def views(number: int) -> tuple[View, ...]:
    """Portraits in the hero's own clothes, drawn as photos."""
    return tuple(replace(make_view(seed, portrait_share=1.0), clothing=None, style="photo") for seed in range(number))


def source_file(context: StageContext, image: Image.Image, name: str, text: str | None = None) -> SourceFile:
    return SourceFile(name=name, digest=context.store.put_blob(png(image)), caption=text)


def sources(context: StageContext, number: int = 12) -> tuple[SourceFile, ...]:
    return tuple(
        source_file(context, render(hero(), view), f"{index:02}.png", caption(hero(), view, name="ohwx_char"))
        for index, view in enumerate(views(number))
    )


def ingested(context: StageContext, verifier: str, files: tuple[SourceFile, ...]) -> IngestResult:
    request = IngestRequest(character=HERO, files=files, recipe=IngestRecipe(), verifier=verifier)
    return ingest(request, context)


def candidate(context: StageContext, image: Image.Image, item: str, labels: Labels | None = None) -> ImageRecord:
    record = ImageRecord(
        digest="0" * 64,
        width=1,
        height=1,
        kind=ImageKind.ENRICHED,
        stage="enrich",
        request="0" * 64,
        item=item,
        labels=labels or Labels(),
    )
    return save_picture(context.store, image, record)
