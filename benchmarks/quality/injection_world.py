"""What the benchmarks about injection share: drawn characters, prompts, and stages run on nano models.

Nano FLUX plays the part of Qwen-Image: it is the nano base that draws from text, with prompt embeddings that a residual can be added to.
The features are those of the nano Qwen2.5-VL. Verifier and reader are the nano ones; no part has seen the characters of these benchmarks.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.result_file import Row
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Labels, LoraUse, Sampler
from flenwheel_core.documents.wording import fill
from flenwheel_core.injection.heads import read_head
from flenwheel_core.nano.world import HELD_OUT_FROM, View, caption, description, make_character, make_view, render
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe, LearningStage
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.train import SigmaRecipe
from flenwheel_core.requests.inject import (
    InjectionIdentity,
    InjectionPhoto,
    InjectionPrompt,
    InjectRequest,
    InjectResult,
    InjectTrainRequest,
    InjectTrainResult,
    Method,
)
from flenwheel_core.requests.train import TrainItem, TrainRequest
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import INJECT, INJECT_TRAIN, TRAIN
from flenwheel_core.runner.stage_runs import stage_runs
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

FIRST_KNOWN = HELD_OUT_FROM + 500_000
FIRST_CHOOSING = HELD_OUT_FROM + 600_000
"""Characters that strengths are chosen on; an earlier run of this benchmark drew the first of them."""
FIRST_UNKNOWN = HELD_OUT_FROM + 660_000
"""Characters that are reported: nothing is chosen on them."""
MEASURED_VIEWS = 6
DRAW = Sampler(steps=12, guidance=3.5, true_cfg=1.0, width=128, height=128)
EDIT = Sampler(steps=12, guidance=1.0, true_cfg=1.0, width=128, height=128)
TRIGGER, CLASS_WORD = "ohwx_char", "person"
SHOWN = (
    Labels(pose="portrait", angle="front", expression="neutral", background="studio", lighting="day"),
    Labels(pose="portrait", angle="half-left", expression="smiling", background="forest", lighting="sunset"),
    Labels(pose="portrait", angle="half-right", expression="angry", background="beach", lighting="day"),
)
NOISY = SigmaRecipe(logit_mean=0.7)
"""Who somebody is, is decided at high noise."""


def identity(
    seed: int, photos: int, store: Store, *, known: bool = False, measured: int = MEASURED_VIEWS
) -> InjectionIdentity:
    """A drawn character: portraits in its own clothes, with captions, and `measured` others that only measure."""
    character = make_character(seed)
    views = [
        replace(make_view(seed * 100 + i, portrait_share=1.0), clothing=None, style="photo")
        for i in range(photos + measured)
    ]
    images = [store.put_blob(encode_png(render(character, view), {})) for view in views]
    words = " and ".join(description(character))
    found = []
    for view, image in zip(views[:photos], images, strict=False):
        text = plain(seed, view)
        found.append(
            InjectionPhoto(image=image, caption=text, described=text.replace("a person", f"a person with {words}"))
        )
    return InjectionIdentity(
        name=f"character{seed}", photos=tuple(found), held_out=tuple(images[photos:]), known=known, description=words
    )


def plain(seed: int, view: View) -> str:
    """A view's caption, with `a person` for who it is."""
    return caption(make_character(seed), view, name="person").replace("photo of person", "photo of a person")


def prompts() -> tuple[InjectionPrompt, ...]:
    recipe = load_recipe("nano")
    return tuple(
        InjectionPrompt(
            text=fill("{shot} a person, {shown}", labels, recipe.phrases),
            labels=labels,
            edit=fill("same person, {shown}", labels, recipe.phrases),
        )
        for labels in SHOWN
    )


