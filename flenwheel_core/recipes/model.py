"""The recipe: all choices of a run in one TOML file."""

from pydantic import Field, field_validator

from flenwheel_core.base.document import Document
from flenwheel_core.documents.images import Sampler, is_empty, is_one, is_unset
from flenwheel_core.documents.prompts import PromptTemplate
from flenwheel_core.recipes import captioner as captioner_recipe
from flenwheel_core.recipes import choice as choice_recipe
from flenwheel_core.recipes import doubts as doubts_recipe
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.recipes.captioner import CaptionerRecipe
from flenwheel_core.recipes.choice import ChoiceRecipe
from flenwheel_core.recipes.critic import CriticRecipe, is_default
from flenwheel_core.recipes.doubts import DoubtsRecipe
from flenwheel_core.recipes.editor import EditorRecipe
from flenwheel_core.recipes.screening import IngestRecipe, ScreeningRecipe
from flenwheel_core.recipes.style import StyleRecipe
from flenwheel_core.recipes.train import TrainingRecipe


class ModelChoices(Document):
    """Model references: `hub-id@revision`, a local folder, or `nano`."""

    base: str = Field(
        description="The model that LoRAs are trained on and that draws synthetic images, of any family that draws."
    )
    editor: str = Field(description="The model that makes enriched images, of any family that edits.")
    captioner: str | None = Field(
        default=None, description="The vision-language model that captions; none uses given captions."
    )
    verifier: str = Field(
        description="What tells whether pictures are of the subject: `face` for people, `style` for styles, a vision model for the rest."
    )
    reader: str | None = Field(default=None, description="The model that reads angle and expression for the benchmark.")
    content: str | None = Field(
        default=None,
        exclude_if=is_unset,
        description="A CLIP that tells of a style's pictures how well they fit their prompts (CLIP-T); none: the reader tells.",
    )

    csd: str | None = Field(
        default=None,
        exclude_if=is_unset,
        description="A folder with the weights of CSD (style descriptors), which rank a style's pictures; none: they are not ranked.",
    )

    @field_validator("captioner", "reader", "content", "csd", mode="before")
    @classmethod
    def _none(cls, given: object) -> object:
        """An empty name takes away what the recipe below names."""
        return None if given == "" else given


class EditorLora(Document):
    """A LoRA the editor always wears, such as a camera-angle, relighting or few-step one."""

    file: str = Field(description="Path of its safetensors file, or hub-id@revision:PATH of one on the Hub.")
    weight: float = Field(default=1.0, ge=-2, le=2, description="Weight it is applied with.")


class EnrichRecipe(Document):
    """How many edits to plan, and which."""

    edits_per_source: int = Field(default=5, ge=1, le=50, description="Edit prompts per source image, at most.")
    target_images: int = Field(default=50, ge=1, le=10_000, description="Enriched images to aim for.")
    seed: int = Field(default=0, ge=0, description="Seed of the plan and of the edits.")
    sampler: Sampler = Field(description="How the editor draws.")
    shift: float | None = Field(
        default=None,
        gt=0,
        le=20,
        exclude_if=is_unset,
        description="Fixed shift of the noise levels, as few-step LoRAs need it (Lightning: 3); the editor's own schedule if unset.",
    )
    references: int = Field(
        default=1,
        ge=1,
        le=4,
        exclude_if=is_one,
        description="Pictures an edit is given: its source, and further sources that show what it lacks. Editors take 1 to 4.",
    )
    injected: int = Field(
        default=0,
        ge=0,
        le=200,
        exclude_if=is_empty,
        description="Pictures of missing cells that injection draws in the first turn, if a trial with the character's own photos shows "
        "that it brings who they show: 0, none. They are screened and reviewed like the edits.",
    )
    loras: tuple[EditorLora, ...] = Field(
        default=(), description="LoRAs the editor wears besides its own, in this order; own or community ones."
    )
    templates: tuple[PromptTemplate, ...] = Field(min_length=1, description="Edit prompt templates.")


