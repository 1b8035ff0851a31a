"""What an injection asks for: the requests of its two stages, checked before anything loads."""

import logging
import math
from collections.abc import Sequence

from flenwheel_core.base.errors import CorruptManifestError, InputError, NotFoundError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Labels, LoraUse, Sampler
from flenwheel_core.documents.injections import HeadFacts, marks
from flenwheel_core.documents.wording import fill
from flenwheel_core.engine.job import class_caption
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.injections import HeadMade, Injections
from flenwheel_core.models.pinning import ROLES, ModelUse, chosen
from flenwheel_core.models.references import ModelRole, pin_model, resolve_model
from flenwheel_core.models.registry import family_of
from flenwheel_core.plans.injection_photos import character_identity, other_characters
from flenwheel_core.plans.subjects import usable_recipe
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.inject import (
    InjectionIdentity,
    InjectionPrompt,
    InjectRequest,
    InjectTrainRequest,
    Method,
)
from flenwheel_core.store import Store

_log = logging.getLogger(__name__)

ALPHAS = (0.5, 1.0, 1.5)
SEEDS = (1234, 5678, 9999)
PREVIEW_LABELS = (
    Labels(pose="portrait", angle="front", expression="neutral"),
    Labels(pose="portrait", angle="half-left", expression="smiling"),
)
_TEXT_MODELS = ("Qwen/Qwen2.5-7B-Instruct",)
_OLD_VISION = ("Qwen/Qwen2-VL-7B-Instruct", "Qwen/Qwen2-VL-2B-Instruct")


def numbers(texts: Sequence[str], name: str) -> tuple[float, ...]:
    """Numbers by commas or spaces. Raises InputError for what is none, and for none at all."""
    parts = [part for text in texts for part in text.replace(",", " ").split()]
    found = []
    for part in parts:
        try:
            number = float(part)
        except ValueError as error:
            raise InputError(
                f"{name}: {part!r} is no number.", remedy="Write them with commas or spaces: 0.5,1.0,1.5."
            ) from error
        if not math.isfinite(number):
            raise InputError(f"{name}: {part} is no number that can be drawn with.", remedy="Give finite numbers.")
        found.append(number)
    if not found:
        raise InputError(f"{name} names nothing.", remedy="Leave it out, or name one or more.")
    return tuple(dict.fromkeys(found))


def strengths(texts: Sequence[str]) -> tuple[float, ...]:
    """Alphas between 0 and 10. Raises InputError."""
    return checked_strengths(numbers(texts, "--alphas"))


def checked_strengths(found: Sequence[float]) -> tuple[float, ...]:
    """Raises InputError for one that is below 0 or above 10, for none, and for what is no number."""
    if not found or any(not 0 <= alpha <= 10 for alpha in found):
        raise InputError(
            "An alpha lies between 0 and 10.",
            why="0 is no injection, 1 is what the head learned.",
            remedy="Choose others.",
        )
    return tuple(dict.fromkeys(found))


def whole_seeds(texts: Sequence[str]) -> tuple[int, ...]:
    """Seeds. Raises InputError."""
    return checked_seeds(numbers(texts, "--gen-seeds"))


def checked_seeds(found: Sequence[float]) -> tuple[int, ...]:
    """Raises InputError for what is no whole number from 0 on, and for none."""
    if not found or any(seed != int(seed) or not 0 <= seed < 2**53 for seed in found):
        raise InputError("A seed is a whole number from 0 on.", remedy="Choose others, such as 1234,5678,9999.")
    return tuple(dict.fromkeys(int(seed) for seed in found))


def require_vision(reference: str) -> str:
    """The reference of a model that sees; raises RecipeError for the source document's defaults, which are another kind."""
    name = reference.partition("@")[0]
    if name in _OLD_VISION or name in _TEXT_MODELS:
        kind = "is Qwen2-VL" if name in _OLD_VISION else "reads text only"
        raise RecipeError(
            f"{name} cannot be used to see with.",
            why=f"it {kind}; the document that names it means Qwen3-VL or Qwen2.5-VL.",
            remedy="Name Qwen/Qwen3-VL-8B-Instruct@main or Qwen/Qwen2.5-VL-7B-Instruct@main with --qwen3-vl-model.",
        )
    return reference


