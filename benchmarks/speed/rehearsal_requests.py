"""What the dress rehearsal asks the stages: a recipe's own settings, with fewer pictures and steps."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, LoraUse, Sampler
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.documents.triplets import Triplet, TripletSet
from flenwheel_core.nano.world import make_character, render, source_views
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.benchmark import BenchmarkRequest
from flenwheel_core.requests.edit_compare import ComparedEdit, EditCompareRequest
from flenwheel_core.requests.edit_train import EditTrainRequest
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.requests.train import TrainItem, TrainRequest
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture

MIRA = CharacterRef(name="mira", trigger="ohwx_char", class_word="person", kind="subject")
FORMATS = (
    (1024, 1024),
    (832, 1216),
    (1216, 832),
    (3000, 4000),
    (768, 1344),
    (1024, 1024),
    (640, 640),
    (2400, 1000),
    (1024, 1024),
    (896, 1152),
    (1152, 896),
    (1024, 1024),
)
"""Twelve pictures as people bring them: phones, crops, one of 12 megapixels, a small one, a panorama."""


@dataclass
class Rehearsal:
    """Model folders, the store, and what earlier stages made."""

    store: Store
    recipe: Recipe
    base: str
    editor: str
    captioner: str
    few_step: tuple[LoraUse, ...]
    """What the editor wears to need few steps; nothing where it has no such LoRA."""
    sources: str = ""
    fingerprint: Fingerprint | None = None
    character_lora: str | None = None
    editor_lora: str | None = None
    edits: str | None = None
    pictures: list[Image.Image] = field(default_factory=list)

    def source_records(self) -> tuple[ImageRecord, ...]:
        return self.store.get_images(self.sources)


def source_pictures() -> list[Image.Image]:
    """One drawn character in twelve views and formats."""
    character = make_character(1_000_000)
    views = source_views(7, len(FORMATS))
    pictures = []
    for (width, height), view in zip(FORMATS, views, strict=True):
        side = max(width, height)
        square = render(character, view, size=512).resize((side, side), Image.Resampling.LANCZOS)
        left, top = (side - width) // 2, (side - height) // 2
        pictures.append(square.crop((left, top, left + width, top + height)))
    return pictures


def keep_sources(rehearsal: Rehearsal) -> None:
    """Puts the sources into the store without reading them, for parts that start later than ingest."""
    rehearsal.sources = rehearsal.store.put_images(
        [
            save_picture(
                rehearsal.store,
                picture,
                ImageRecord(
                    digest="0" * 64,
                    width=0,
                    height=0,
                    kind=ImageKind.SOURCE,
                    stage="ingest",
                    request="0" * 64,
                    item=f"{number:02d}.jpg",
                    caption=f"photo of ohwx_char person, view {number}",
                ),
            )
            for number, picture in enumerate(_at_most(2048, source_pictures()))
        ]
    )


def ingest(rehearsal: Rehearsal) -> IngestRequest:
    files = []
    for number, picture in enumerate(source_pictures()):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=92)
        files.append(SourceFile(name=f"{number:02d}.jpg", digest=rehearsal.store.put_blob(buffer.getvalue())))
    return IngestRequest(
        character=MIRA,
        files=tuple(files),
        recipe=rehearsal.recipe.ingest,
        verifier="nano",
        captioner=rehearsal.captioner,
    )


def enrich(rehearsal: Rehearsal, *, edits: int, sampler: Sampler, few_step: bool, turn: int = 1) -> EnrichRequest:
    records = rehearsal.source_records()
    chosen = [records[index % len(records)] for index in range(edits)]
    loras = rehearsal.few_step if few_step else ()
    if rehearsal.editor_lora is not None:
        loras += (LoraUse(digest=rehearsal.editor_lora),)
    return EnrichRequest(
        character=MIRA,
        sources=rehearsal.sources,
        items=tuple(
            EditItem(
                key=f"edit-{number}",
                source=record.digest,
                prompt=f"The same person with the same face, smiling, in a forest, number {number}. Keep the identity exactly.",
                seed=number,
            )
            for number, record in enumerate(chosen)
        ),
        editor=rehearsal.editor,
        loras=loras,
        sampler=sampler,
        turn=turn,
        shift=rehearsal.recipe.enrich.shift if few_step else None,
    )


def train(rehearsal: Rehearsal, *, steps: int, prior: bool, name: str = "mira-t1-v1") -> TrainRequest:
    sampling = rehearsal.recipe.train.sampling.model_copy(update={"every_steps": steps, "prompts": 1})
    chosen = rehearsal.recipe.train.prior
    own_prior = chosen.model_copy(update={"images": 2} if prior else {"method": "off"})
    recipe = rehearsal.recipe.train.model_copy(
        update={"steps": steps, "checkpoint_every": 60, "sampling": sampling, "prior": own_prior}
    )
    return TrainRequest(
        character=MIRA,
        name=name,
        items=tuple(
            TrainItem(image=record.digest, caption=f"photo of ohwx_char person, view {number}, in a studio", real=True)
            for number, record in enumerate(rehearsal.source_records())
        ),
        base=rehearsal.base,
        recipe=recipe,
        seed=1,
        sample_prompts=("photo of ohwx_char person, smiling",),
        sampler=rehearsal.recipe.generate.sampler,
    )


def generate(rehearsal: Rehearsal, *, pictures: int) -> GenerateRequest:
    loras = (LoraUse(digest=rehearsal.character_lora),) if rehearsal.character_lora is not None else ()
    return GenerateRequest(
        character=MIRA,
        items=_card_items(pictures),
        base=rehearsal.base,
        loras=loras,
        sampler=rehearsal.recipe.generate.sampler,
        turn=1,
    )


def benchmark(rehearsal: Rehearsal, *, pictures: int) -> BenchmarkRequest:
    assert rehearsal.fingerprint is not None
    return BenchmarkRequest(
        character=MIRA,
        base=rehearsal.base,
        challenger=rehearsal.character_lora,
        fingerprint=rehearsal.fingerprint,
        verifier="nano",
        items=_card_items(pictures),
        recipe=rehearsal.recipe.benchmark,
        sampler=rehearsal.recipe.generate.sampler,
    )


def edit_train(rehearsal: Rehearsal, *, steps: int) -> EditTrainRequest:
    records = rehearsal.source_records()
    recipe = rehearsal.recipe.editor
    triplets = [
        Triplet(
            source=record.digest,
            prompt=f"The same person, in background {number % 4}. Keep the identity exactly.",
            target=_lit(rehearsal, record),
            kind="approved",
            character="mira",
            turn=1,
            gate="mira-t1-a",
            author="rehearsal",
        )
        for number, record in enumerate(records)
        if (record.width, record.height) in ((1024, 1024), (832, 1216), (1216, 832))
    ]
    document = TripletSet(triplets=tuple(triplets * 2))
    return EditTrainRequest(
        name="editor-1",
        triplets=rehearsal.store.put_blob(document.to_bytes()),
        editor=rehearsal.editor,
        recipe=recipe.train.model_copy(update={"steps": steps, "checkpoint_every": 40}),
        storage=recipe.storage,
        seed=1,
    )


def edit_compare(rehearsal: Rehearsal, *, edits: int) -> EditCompareRequest:
    assert rehearsal.editor_lora is not None
    records = rehearsal.source_records()[:edits]
    return EditCompareRequest(
        items=tuple(
            ComparedEdit(
                key=f"held-{number}",
                source=record.digest,
                prompt=f"The same person, smiling, number {number}.",
                target=_lit(rehearsal, record),
                corrected=False,
                character="mira",
                seed=number,
            )
            for number, record in enumerate(records)
        ),
        editor=rehearsal.editor,
        champion=rehearsal.few_step,
        challenger=(*rehearsal.few_step, LoraUse(digest=rehearsal.editor_lora)),
        verifier="nano",
        sampler=rehearsal.recipe.enrich.sampler,
        shift=rehearsal.recipe.enrich.shift,
    )


def _card_items(pictures: int) -> tuple[GenerateItem, ...]:
    return tuple(
        GenerateItem(key=f"card-{number}", prompt=f"photo of ohwx_char person, smiling, number {number}", seed=number)
        for number in range(pictures)
    )


def _lit(rehearsal: Rehearsal, record: ImageRecord) -> str:
    """A right answer: the source, brighter."""
    picture = Image.open(io.BytesIO(rehearsal.store.get_blob(record.digest))).convert("RGB")
    brighter = picture.point([min(255, level + 24) for level in range(256)] * 3)
    return save_picture(rehearsal.store, brighter, record.model_copy(update={"kind": ImageKind.CORRECTED})).digest


def _at_most(side: int, pictures: Sequence[Image.Image]) -> list[Image.Image]:
    for picture in pictures:
        picture.thumbnail((side, side))
    return list(pictures)


def few_step_use(store: Store, file: Path) -> LoraUse:
    return LoraUse(digest=store.put_blob(file.read_bytes()))
