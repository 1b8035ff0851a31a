"""What the dress rehearsal asks the stages: a recipe's own settings, with fewer pictures and steps.

What a stage made is kept in the workspace, so that a part of the rehearsal may begin where another ended. A LoRA that no earlier part
trained is one with random weights: it takes as much time and memory.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from PIL import Image

from benchmarks.speed.rehearsal_folders import random_lora
from benchmarks.speed.rehearsal_models import ModelFolders
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, LoraUse, Sampler
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.documents.triplets import Triplet, TripletSet
from flenwheel_core.evaluation.model_card import model_card_items
from flenwheel_core.nano.world import make_character, render, source_views
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.benchmark import BenchmarkRequest
from flenwheel_core.requests.edit_compare import ComparedEdit, EditCompareRequest
from flenwheel_core.requests.edit_train import EditTrainRequest
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.requests.screen import ScreenRequest
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


class Made(Document):
    """What stages made that others go on from."""

    fingerprint: Fingerprint | None = None
    character_lora: str | None = None
    editor_lora: str | None = None
    edits: str | None = None


CHECKPOINT_EVERY = 20
"""Steps of a training between checkpoints: few, so that a short run can be killed behind one."""
LOG_EVERY = 5


@dataclass
class Rehearsal:
    """Model folders, the store, and what earlier stages made."""

    store: Store
    recipe: Recipe
    models: ModelFolders
    workspace: Path
    few_step: tuple[LoraUse, ...] = ()
    """What the editor wears to need few steps; nothing where it has no such LoRA."""
    sources: str = ""
    made: Made = field(default_factory=Made)

    @classmethod
    def begin(cls, store: Store, recipe: Recipe, models: ModelFolders, workspace: Path) -> Self:
        """With its sources in the store, and what earlier parts made in the same workspace."""
        rehearsal = cls(store, recipe, models, workspace)
        if models.few_step is not None:
            rehearsal.few_step = (_lora_use(store, models.few_step),)
        if rehearsal._kept.exists():
            rehearsal.made = Made.from_bytes(rehearsal._kept.read_bytes(), where=str(rehearsal._kept))
        keep_sources(rehearsal)
        return rehearsal

    def keep(self, made: Made) -> None:
        """Remembers what a stage made, for this part and later ones."""
        self.made = made
        self._kept.write_bytes(made.to_bytes())

    @property
    def _kept(self) -> Path:
        return self.workspace / "rehearsal.json"

    def source_records(self) -> tuple[ImageRecord, ...]:
        return self.store.get_images(self.sources)

    def character_lora(self) -> LoraUse:
        """The one that was trained, or one with random weights."""
        rank = self.recipe.train.lora.rank
        return self._lora(self.made.character_lora, self.models.base, rank)

    def own_editor_lora(self) -> LoraUse:
        """The editor's own: the one that was trained, or one with random weights."""
        return self._lora(self.made.editor_lora, self.models.editor, self.recipe.editor.train.lora.rank)

    def _lora(self, trained: str | None, model: Path, rank: int) -> LoraUse:
        if trained is not None:
            return LoraUse(digest=trained)
        return _lora_use(self.store, random_lora(self.workspace / f"random-{model.name}.safetensors", model, rank))


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


def ingest(rehearsal: Rehearsal, *, described: bool = True) -> IngestRequest:
    """Without the captioner it needs no card, and makes the fingerprint all the same."""
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
        captioner=str(rehearsal.models.captioner) if described else None,
    )


def enrich(rehearsal: Rehearsal, *, edits: int, sampler: Sampler, few_step: bool, turn: int = 1) -> EnrichRequest:
    records = rehearsal.source_records()
    chosen = [records[index % len(records)] for index in range(edits)]
    loras = rehearsal.few_step if few_step else ()
    if turn > 1:  # Flywheel 2 has trained the editor by then
        loras += (rehearsal.own_editor_lora(),)
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
        editor=str(rehearsal.models.editor),
        loras=loras,
        sampler=sampler,
        turn=turn,
        shift=rehearsal.recipe.enrich.shift if few_step else None,
        storage=rehearsal.recipe.editor.storage,
    )