def require_drawing(reference: str) -> str:
    """The reference of a model that draws; raises RecipeError for the source document's default, which reads and writes text."""
    name = reference.partition("@")[0]
    if name in _TEXT_MODELS or name in _OLD_VISION:
        raise RecipeError(
            f"{name} draws nothing.",
            why="it is a language model; the document that names it means Qwen-Image.",
            remedy="Name Qwen/Qwen-Image@main with --qwen-image-model.",
        )
    return reference


def sampler_for(base: str, settings: Settings, *, steps: int, guidance: float, width: int, height: int) -> Sampler:
    """How to draw with `guidance`, which means what it can mean: true classifier-free guidance where a model has no guidance embedding."""
    true_cfg = guidance if has_true_cfg(base, settings) else 1.0
    return Sampler(steps=steps, guidance=guidance, true_cfg=true_cfg, width=width, height=height)


def has_true_cfg(base: str, settings: Settings) -> bool:
    """True for a family that has no guidance embedding: guidance there is a second call of the transformer in every step."""
    return "guidance" in family_of(resolve_model(base, ModelRole.GENERATOR, settings)).idle_keys


def training(
    identities: tuple[InjectionIdentity, ...],
    *,
    features: str,
    base: str,
    head: HeadRecipe,
    learning: LearningRecipe,
    width: int,
    height: int,
    settings: Settings,
    verifier: str | None = None,
) -> InjectTrainRequest:
    """The request of `inject_train`, its models pinned. A phrase is learned from captions: without them the place is `both`."""
    if head.place == "phrase" and "regression" not in learning.stages:
        _log.info("No captions are learned from, and pictures alone do not find a phrase: the head's place is `both`.")
        head = head.changed(place="both")
    return InjectTrainRequest(
        identities=identities,
        features=pin_model(require_vision(features), ModelRole.CAPTIONER, settings),
        base=pin_model(require_drawing(base), ModelRole.GENERATOR, settings),
        head=head,
        learning=learning,
        width=width,
        height=height,
        verifier=verifier,
    )


def preview(
    name: str, store: Store, settings: Settings, *, alphas: Sequence[float] = ALPHAS, seeds: Sequence[int] = SEEDS
) -> InjectRequest:
    """The preview of a character, with the newest head for its recipe's models. Raises NotFoundError if there is none."""
    library = Library(store)
    known = library.character(name)
    recipe = usable_recipe(known.recipe, known.kind)
    return preview_with(recipe, known, store, settings, alphas=alphas, seeds=seeds)


def preview_with(
    recipe: Recipe,
    known: Character,
    store: Store,
    settings: Settings,
    *,
    alphas: Sequence[float] = ALPHAS,
    seeds: Sequence[int] = SEEDS,
) -> InjectRequest:
    """As `preview`, with another recipe than the character's own, such as that of a turn."""
    library, name = Library(store), known.name
    chosen_alphas, chosen_seeds = checked_strengths(alphas), checked_seeds(seeds)
    made = require_head(store, recipe, settings)
    identity = known_by(made.facts, (character_identity(name, library, store),), store)[0]
    champion = library.champion(name)
    lora = None
    if champion is not None and _pinned(recipe, "base", settings) == champion.lora.base_model:
        lora = LoraUse(digest=champion.lora.digest)
    controls: list[Method] = ["shuffled", "lora"] if lora is not None else ["shuffled"]
    return InjectRequest(
        identities=(identity,),
        strangers=other_characters(name, library, store)[:1],
        features=made.facts.feature_model,
        base=made.facts.base,
        head=made.head,
        words=known.class_word,
        prompts=_prompts(recipe, known.ref()),
        alphas=chosen_alphas,
        seeds=chosen_seeds,
        sampler=recipe.generate.sampler,
        controls=tuple(controls),
        lora=lora,
        lora_words=f"{known.trigger} {known.class_word}",
        verifier=_pinned(recipe, "verifier", settings) or recipe.models.verifier,
        reader=_pinned(recipe, "reader", settings) or recipe.models.reader,
    )