class GenerateRecipe(Document):
    """How many synthetic images to draw, and of what."""

    seeds_per_prompt: int = Field(default=4, ge=1, le=64, description="Pictures drawn for each prompt.")
    target_images: int = Field(default=40, ge=1, le=10_000, description="Synthetic images to draw, at most.")
    seed: int = Field(default=0, ge=0, description="Seed of the plan and of the pictures.")
    lora_weight: float = Field(default=1.0, ge=0, le=2, description="Weight the LoRA is applied with.")
    sampler: Sampler = Field(description="How the base model draws.")
    templates: tuple[PromptTemplate, ...] = Field(min_length=1, description="Generation prompt templates.")


class GateRecipe(Document):
    """What a gate asks for before it opens the way."""

    minimum_enriched: int = Field(
        default=30, ge=0, description="Good enriched images gate A asks for, unless overridden."
    )
    minimum_pristine: int = Field(default=10, ge=0, description="Pristine images gate B asks for, unless overridden.")
    rounds: int = Field(default=5, ge=1, le=50, description="How often a gate may be redone in a turn.")
    orders: bool = Field(
        default=False,
        exclude_if=is_empty,
        description="Orders of the training service are whole turns that wait at the gates; else they train at once.",
    )


class PoolRecipe(Document):
    """How the training set is drawn from the pool."""

    real_share: float = Field(
        default=0.4, ge=0, le=1, description="Smallest share of real sources among the pictures trained on."
    )


EARLIER_FAMILY = "flux"
"""What recipes of earlier versions say, whatever their base is: it counts as unset, and stays, so that a stored recipe keeps its digest."""


class Recipe(Document):
    """All choices of a run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="The recipe's name.")
    description: str = Field(description="What it is for, and on which card it was measured.")
    family: str | None = Field(
        default=None,
        min_length=1,
        exclude_if=is_unset,
        description="Family that these choices were made for, such as FLUX.1: a base of another one is refused. Any base if unset.",
    )
    models: ModelChoices
    ingest: IngestRecipe = Field(default_factory=IngestRecipe)
    enrich: EnrichRecipe
    screening: ScreeningRecipe = Field(default_factory=ScreeningRecipe)
    gates: GateRecipe = Field(default_factory=GateRecipe)
    pool: PoolRecipe = Field(default_factory=PoolRecipe)
    train: TrainingRecipe = Field(default_factory=TrainingRecipe)
    generate: GenerateRecipe
    benchmark: BenchmarkRecipe = Field(default_factory=BenchmarkRecipe)
    editor: EditorRecipe = Field(default_factory=EditorRecipe)
    critic: CriticRecipe = Field(default_factory=CriticRecipe, exclude_if=is_default)
    style: StyleRecipe | None = Field(
        default=None, exclude_if=is_unset, description="What styles are drawn and measured with; a style needs it."
    )
    choice: ChoiceRecipe = Field(
        default_factory=ChoiceRecipe,
        exclude_if=choice_recipe.is_default,
        description="Which state of a training becomes the LoRA, and at which strength.",
    )
    doubts: DoubtsRecipe = Field(
        default_factory=DoubtsRecipe,
        exclude_if=doubts_recipe.is_default,
        description="Pictures of the pool that a training finds doubtful, and that come back to the next gate.",
    )
    captioner: CaptionerRecipe = Field(default_factory=CaptionerRecipe, exclude_if=captioner_recipe.is_default)
    caption_template: str = Field(
        default="{shot} {trigger} {class_word}, {shown}",
        description="Training caption of made pictures. {shot} and {shown} say what the picture shows, in the phrases below.",
    )
    values: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Values that plans choose from: background, lighting, clothing, style."
    )
    phrases: dict[str, str] = Field(
        default_factory=dict,
        description="Words for labels, such as half-left = 'half-left view', or background = '{} background' for all of a kind.",
    )

    @property
    def critic_verifier(self) -> str | None:
        """Whose embeddings the critic may read; None: none."""
        return self.models.verifier if self.critic.embeddings else None