def screen(rehearsal: Rehearsal) -> ScreenRequest:
    """What enrich made, by the verifier that ingest used."""
    if rehearsal.made.edits is None:
        raise NotFoundError("There are no edits to screen.", remedy="Run the stage enrich before, in this workspace.")
    return ScreenRequest(
        character=MIRA,
        images=rehearsal.made.edits,
        references=rehearsal.sources,
        fingerprint=_fingerprint(rehearsal),
        verifier="nano",
        recipe=rehearsal.recipe.screening,
    )


def train(rehearsal: Rehearsal, *, steps: int, prior: bool, name: str = "mira-t1-v1") -> TrainRequest:
    sampling = rehearsal.recipe.train.sampling.model_copy(update={"every_steps": steps, "prompts": 1})
    chosen = rehearsal.recipe.train.prior
    own_prior = chosen.model_copy(update={"images": 2} if prior else {"method": "off"})
    recipe = rehearsal.recipe.train.model_copy(
        update={
            "steps": steps,
            "checkpoint_every": CHECKPOINT_EVERY,
            "log_every": LOG_EVERY,
            "sampling": sampling,
            "prior": own_prior,
        }
    )
    return TrainRequest(
        character=MIRA,
        name=name,
        items=tuple(
            TrainItem(image=record.digest, caption=f"photo of ohwx_char person, view {number}, in a studio", real=True)
            for number, record in enumerate(rehearsal.source_records())
        ),
        base=str(rehearsal.models.base),
        recipe=recipe,
        seed=1,
        sample_prompts=("photo of ohwx_char person, smiling",),
        sampler=rehearsal.recipe.generate.sampler,
    )


def generate(rehearsal: Rehearsal, *, pictures: int) -> GenerateRequest:
    return GenerateRequest(
        character=MIRA,
        items=tuple(
            GenerateItem(
                key=f"card-{number}", prompt=f"photo of ohwx_char person, smiling, number {number}", seed=number
            )
            for number in range(pictures)
        ),
        base=str(rehearsal.models.base),
        loras=(rehearsal.character_lora(),),
        sampler=rehearsal.recipe.generate.sampler,
        turn=1,
    )


def benchmark(rehearsal: Rehearsal, *, pictures: int) -> BenchmarkRequest:
    return BenchmarkRequest(
        character=MIRA,
        base=str(rehearsal.models.base),
        challenger=rehearsal.character_lora().digest,
        fingerprint=_fingerprint(rehearsal),
        verifier="nano",
        items=model_card_items(MIRA, rehearsal.recipe)[:pictures],
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
        editor=str(rehearsal.models.editor),
        recipe=recipe.train.model_copy(
            update={"steps": steps, "checkpoint_every": CHECKPOINT_EVERY, "log_every": LOG_EVERY}
        ),
        storage=recipe.storage,
        seed=1,
    )


def edit_compare(rehearsal: Rehearsal, *, edits: int) -> EditCompareRequest:
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
        editor=str(rehearsal.models.editor),
        champion=rehearsal.few_step,
        challenger=(*rehearsal.few_step, rehearsal.own_editor_lora()),
        verifier="nano",
        sampler=rehearsal.recipe.enrich.sampler,
        shift=rehearsal.recipe.enrich.shift,
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


def _lora_use(store: Store, file: Path) -> LoraUse:
    return LoraUse(digest=store.put_blob(file.read_bytes()))


def _fingerprint(rehearsal: Rehearsal) -> Fingerprint:
    if rehearsal.made.fingerprint is None:
        raise NotFoundError("There is no fingerprint of the character.", remedy="Run the stage ingest before.")
    return rehearsal.made.fingerprint
