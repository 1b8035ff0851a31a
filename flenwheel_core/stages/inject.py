"""The stage `inject`: pictures of identities drawn with what their photos show, beside the controls that make it a claim."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels, LoraUse
from flenwheel_core.documents.wording import require_mention
from flenwheel_core.engine.tensor_file import read_tensors
from flenwheel_core.identity.embedding_math import as_vectors, centroid_of, cosines_to
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.images.quality import measure
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.injection.heads import LinearHead, read_head, require_fitting
from flenwheel_core.injection.identities import see
from flenwheel_core.injection.measures import Shown, figures_of, kept_share, verdict
from flenwheel_core.injection.residual import inject as injected
from flenwheel_core.injection.residual import turned_degrees
from flenwheel_core.models.prompt_model import PromptModel
from flenwheel_core.models.protocols import EditJob, GenerateJob, Made
from flenwheel_core.models.registry import open_editor, open_features, open_generator, open_prompt_model
from flenwheel_core.recipes.injection import HeadRecipe
from flenwheel_core.requests.inject import (
    InjectionCell,
    InjectionGrid,
    InjectionIdentity,
    InjectRequest,
    InjectResult,
    Method,
)
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.card_looks import chunks
from flenwheel_core.stages.inject_train import require_single
from flenwheel_core.stages.picture_making import lora_files, make_pictures
from flenwheel_core.store.pictures import encode_png, load_picture

if TYPE_CHECKING:
    from torch import Tensor

    from flenwheel_core.documents.injections import HeadFacts

GRID_PX = 256


@dataclass(frozen=True)
class Planned:
    """A picture to be drawn."""

    identity: int
    method: Method
    alpha: float
    prompt: int
    seed: int

    @property
    def key(self) -> str:
        return f"{self.identity}/{self.method}/{self.alpha:g}/{self.prompt}/{self.seed}"


def inject(request: InjectRequest, context: StageContext) -> InjectResult:
    """Draw what is not drawn yet, measure all, and say in one sentence whether it works. Raises InputError for a head of other models."""
    head, facts = _head(request, context)
    if request.verifier is not None:
        require_single(request.verifier, request.identities, context)
    residuals = _residuals(request, context, head, facts)
    plan = planned(request, {name.removeprefix("oracle/") for name in residuals if name.startswith("oracle/")})
    turned: dict[float, list[float]] = {}

    def make(items: Sequence[Planned]) -> Iterator[tuple[Made, ImageRecord]]:
        here = [one for one in items if one.method not in ("editor", "lora")]
        if here:
            yield from _draw(request, context, here, residuals, facts)
        edits = [one for one in items if one.method == "editor"]
        if edits:
            yield from _edit(request, context, edits)
        worn = [one for one in items if one.method == "lora"]
        if worn:
            yield from _wear(request, context, worn)

    records = make_pictures(request, context, plan, make, "pictures")
    with open_prompt_model(
        request.base, context.settings, context.setup()
    ) as model:  # its prompts are kept: nothing is loaded
        prompts = model.encode([prompt.text for prompt in request.prompts])
        for alpha in {one.alpha for one in plan if one.method == "injection" and one.alpha > 0}:
            turned[alpha] = [
                turned_degrees(
                    residuals[str(number)],
                    prompts[one.text],
                    alpha,
                    facts.place,
                    _places(model, one.text, request.words, facts.place),
                )
                for number in range(len(request.identities))
                for one in request.prompts
            ]
    shown = _measured(request, context, plan, records)
    figures = figures_of(shown, {alpha: round(float(np.mean(found)), 2) for alpha, found in turned.items()})
    return InjectResult(
        images=context.store.put_images(records),
        cells=tuple(one.cell for one in shown),
        figures=figures,
        grids=tuple(_grid(request, context, number, plan, records) for number in range(len(request.identities))),
        verdict=verdict(figures),
    )


def planned(request: InjectRequest, oracles: Collection[str] = ()) -> tuple[Planned, ...]:
    """All pictures, those without injection among them; `oracles` are the identities that have one."""
    alphas = [alpha for alpha in dict.fromkeys(request.alphas) if alpha != 0]
    controls = set(request.controls)
    several = len(request.identities) > 1 or request.strangers
    made: list[tuple[Method, float]] = [("injection", alpha) for alpha in alphas]
    if request.turn is None:
        made.insert(0, ("injection", 0.0))
    if "shuffled" in controls:
        made += [("shuffled" if several else "average", alpha) for alpha in alphas]
    found = []
    for number, one in enumerate(request.identities):
        methods = list(made)
        if "oracle" in controls and one.name in oracles:
            methods += [("oracle", alpha) for alpha in alphas]
        if "caption" in controls and one.description:
            methods.append(("caption", 0.0))
        if "lora" in controls and request.lora is not None:
            methods.append(("lora", 0.0))
        for method, alpha in methods:
            found += [
                Planned(number, method, alpha, prompt, seed)
                for prompt in range(len(request.prompts))
                for seed in request.seeds
            ]
        if "editor" in controls and request.editor is not None:
            found += [
                Planned(number, "editor", 0.0, place, seed)
                for place, prompt in enumerate(request.prompts)
                if prompt.edit
                for seed in request.seeds
            ]
    return tuple(found)


def _head(request: InjectRequest, context: StageContext) -> "tuple[LinearHead, HeadFacts]":
    return read_head(_file(request.head, context))


def _file(digest: str, context: StageContext) -> Path:
    path = context.scratch / f"{digest}.safetensors"
    if not path.exists():
        write_atomically(path, context.store.get_blob(digest))
    return path


def _residuals(
    request: InjectRequest, context: StageContext, head: LinearHead, facts: "HeadFacts"
) -> "Mapping[str, Tensor]":
    """What is added for each identity, by its number; behind `shuffled/` that of another, behind `oracle/` the oracle's."""
    recipe = HeadRecipe(
        place=facts.place,
        tokens=max(1, facts.rows - 1),
        features=facts.features,
        cells=facts.cells,
        pixels=facts.pixels,
    )
    context.progress.loading(request.features)
    with open_features(request.features, context.settings, context.setup(), kind=facts.features) as model:
        require_fitting(facts, model.version, facts.space)

        def seen(one: InjectionIdentity) -> "Tensor":
            return see(
                model, one.name, [load_picture(context.store, photo.image) for photo in one.photos], recipe
            ).mean()

        own = [seen(one) for one in request.identities]
        others = [seen(one) for one in request.strangers]
    with torch.no_grad():
        found = {str(number): head(features[None])[0] for number, features in enumerate(own)}
        for number in range(len(own)):
            found[f"shuffled/{number}"] = head(_stranger(number, own, others)[None])[0]
        found["average"] = head(head.centre[None])[0]
    if request.oracle is not None:
        found |= {f"oracle/{name}": one for name, one in read_tensors(_file(request.oracle, context))[0].items()}
    return found


