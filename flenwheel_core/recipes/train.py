"""The choices of a LoRA training run."""

import math
from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.documents.images import is_empty, is_one, is_unset
from flenwheel_core.documents.storages import TextFormat, WeightFormat

LoraTarget = Literal["attention", "mlp", "modulation", "embedders"]
Density = Literal["logit_normal", "uniform", "mode", "cosmap"]
Schedule = Literal["constant", "cosine", "linear"]
OptimizerName = Literal["adamw", "adamw8bit", "adafactor", "prodigy"]


class LoraRecipe(Document):
    """The adapter: which linears it sits on and how large it is."""

    rank: int = Field(default=16, ge=1, le=512, description="Rank of the adapter on every chosen linear.")
    alpha: float | None = Field(
        default=None, gt=0, description="Scale numerator (scale is alpha/rank); the rank if unset."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the adapter's input while training.")
    rslora: bool = Field(default=False, description="Scale by alpha/sqrt(rank) instead of alpha/rank (rsLoRA).")
    dora: bool = Field(default=False, description="Train magnitude and direction apart (DoRA); slower, not fused.")
    targets: tuple[LoraTarget, ...] = Field(
        default=("attention", "mlp"),
        min_length=1,
        description="Groups of linears that get an adapter, in double and single blocks alike.",
    )
    include: tuple[str, ...] = Field(
        default=(), description="Glob patterns of module names; if given, they replace the groups of `targets`."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Glob patterns of module names that get no adapter.")
    blocks: tuple[str, ...] = Field(
        default=(),
        description="Limit to these blocks: 'double:0-18', 'single:7', or presets such as 'single_late' (a kind of block, its early "
        "or its late half); all blocks if empty.",
    )
    block_ranks: dict[str, int] = Field(
        default_factory=dict,
        description="Another rank for some blocks (block-wise LoRA), such as {'single:0-9': 8} or {'double_early': 4}; the last "
        "match counts.",
    )
    file_format: Literal["float32", "bf16"] | None = Field(
        default=None,
        exclude_if=is_unset,
        description="How the numbers of the LoRA file are kept: bf16 files are half as large; float32, as trained, if unset.",
    )


class SigmaRecipe(Document):
    """Which noise levels are trained, and how often."""

    density: Density = Field(default="logit_normal", description="Density of the noise level before the shift.")
    logit_mean: float = Field(default=0.0, description="Mean of the logit-normal density.")
    logit_std: float = Field(default=1.0, gt=0, description="Standard deviation of the logit-normal density.")
    mode_scale: float = Field(default=1.29, description="Scale of the `mode` density.")
    shift: Literal["resolution", "none"] | float = Field(
        default="resolution",
        description="Shift towards noise: as the pipeline does for this many tokens, none, or a fixed factor (3.16).",
    )


class PriorRecipe(Document):
    """What keeps the class word itself while the trigger learns the character."""

    method: Literal["prediction", "images", "off"] = Field(
        default="prediction",
        description="`prediction`: with the class word in place of the trigger the model must predict what the base "
        "predicts; `images`: pictures the base draws for the class word are trained on; `off`.",
    )
    share: float = Field(default=0.25, ge=0, lt=1, description="Share of all trained items that are prior items.")
    weight: float = Field(default=1.0, ge=0, description="Weight of the prior loss.")
    images: int = Field(default=8, ge=0, le=1000, description="Pictures the base draws for the class word.")


class SamplingRecipe(Document):
    """Pictures drawn while training, always with the same prompts and seeds."""

    every_steps: int = Field(default=250, ge=0, description="Draw a sample grid every so many steps; 0 draws none.")
    seed: int = Field(default=42, description="Seed of the sample pictures.")
    prompts: int = Field(default=4, ge=0, le=64, description="At most so many of the request's sample prompts.")


class TrainingRecipe(Document):
    """Everything that is chosen for a training run; facts of the machine are in the settings."""

    steps: int = Field(default=1500, ge=1, le=1_000_000, description="Optimizer steps.")
    min_epochs: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        exclude_if=is_unset,
        description="Train at least so many epochs of the pictures (prior items count as trained items): more than "
        "`steps` once the pool has grown.",
    )
    resolution: int = Field(default=1024, ge=64, le=4096, description="Side of a square of the pictures' pixel area.")
    aspect_buckets: bool = Field(default=True, description="Keep aspect ratios in buckets; else crop to squares.")
    bucket_step: int = Field(default=64, ge=16, le=256, description="Bucket sides are multiples of this.")
    batch_size: int = Field(default=1, ge=1, le=256, description="Items a forward pass, on each card.")
    gpus: int = Field(
        default=1,
        ge=1,
        le=64,
        exclude_if=is_one,
        description="Cards of this machine that train together, each on its part of the batch.",
    )
    hosts: int = Field(
        default=1,
        ge=1,
        le=64,
        exclude_if=is_one,
        description="Machines of a cluster that train together, each with `gpus` cards of its own; see docs/cluster.md.",
    )
    gradient_accumulation: int = Field(default=1, ge=1, le=256, description="Forward passes an optimizer step.")
    optimizer: OptimizerName = Field(default="adamw", description="Optimizer, by name.")
    learning_rate: float = Field(default=1e-4, gt=0, le=10, description="Peak learning rate (1.0 for prodigy).")
    schedule: Schedule = Field(default="constant", description="Course of the learning rate after the warmup.")
    warmup_steps: int = Field(default=20, ge=0, description="Steps over which the learning rate rises linearly.")
    weight_decay: float = Field(default=1e-4, ge=0, le=1, description="Decoupled weight decay of the adapter.")
    betas: tuple[float, float] = Field(default=(0.9, 0.99), description="Adam's decay rates.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="Keep and save an average of the weights.")
    lora: LoraRecipe = Field(default_factory=LoraRecipe, description="The adapter.")
    sigma: SigmaRecipe = Field(default_factory=SigmaRecipe, description="The noise levels.")
    prior: PriorRecipe = Field(default_factory=PriorRecipe, description="Preservation of the class word.")
    sampling: SamplingRecipe = Field(default_factory=SamplingRecipe, description="Sample pictures while training.")
    guidance: float = Field(
        default=1.0, ge=0, le=30, description="Guidance embedding while training; 1 for FLUX.1-dev."
    )
    text_tokens: int = Field(default=512, ge=16, le=512, description="Token length of the long text encoder.")
    caption_dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of captions replaced by an empty one.")
    mask_floor: float = Field(
        default=0.1, ge=0, le=1, description="Loss weight outside of a picture's mask, where a mask is given."
    )
    bodies_from: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        exclude_if=is_empty,
        description="Share of the steps after which pictures of whole bodies join: heads and expressions are learned first; "
        "0: all are there from the start.",
    )
    min_images: int = Field(default=5, ge=1, description="Refuse to train on fewer pictures.")
    checkpoint_every: int = Field(default=250, ge=1, description="Save the whole state every so many steps.")
    keep_checkpoints: int = Field(default=2, ge=1, le=100, description="Older checkpoints beyond this are removed.")
    log_every: int = Field(default=10, ge=1, description="Write the mean loss every so many steps.")
    weight_format: WeightFormat = Field(
        default="auto", description="Storage of the frozen weights; auto takes the fastest that fits the memory."
    )
    text_encoder_format: TextFormat = Field(
        default="bf16", description="Storage of the text encoders while captions are encoded."
    )
    compile: bool | None = Field(default=None, description="Compile the blocks; on a CUDA card if unset.")
    cuda_graphs: bool | None = Field(
        default=None,
        exclude_if=is_unset,
        description="Record steps as CUDA graphs: no launch costs; on a card where blocks are compiled if unset.",
    )
    deterministic: bool = Field(
        default=False, description="Bit-equal repeats on a CUDA card: nothing compiled, slower."
    )
    trackers: tuple[Literal["tensorboard", "trackio"], ...] = Field(
        default=(), description="Where curves go besides loss.jsonl."
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict,
        exclude_if=is_empty,
        description="Choices that the family of the base model alone knows; the check of a recipe names them.",
    )

    @property
    def processes(self) -> int:
        """Processes that share each step, one a card."""
        return self.gpus * self.hosts

    def for_pictures(self, number: int) -> Self:
        """The same recipe with the steps that so many pictures ask for: `steps`, or more by `min_epochs`."""
        if self.min_epochs is None:
            return self
        step = self.batch_size * self.gradient_accumulation * self.processes
        return self.model_copy(update={"steps": max(self.steps, math.ceil(self.min_epochs * number / step))})

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.resolution % 16:
            raise ValueError(
                f"resolution {self.resolution} is not a multiple of 16; try {round(self.resolution / 16) * 16}"
            )
        if self.bucket_step % 16:
            raise ValueError(f"bucket_step {self.bucket_step} is not a multiple of 16")
        if self.warmup_steps >= self.steps > 1 and self.schedule != "constant":
            raise ValueError(f"warmup_steps {self.warmup_steps} leaves nothing of {self.steps} steps for the schedule")
        if self.optimizer == "prodigy" and self.learning_rate < 0.1:
            raise ValueError("prodigy finds the step size itself and wants learning_rate = 1.0")
        if self.optimizer in ("adamw", "adamw8bit") and self.learning_rate > 0.1:
            raise ValueError(f"learning_rate {self.learning_rate} is far too high for {self.optimizer}; try 1e-4")
        if self.lora.dora and self.weight_format in ("fp8", "nf4"):
            raise ValueError("DoRA needs the norms of the full weights; use weight_format = 'bf16' or dora = false")
        if isinstance(self.sigma.shift, float) and self.sigma.shift <= 0:
            raise ValueError("sigma.shift must be above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must lie in [0, 1)")
        return self
