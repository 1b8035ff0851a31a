"""Does a LoRA put its character into others? A person is drawn beside somebody else; anything else without its trigger.

Bled: somebody who was not meant to be the character lies within its identity limit. Beside a person that is anybody but the nearest
to the fingerprint. A verifier that sees whole pictures cannot part two in one, so there another of the same class is drawn alone.
"""

from collections.abc import Sequence

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import BleedScore
from flenwheel_core.documents.wording import fill
from flenwheel_core.identity.people import character_in, people_in
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import FingerprintSpace, Limits
from flenwheel_core.recipes.model import Recipe

BESIDE, ALONE = "beside-another", "another"


def bleed_items(character: CharacterRef, recipe: Recipe) -> tuple[GenerateItem, ...]:
    """What the benchmark draws to see whether the LoRA bleeds: the same prompts and seeds for every LoRA; none for styles."""
    if character.kind == "style" or not recipe.benchmark.bleed_pictures:
        return ()
    wanted = Labels(
        angle="front", pose="portrait", background=recipe.benchmark.background, lighting=recipe.benchmark.lighting
    )
    prompt = fill(recipe.caption_template, wanted, recipe.phrases, character)
    beside = character.kind == "person"
    if beside:
        prompt = prompt.replace(character.words, f"{character.words} standing beside another {character.class_word}", 1)
    else:
        prompt = prompt.replace(character.words, character.class_word, 1)
    cell = BESIDE if beside else ALONE
    return tuple(
        GenerateItem(
            key=f"{cell}-{number}",
            prompt=prompt,
            seed=derive_seed(recipe.benchmark.seed, "bleed", number) % 2**31,
            template="bleed",
            cell=cell,
            labels=wanted,
        )
        for number in range(recipe.benchmark.bleed_pictures)
    )


def bleed_score(seen: Sequence[Embedded], space: FingerprintSpace, limits: Limits, *, beside: bool) -> BleedScore:
    """The share of pictures in which somebody else has the character's identity."""
    found = [_bled(one, space, limits, beside=beside) for one in seen]
    measured = [bled for bled in found if bled is not None]
    rate = wilson(sum(measured), len(measured))
    return BleedScore(
        pictures=len(seen),
        measured=len(measured),
        rate=round(rate.value, 5) if measured else None,
        low=round(rate.low, 5),
        high=round(rate.high, 5),
    )


def _bled(one: Embedded, space: FingerprintSpace, limits: Limits, *, beside: bool) -> bool | None:
    """None where nobody else can be told: one face where two were asked for, or none at all."""
    if beside:
        character, _ = character_in(one, space)
        others = [other for other in character.others if (other.subject_size or 0) >= limits.recipe.minimum_face_px]
    else:
        others = list(people_in(one))
    if not others:
        return None
    return any(space.locate(other.embedding or ()).distance <= limits.threshold for other in others)