def _stranger(number: int, own: "Sequence[Tensor]", others: "Sequence[Tensor]") -> "Tensor":
    """Features of somebody else: always the same one for an identity."""
    if others:
        return others[number % len(others)]
    if len(own) == 1:
        return own[0]
    step = 1 + derive_seed(0, "stranger", len(own)) % (len(own) - 1)
    return own[(number + step) % len(own)]


def _residual_of(one: Planned, name: str, residuals: "Mapping[str, Tensor]") -> "Tensor | None":
    if one.method == "average":
        return residuals["average"]
    if one.method == "oracle":
        return residuals[f"oracle/{name}"]
    return residuals[f"shuffled/{one.identity}" if one.method == "shuffled" else str(one.identity)]


def _draw(
    request: InjectRequest,
    context: StageContext,
    items: Sequence[Planned],
    residuals: "Mapping[str, Tensor]",
    facts: "HeadFacts",
) -> Iterator[tuple[Made, ImageRecord]]:
    context.progress.loading(request.base)
    with open_prompt_model(request.base, context.settings, context.setup()) as model:
        require_fitting(facts, facts.feature_version, model.space)
        against = request.negative if request.negative is not None else model.no_prompt
        texts = {one: text_of(request, one) for one in items}
        prompts = model.encode([*texts.values(), against])
        negative = prompts[against] if request.sampler.true_cfg > 1 else None
        for one in items:
            prompt, text = prompts[texts[one]], texts[one]
            residual = (
                None
                if one.method == "caption" or one.alpha == 0
                else _residual_of(one, request.identities[one.identity].name, residuals)
            )
            if residual is not None:
                places = _places(model, text, request.words, facts.place)
                prompt = injected(prompt, residual, one.alpha, facts.place, places)
            image = model.draw(prompt, request.sampler, one.seed, negative)
            yield Made(one.key, image), _record(request, one, image.size, text, model.model)


def _places(model: PromptModel, text: str, words: str, place: str) -> tuple[int, ...]:
    return () if place == "all" else model.places(text, words)


def text_of(request: InjectRequest, one: Planned) -> str:
    """The prompt of a picture: with the description behind the words for the control `caption`."""
    text = request.prompts[one.prompt].text
    if one.method != "caption":
        return text
    description = request.identities[one.identity].description
    _, end = require_mention(text, request.words)
    return f"{text[:end]} with {description}{text[end:]}"


def _edit(
    request: InjectRequest, context: StageContext, items: Sequence[Planned]
) -> Iterator[tuple[Made, ImageRecord]]:
    """The editor's own way to show somebody: it is given the first photo."""
    assert request.editor is not None
    context.progress.loading(request.editor)
    sampler = request.edit_sampler or request.sampler
    jobs = [
        EditJob(
            one.key,
            request.prompts[one.prompt].edit,
            one.seed,
            sampler,
            (load_picture(context.store, request.identities[one.identity].photos[0].image),),
        )
        for one in items
    ]
    by_key = {one.key: one for one in items}
    with open_editor(request.editor, context.settings, context.setup()) as editor:
        for made in editor.edit(jobs):
            one = by_key[made.key]
            yield made, _record(request, one, made.image.size, request.prompts[one.prompt].edit, editor.model)