def require_head(store: Store, recipe: Recipe, settings: Settings) -> HeadMade:
    """The newest head for a recipe's captioner and base. Raises NotFoundError, and RecipeError without a captioner."""
    if recipe.models.captioner is None:
        raise RecipeError(
            f"The recipe {recipe.name} names no captioner.",
            why="photos are seen by it.",
            remedy="Set models.captioner.",
        )
    features, base = _pinned(recipe, "captioner", settings), _pinned(recipe, "base", settings)
    found = None if features is None or base is None else Injections(store).head_for(features, base)
    if found is None:
        raise NotFoundError(
            f"There is no head yet for {recipe.models.captioner} and {recipe.models.base}.",
            why="a head says what features of photos mean to a base's prompts, and is trained once for many characters.",
            remedy="Train one: flenwheel inject NAME --train, or flenwheel inject --seed-dirs ... --train.",
        )
    return found


def character_training(
    name: str, store: Store, settings: Settings, head: HeadRecipe, learning: LearningRecipe
) -> InjectTrainRequest:
    """A head from a character and all others of the workspace, for its recipe's models."""
    library = Library(store)
    known = library.character(name)
    recipe = usable_recipe(known.recipe, known.kind)
    if recipe.models.captioner is None:
        raise RecipeError(
            f"The recipe {recipe.name} names no captioner.",
            why="photos are seen by it.",
            remedy="Set models.captioner.",
        )
    sampler = recipe.generate.sampler
    return training(
        (character_identity(name, library, store), *other_characters(name, library, store)),
        features=recipe.models.captioner,
        base=recipe.models.base,
        head=head.model_copy(update={"words": known.class_word}),
        learning=learning,
        width=sampler.width,
        height=sampler.height,
        settings=settings,
    )


def known_by(facts: HeadFacts, identities: Sequence[InjectionIdentity], store: Store) -> tuple[InjectionIdentity, ...]:
    """Each with whether a head learned from it: from one of its photos, whatever it is called. None where nothing says so.

    A head of an earlier version does not name its photos; its training does, where that was here and can be read.
    """
    if facts.learned_from is None:
        try:
            request = store.get_request(InjectTrainRequest, facts.request)
        except CorruptManifestError:
            request = None
        if request is not None:
            taught = marks(photo.image for one in request.identities for photo in one.photos)
            facts = facts.model_copy(update={"learned_from": tuple(sorted(taught))})
    return tuple(
        one.model_copy(update={"known": facts.learned([*(photo.image for photo in one.photos), *one.held_out])})
        for one in identities
    )


def _prompts(recipe: Recipe, character: CharacterRef) -> tuple[InjectionPrompt, ...]:
    """A few views, in the recipe's own phrases, with the class word for who it is, also where the template has the trigger alone."""
    return tuple(
        InjectionPrompt(
            text=class_caption(
                fill(recipe.caption_template, labels, recipe.phrases, character),
                character.trigger,
                character.class_word,
            ),
            labels=labels,
        )
        for labels in PREVIEW_LABELS
    )


def _pinned(recipe: Recipe, use: ModelUse, settings: Settings) -> str | None:
    reference = chosen(recipe, use)
    return None if reference is None else pin_model(reference, ROLES[use], settings)


def pinned_pair(features: str, base: str, settings: Settings) -> tuple[str, str]:
    """The pinned references of what sees and what draws. Raises RecipeError for models of another kind."""
    return (
        pin_model(require_vision(features), ModelRole.CAPTIONER, settings),
        pin_model(require_drawing(base), ModelRole.GENERATOR, settings),
    )
