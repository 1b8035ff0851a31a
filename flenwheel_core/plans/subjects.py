"""What a turn asks for, by the kind of its subject: the steps are the same for characters and styles, their contents are not."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.evaluation.model_card import model_card_items
from flenwheel_core.identity.style_verifier import STYLE
from flenwheel_core.library.characters import Library, PoolEntry
from flenwheel_core.models.pinning import BENCHMARK_MODELS, ModelUse
from flenwheel_core.plans.pictures import Weights, plan_edits, plan_generation
from flenwheel_core.plans.scenes import (
    held_out,
    is_held_out,
    photos_in,
    plan_scenes,
    sample_scenes,
    style_card_items,
    style_choices,
    trained_on,
)
from flenwheel_core.plans.style_study import Studied, style_study
from flenwheel_core.plans.training_set import made_caption, sample_prompts
from flenwheel_core.recipes.loading import DEFAULT_RECIPE, load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.benchmark import StyleMeasure
from flenwheel_core.requests.style_study import StyleStudyRequest
from flenwheel_core.store import Store


class NewSubject(NamedTuple):
    """What a subject is made with where a person says nothing."""

    trigger: str
    class_word: str
    recipe: str


class SubjectPlan(Protocol):
    """The contents of a turn's steps for one kind of subject."""

    models: Collection[ModelUse]
    """What its turns load, besides a captioner."""
    new: NewSubject

    def require(self, recipe: Recipe) -> None:
        """Raises RecipeError or InputError for a recipe that such a subject cannot use."""

    def edits(
        self,
        sources: Sequence[ImageRecord],
        pool: Sequence[PoolEntry],
        recipe: Recipe,
        turn: int,
        round_: int,
        weights: Weights,
    ) -> tuple[EditItem, ...]:
        """The edits of a round; none where nothing is to be edited."""

    def pictures(
        self, subject: CharacterRef, pool: Sequence[PoolEntry], recipe: Recipe, turn: int, round_: int, weights: Weights
    ) -> tuple[GenerateItem, ...]:
        """The synthetic pictures of a round."""

    def caption(self, record: ImageRecord, subject: CharacterRef, recipe: Recipe) -> str:
        """The training caption of a made picture."""

    def samples(self, subject: CharacterRef, recipe: Recipe, number: int) -> tuple[str, ...]:
        """Prompts of the sample pictures while training."""

    def card(self, subject: CharacterRef, recipe: Recipe) -> tuple[GenerateItem, ...]:
        """What the benchmark draws."""

    def held_out(self, sources: Sequence[ImageRecord], recipe: Recipe) -> tuple[ImageRecord, ...]:
        """The sources that are only measured against."""

    def photos(self, sources: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
        """The sources that show how the world looks that is painted: measured beside the ways of drawing, and nothing else."""

    def learned(self, sources: Sequence[ImageRecord], kept: Sequence[ImageRecord]) -> tuple[Digest, ...]:
        """The sources that are trained on, where `kept` are measured against."""

    def measure(self, store: Store, name: str, recipe: Recipe) -> StyleMeasure | None:
        """What the benchmark holds pictures against, besides the fingerprint."""

    def study(
        self, store: Store, subject: CharacterRef, recipe: Recipe, lora: LoraRecord, fingerprint: Fingerprint
    ) -> StyleStudyRequest | None:
        """How a LoRA is tried beside other ways of drawing, and at several strengths, before it is exported; None: not at all."""


class CharacterPlan:
    """Edits and pictures are aimed at the cells of the model card."""

    models: Collection[ModelUse] = ("base", "editor", "verifier", "reader")
    new = NewSubject("ohwx_char", "person", DEFAULT_RECIPE)

    def require(self, recipe: Recipe) -> None:
        if recipe.models.verifier == STYLE:
            raise InputError(
                f"The recipe {recipe.name} is one for styles.",
                why="its verifier tells how pictures are painted, not who they show.",
                remedy="Take another recipe, or say --kind style.",
            )

    def edits(
        self,
        sources: Sequence[ImageRecord],
        pool: Sequence[PoolEntry],
        recipe: Recipe,
        turn: int,
        round_: int,
        weights: Weights,
    ) -> tuple[EditItem, ...]:
        return plan_edits(sources, pool, recipe, turn=turn, round_=round_, weights=weights)

    def pictures(
        self, subject: CharacterRef, pool: Sequence[PoolEntry], recipe: Recipe, turn: int, round_: int, weights: Weights
    ) -> tuple[GenerateItem, ...]:
        return plan_generation(subject, pool, recipe, turn=turn, round_=round_, weights=weights)

    def caption(self, record: ImageRecord, subject: CharacterRef, recipe: Recipe) -> str:
        return made_caption(record.labels, subject, recipe)

    def samples(self, subject: CharacterRef, recipe: Recipe, number: int) -> tuple[str, ...]:
        return sample_prompts(subject, recipe, number)

    def card(self, subject: CharacterRef, recipe: Recipe) -> tuple[GenerateItem, ...]:
        return model_card_items(subject, recipe)

    def held_out(self, sources: Sequence[ImageRecord], recipe: Recipe) -> tuple[ImageRecord, ...]:
        # Only pictures of folders that a person named so: a maker of ten photographs misses every one that is taken away.
        return tuple(source for source in sources if is_held_out(source.item))

    def photos(self, sources: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
        return ()

    def learned(self, sources: Sequence[ImageRecord], kept: Sequence[ImageRecord]) -> tuple[Digest, ...]:
        return tuple(source.digest for source in sources if not is_held_out(source.item))

    def measure(self, store: Store, name: str, recipe: Recipe) -> StyleMeasure | None:
        return None

    def study(
        self, store: Store, subject: CharacterRef, recipe: Recipe, lora: LoraRecord, fingerprint: Fingerprint
    ) -> StyleStudyRequest | None:
        return None


class StylePlan:
    """Nothing is edited: a painting's manner would not survive it. Scenes are drawn, and measured against paintings that were kept back."""

    models: Collection[ModelUse] = BENCHMARK_MODELS
    new = NewSubject("ohwx_style", "style", "flux_style_24gb")

    def require(self, recipe: Recipe) -> None:
        style_choices(recipe)
        if recipe.models.verifier != STYLE:
            raise InputError(
                f"The recipe {recipe.name} is one for characters.",
                why=f"a style is measured by the verifier `{STYLE}`, and it names {recipe.models.verifier}.",
                remedy=f'Set verifier = "{STYLE}" under [models].',
            )
        idle = {
            "[choice]": recipe.choice.on,
            "[doubts]": bool(recipe.doubts.look),
            "train.bodies_from": recipe.train.bodies_from > 0,
        }
        if asked := [name for name, on in idle.items() if on]:
            raise InputError(
                f"A style has no use for {', '.join(asked)} of the recipe {recipe.name}.",
                why="they are about who is shown; a style's strength is chosen by style.strengths.",
                remedy="Leave them out.",
            )

    def edits(
        self,
        sources: Sequence[ImageRecord],
        pool: Sequence[PoolEntry],
        recipe: Recipe,
        turn: int,
        round_: int,
        weights: Weights,
    ) -> tuple[EditItem, ...]:
        return ()

    def pictures(
        self, subject: CharacterRef, pool: Sequence[PoolEntry], recipe: Recipe, turn: int, round_: int, weights: Weights
    ) -> tuple[GenerateItem, ...]:
        return plan_scenes(subject, recipe, turn=turn, round_=round_)

    def caption(self, record: ImageRecord, subject: CharacterRef, recipe: Recipe) -> str:
        return record.caption or record.prompt or f"{subject.trigger} {subject.class_word}"

    def samples(self, subject: CharacterRef, recipe: Recipe, number: int) -> tuple[str, ...]:
        return sample_scenes(subject, recipe, number)

    def card(self, subject: CharacterRef, recipe: Recipe) -> tuple[GenerateItem, ...]:
        return style_card_items(subject, recipe)

    def held_out(self, sources: Sequence[ImageRecord], recipe: Recipe) -> tuple[ImageRecord, ...]:
        return held_out(sources, recipe)

    def photos(self, sources: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
        return photos_in(sources)

    def learned(self, sources: Sequence[ImageRecord], kept: Sequence[ImageRecord]) -> tuple[Digest, ...]:
        return trained_on(sources, kept)

    def measure(self, store: Store, name: str, recipe: Recipe) -> StyleMeasure | None:
        library = Library(store)
        facts = library.facts(name)
        if facts is None or facts.held_out is None:
            return None
        return StyleMeasure(
            held_out=facts.held_out,
            paintings=store.put_images([entry.image for entry in library.pool(name) if entry.real]),
            content_margin=style_choices(recipe).content_margin,
            content=recipe.models.content,
            csd=recipe.models.csd,
        )

    def study(
        self, store: Store, subject: CharacterRef, recipe: Recipe, lora: LoraRecord, fingerprint: Fingerprint
    ) -> StyleStudyRequest | None:
        against = self.measure(store, subject.name, recipe)
        if against is None:
            return None
        tried = [Studied(lora, style_choices(recipe).strengths)]
        return style_study(subject, recipe, store, tried, against, fingerprint, chosen=lora)


_CHARACTER, _STYLE = CharacterPlan(), StylePlan()


def plan_of(kind: str) -> SubjectPlan:
    """The plan of a kind of subject."""
    return _STYLE if kind == "style" else _CHARACTER


def usable_recipe(name_or_path: str, kind: str) -> Recipe:
    """The recipe, for a subject of this kind. Raises NotFoundError, RecipeError, and InputError for a recipe of the other kind."""
    found = load_recipe(name_or_path)
    plan_of(kind).require(found)
    return found
