"""Which ways of drawing a style are compared: the base alone, the style named in words, and LoRAs at several strengths."""

from collections.abc import Sequence
from dataclasses import dataclass

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.library.studies import Studies
from flenwheel_core.plans.scenes import card_scenes, style_choices
from flenwheel_core.publishing.card import plain_reference
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.requests.benchmark import StyleMeasure
from flenwheel_core.requests.style_study import StyleStudyRequest, Way
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.store import Store


@dataclass(frozen=True)
class Studied:
    """A LoRA that is studied, and the strengths it is drawn at."""

    lora: LoraRecord
    strengths: tuple[float, ...]


def style_study(
    subject: CharacterRef,
    recipe: Recipe,
    store: Store,
    loras: Sequence[Studied],
    against: StyleMeasure,
    fingerprint: Fingerprint,
    *,
    chosen: LoraRecord | None = None,
) -> StyleStudyRequest:
    """The study of these LoRAs beside their bases. Raises InputError for LoRAs of two names alike, or for none."""
    choices = style_choices(recipe)
    bases = tuple(dict.fromkeys([recipe.models.base, *(one.lora.base_model for one in loras)]))
    ways: list[Way] = []
    for base, short in zip(bases, _short(bases), strict=True):
        on = f" on {short}" if len(bases) > 1 else ""
        sampler = _sampler(store, [one.lora for one in loras], base) or recipe.generate.sampler
        ways.append(Way(name=f"base{on}", base=base, sampler=sampler))
        ways += [Way(name=f"“{words}”{on}", base=base, sampler=sampler, words=words) for words in choices.named]
        for one in loras:
            if one.lora.base_model == base:
                ways += _ways(one, on, sampler, subject, store)
    names = [way.name for way in ways]
    if len(set(names)) < len(names):
        raise InputError("Two of these LoRAs have one name.", remedy="Name fewer of them.")
    return StyleStudyRequest(
        character=subject,
        ways=tuple(ways),
        scenes=card_scenes(recipe),
        against=against,
        fingerprint=fingerprint,
        verifier=recipe.models.verifier,
        reader=recipe.models.reader,
        screening=recipe.screening,
        photos=Studies(store).photos(subject.name),
        chosen_lora=chosen.digest if chosen is not None else None,
    )


def _ways(one: Studied, on: str, sampler: Sampler, subject: CharacterRef, store: Store) -> list[Way]:
    choice = lora_words(store, one.lora)
    return [
        Way(
            name=f"{one.lora.name} at {strength:g}{on}",
            base=one.lora.base_model,
            sampler=sampler,
            words=subject.words,
            lora=one.lora.digest,
            strength=strength,
            choice=choice,
        )
        for strength in one.strengths
    ]


def lora_words(store: Store, lora: LoraRecord) -> str:
    """A LoRA's rank and blocks, for people."""
    request = store.get_request(TrainRequest, lora.request)
    recipe = LoraRecipe() if request is None else request.recipe.lora
    where = " and ".join(recipe.blocks) if recipe.blocks else "all blocks"
    return f"rank {lora.rank}, {where}"


def _sampler(store: Store, loras: Sequence[LoraRecord], base: str) -> Sampler | None:
    """How a LoRA of that base was drawn while it was trained."""
    for lora in loras:
        request = store.get_request(TrainRequest, lora.request) if lora.base_model == base else None
        if request is not None:
            return request.sampler
    return None


def _short(bases: Sequence[str]) -> list[str]:
    """What bases are called beside each other: the last part of their names, those alike with their revision, or else numbered.

    Never a folder's path: that is nobody's business.
    """
    last = [plain_reference(base).rpartition("/")[2] for base in bases]
    if len(set(last)) == len(bases):
        return last
    revisions = [base.rpartition("@")[2][:7] if "@" in base else "" for base in bases]
    revised = [f"{name}@{revision}" if revision else name for name, revision in zip(last, revisions, strict=True)]
    if len(set(revised)) == len(bases):
        return revised
    return [
        f"{name} ({revised[: place + 1].count(name)})" if revised.count(name) > 1 else name
        for place, name in enumerate(revised)
    ]