def _wear(
    request: InjectRequest, context: StageContext, items: Sequence[Planned]
) -> Iterator[tuple[Made, ImageRecord]]:
    """The character's LoRA, with its trigger in the prompt."""
    assert request.lora is not None
    texts = {
        one.key: request.prompts[one.prompt].text.replace(f"a {request.words}", request.lora_words, 1) for one in items
    }
    jobs = [GenerateJob(one.key, texts[one.key], one.seed, request.sampler) for one in items]
    by_key = {one.key: one for one in items}
    loras = lora_files((request.lora,), context)
    with open_generator(request.base, context.settings, context.setup(loras)) as generator:
        for made in generator.generate(jobs):
            record = _record(request, by_key[made.key], made.image.size, texts[made.key], generator.model, request.lora)
            yield made, record


def _record(
    request: InjectRequest, one: Planned, size: tuple[int, int], prompt: str, model: str, lora: LoraUse | None = None
) -> ImageRecord:
    identity = request.identities[one.identity]
    shows = one.method in ("injection", "editor") and (one.method == "editor" or one.alpha > 0)
    return ImageRecord(
        digest="0" * 64,
        width=size[0],
        height=size[1],
        kind=ImageKind.SYNTHETIC if request.turn is None else ImageKind.INJECTED,
        parents=tuple(photo.image for photo in identity.photos) if shows else (),
        prompt=prompt,
        seed=one.seed,
        sampler=request.sampler,
        model=model,
        loras=() if lora is None else (lora,),
        stage=request.stage,
        request=request.key(),
        item=one.key,
        turn=request.turn or 0,
        cell=request.prompts[one.prompt].cell,
        labels=request.prompts[one.prompt].labels,
    )


def _measured(
    request: InjectRequest, context: StageContext, plan: Sequence[Planned], records: Sequence[ImageRecord]
) -> list[Shown]:
    measures = [measure(image) for images in chunks(records, context) for image in images]
    reads: list[Labels | None] = [None] * len(records)
    if request.reader is not None:
        with open_reader(request.reader, context.settings) as reader:
            reads = [labels for images in chunks(records, context) for labels in reader.read(images)]
    likeness: list[tuple[float | None, float | None]] = [(None, None)] * len(records)
    if request.verifier is not None:
        likeness = _likeness(request, context, request.verifier, plan, records)
    return [
        Shown(
            InjectionCell(
                image=record.digest,
                identity=request.identities[one.identity].name,
                method=one.method,
                alpha=one.alpha,
                prompt=one.prompt,
                seed=one.seed,
                likeness=alike[0],
                to_photos=alike[1],
                kept=None if read is None else kept_share(request.prompts[one.prompt].labels, read),
                sharpness=found.sharpness,
            ),
            request.identities[one.identity].known,
            found.thumbnail,
        )
        for one, record, found, read, alike in zip(plan, records, measures, reads, likeness, strict=True)
    ]


def _likeness(
    request: InjectRequest,
    context: StageContext,
    reference: str,
    plan: Sequence[Planned],
    records: Sequence[ImageRecord],
) -> list[tuple[float | None, float | None]]:
    """Cosines of each picture to the held-out photos' mean, and to the nearest photo that the features are from."""
    with open_verifier(reference, context.settings) as verifier:

        def embedded(digests: Sequence[str]) -> list[tuple[float, ...]]:
            images = [load_picture(context.store, digest) for digest in digests]
            return [one.embedding for one in verifier.embed(images) if one.embedding is not None]

        away = [embedded(one.held_out) for one in request.identities]
        given = [embedded([photo.image for photo in one.photos]) for one in request.identities]
        drawn = [one.embedding for images in chunks(records, context) for one in verifier.embed(images)]
    found: list[tuple[float | None, float | None]] = []
    for one, vector in zip(plan, drawn, strict=True):
        held, photos = away[one.identity], given[one.identity]
        if vector is None:
            found.append((0.0 if held else None, None))  # nobody is to be seen: that is not this identity
            continue
        row = as_vectors([vector])
        like = float(cosines_to(row, centroid_of(as_vectors(held), "cosine"))[0]) if held else None
        nearest = float((cosines_to(as_vectors(photos), row[0])).max()) if photos else None
        found.append((None if like is None else round(like, 5), None if nearest is None else round(nearest, 5)))
    return found


def _grid(
    request: InjectRequest, context: StageContext, number: int, plan: Sequence[Planned], records: Sequence[ImageRecord]
) -> InjectionGrid:
    """Rows of alpha, columns of seeds, of the first prompt."""
    chosen = [
        (one, record)
        for one, record in zip(plan, records, strict=True)
        if one.identity == number and one.method == "injection" and one.prompt == 0
    ]
    tiles = [
        Tile(load_picture(context.store, record.digest), (f"alpha {one.alpha:g}, seed {one.seed}",))
        for one, record in chosen
    ]
    sheet = contact_sheet(tiles, columns=len(request.seeds), tile_px=GRID_PX, title=request.identities[number].name)
    digest = context.store.put_blob(encode_png(sheet, {"flenwheel.request": request.key()}))
    return InjectionGrid(identity=request.identities[number].name, picture=digest)