@dataclass(frozen=True)
class World:
    """What the parts of the benchmark share. Each is made once: a killed benchmark goes on from its work folder."""

    settings: Settings
    store: Store
    head: HeadRecipe
    learning: LearningRecipe
    known: tuple[InjectionIdentity, ...]
    choosing: tuple[InjectionIdentity, ...]
    unknown: tuple[InjectionIdentity, ...]
    shown: int
    seeds: int
    kept: Path | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace, work: Path) -> "World":
        settings = Settings(workspace=work, gpu=arguments.gpu, threads=arguments.threads)
        store, photos, shown = Store(settings.store_url), arguments.photos, arguments.shown
        return cls(
            settings,
            store,
            HeadRecipe(place=arguments.place, tokens=arguments.tokens, cells=arguments.cells),
            LearningRecipe(
                epochs=arguments.epochs,
                batch_size=arguments.batch,
                learning_rate=arguments.rate,
                flow_rate=arguments.flow_rate,
                pull=arguments.pull,
                sigma=NOISY,
            ),
            tuple(
                identity(FIRST_KNOWN + i, photos, store, known=True, measured=MEASURED_VIEWS if i < shown else 0)
                for i in range(arguments.identities)
            ),
            tuple(identity(FIRST_CHOOSING + i, photos, store) for i in range(arguments.choosing)),
            tuple(identity(FIRST_UNKNOWN + i, photos, store) for i in range(arguments.evaluated)),
            shown,
            arguments.seeds,
            arguments.kept,
        )

    def head_after(self, after: LearningStage) -> tuple[str, Row]:
        """The head after captions alone, or after captions and pictures, and the row of its training; kept where a folder is named."""
        stages: tuple[LearningStage, ...] = ("regression",) if after == "regression" else ("regression", "flow")
        learning = self.learning.model_copy(update={"stages": stages})
        if self.kept is None:
            trained, row = self.train(self.known, learning)
            return trained.head, row
        file, told = self.kept / f"{after}.safetensors", self.kept / f"{after}.json"
        if not told.exists():
            trained, row = self.train(self.known, learning)
            self.kept.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.store.get_blob(trained.head))
            told.write_text(json.dumps(row))
        read_head(file)
        row = json.loads(told.read_text())
        return self.store.put_blob(file.read_bytes()), row

    def train(
        self, identities: tuple[InjectionIdentity, ...], learning: LearningRecipe
    ) -> tuple[InjectTrainResult, Row]:
        """The trained head, and its row."""
        request = InjectTrainRequest(
            identities=identities,
            features="nano",
            base="nano",
            head=self.head,
            learning=learning,
            width=128,
            height=128,
        )
        made = run_in_child(INJECT_TRAIN, request, self.settings, say)
        runs = [
            run for run in stage_runs(self.store).read() if run.request == request.key() and run.event == "finished"
        ]
        row: Row = {
            "case": f"training_oracle_{self.head.place}"
            if learning.oracle_steps
            else f"training_{learning.stages[-1]}",
            "identities": len(identities),
            "photos": made.facts.photos,
            "steps": sum(curve.losses[-1].step for curve in made.curves if curve.losses),
            "training_seconds": runs[-1].seconds if runs else None,
            **{f"{curve.stage}_loss": curve.losses[-1].loss for curve in made.curves},
        }
        print(row, flush=True)
        return made, row

    def lora(self, one: InjectionIdentity) -> LoraUse:
        """Of a LoRA that the nano recipe trains on the same photos."""
        recipe = load_recipe("nano")
        items = tuple(
            TrainItem(
                image=photo.image,
                caption=photo.caption.replace("a person", f"{TRIGGER} {CLASS_WORD}"),
                real=True,
            )
            for photo in one.photos
        )
        request = TrainRequest(
            character=CharacterRef(name=one.name, trigger=TRIGGER, class_word=CLASS_WORD, kind="subject"),
            name=one.name,
            items=items,
            base="nano",
            recipe=recipe.train.model_copy(
                update={"sampling": recipe.train.sampling.model_copy(update={"every_steps": 0}), "min_images": 1}
            ),
            seed=1,
            sampler=DRAW,
        )
        return LoraUse(digest=run_in_child(TRAIN, request, self.settings, say).lora.digest)

    def draw(
        self,
        identities: tuple[InjectionIdentity, ...],
        head: str,
        seeds: tuple[int, ...],
        controls: tuple[Method, ...],
        *,
        alphas: tuple[float, ...],
        oracle: str | None = None,
        lora: LoraUse | None = None,
    ) -> InjectResult:
        request = InjectRequest(
            identities=identities,
            features="nano",
            base="nano",
            head=head,
            oracle=oracle,
            prompts=prompts(),
            alphas=alphas,
            seeds=seeds,
            sampler=DRAW,
            controls=controls,
            lora=lora,
            lora_words=f"{TRIGGER} {CLASS_WORD}" if lora else "",
            editor="nano" if "editor" in controls else None,
            edit_sampler=EDIT if "editor" in controls else None,
            verifier="nano",
            reader="nano",
        )
        result = run_in_child(INJECT, request, self.settings, say)
        print(result.verdict, flush=True)
        return result


def say(event: ProgressEvent) -> None:
    if event.kind == "note" or (event.done or 0) % 100 == 0:
        print(event.line(), flush=True)
