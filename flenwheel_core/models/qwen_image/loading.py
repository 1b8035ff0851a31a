"""Loading the parts of a Qwen-Image-Edit folder, each only while it is needed, in the storage that fits the card."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.kernels.table import try_ahead
from flenwheel_core.memory.card import GIB, free_memory, open_card
from flenwheel_core.memory.phases import Phase, measured
from flenwheel_core.memory.quantising import require_unquantised
from flenwheel_core.models.digests import folder_digest
from flenwheel_core.models.qwen_image.conditioning import Positions, Revision
from flenwheel_core.models.qwen_image.fit import SHARE_OF_BF16, check_memory, choose_storage, free_memory_gib
from flenwheel_core.models.qwen_image.memory import plan_encoder
from flenwheel_core.models.qwen_image.still_pictures import for_single_pictures
from flenwheel_core.models.references import digest_memory

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel
    from transformers import PreTrainedTokenizerBase, ProcessorMixin, Qwen2_5_VLForConditionalGeneration

    from flenwheel_core.documents.storages import EditorStorage

_PARTS = ("transformer", "text_encoder")
_EXACT_PARTS = {
    "transformer": ("img_in", "txt_in", "time_text_embed", "norm_out", "proj_out"),
    "text_encoder": ("model.visual", "lm_head"),
}
"""Linears that lose most in 4 bits stay in bfloat16: embeddings, the output, and the encoder's eyes with their projector. Whole
beginnings of names, since transformers 5 compares from the start. The modulation is a third of all weights: kept in bfloat16 it alone
would fill half of a 24 GiB card."""


@dataclass(frozen=True)
class QwenEditModel:
    """A Qwen-Image-Edit folder on this machine, and where and how its parts run."""

    folder: Path
    reference: str
    revision: Revision
    device: torch.device
    dtype: torch.dtype
    storage: "EditorStorage"
    """How the transformer's weights are kept."""
    digests: Path
    """Where this machine remembers what files of weights hash to."""
    budget_gib: float | None = None
    """Card memory to stay within; None on a CPU."""
    encoder: "EditorStorage | None" = None
    """How the encoder's weights are kept, where that was planned apart from the transformer's."""
    positions: Positions = Positions.THREE_D
    phases: list[Phase] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The reference with the storage, if that changes the numbers."""
        return self.reference if self.storage == "bf16" else f"{self.reference}+{self.storage}"

    def sizes_gib(self) -> dict[str, float]:
        """Sizes of the large parts in bfloat16; they are never on the card together."""
        return {part: bf16_gib(self.folder / part) for part in _PARTS}

    def weights_gib(self, part: str) -> float:
        """Size of a part's weights in this model's storage."""
        return bf16_gib(self.folder / part) * SHARE_OF_BF16[self.storage]

    @property
    def diffusers_storage(self) -> "EditorStorage":
        """The transformer's storage in diffusers' own modules: they have no fp8 that multiplies."""
        return "nf4" if self.storage == "fp8" else self.storage

    @property
    def encoder_storage(self) -> "EditorStorage":
        """The encoder's storage: as planned; else, where an fp8 transformer fits, a bfloat16 encoder does."""
        if self.encoder is not None:
            return self.encoder
        return "bf16" if self.storage == "fp8" else self.storage

    def part_digest(self, part: str) -> str:
        """Digest of a part's weights and configuration."""
        return folder_digest(self.folder / part, self.digests)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measures what happens within."""
        with measured(name, self.device, self.phases):
            yield

    @contextmanager
    def open_encoder(self) -> "Iterator[tuple[Qwen2_5_VLForConditionalGeneration, ProcessorMixin]]":
        """The vision-language encoder and its processor; they leave the card afterwards."""
        from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

        processor = AutoProcessor.from_pretrained(self.folder / "processor", local_files_only=True)
        encoder = self._load(Qwen2_5_VLForConditionalGeneration, "text_encoder", "dtype")
        try:
            yield encoder, processor
        finally:
            del encoder
            free_memory()

    @contextmanager
    def open_text_encoder(self) -> "Iterator[tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerBase]]":
        """The encoder of a base model, which reads text alone, and its tokenizer; it leaves the card afterwards."""
        from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

        tokenizer = AutoTokenizer.from_pretrained(self.folder / "tokenizer", local_files_only=True)
        encoder = self._load(Qwen2_5_VLForConditionalGeneration, "text_encoder", "dtype")
        try:
            yield encoder, tokenizer
        finally:
            del encoder
            free_memory()

    def load_vae(self) -> "AutoencoderKLQwenImage":
        """The autoencoder, on this model's device; float32 off the card, and made for single pictures there."""
        from diffusers import AutoencoderKLQwenImage

        vae = AutoencoderKLQwenImage.from_pretrained(
            self.folder / "vae", torch_dtype=self.dtype, local_files_only=True, use_safetensors=True
        )
        vae.requires_grad_(False).eval()
        on_device: AutoencoderKLQwenImage = vae.to(self.device)
        if self.device.type == "cpu":
            for_single_pictures(on_device)
        return on_device

    def load_transformer(self) -> "QwenImageTransformer2DModel":
        """The transformer in this model's storage, on its device, frozen."""
        from diffusers import QwenImageTransformer2DModel

        transformer: QwenImageTransformer2DModel = self._load(QwenImageTransformer2DModel, "transformer", "torch_dtype")
        return transformer

    def load_scheduler(self) -> "FlowMatchEulerDiscreteScheduler":
        from diffusers import FlowMatchEulerDiscreteScheduler

        scheduler: FlowMatchEulerDiscreteScheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
            self.folder / "scheduler", local_files_only=True
        )
        return scheduler

    def _load(self, kind: Any, part: str, dtype_name: str) -> Any:
        source, options = (
            self.folder / part,
            {dtype_name: self.dtype, "local_files_only": True, "use_safetensors": True},
        )
        storage = self.diffusers_storage if part == "transformer" else self.encoder_storage
        if self.device.type != "cuda":
            return kind.from_pretrained(source, **options).requires_grad_(False).eval()
        if storage == "bf16":
            return kind.from_pretrained(source, device_map={"": 0}, **options).requires_grad_(False).eval()
        config = quantisation(part, storage, self.dtype)
        model = kind.from_pretrained(source, quantization_config=config, device_map={"": 0}, **options)
        require_unquantised(model, _EXACT_PARTS[part])
        return model.requires_grad_(False).eval()


def quantisation(part: str, storage: "EditorStorage", dtype: torch.dtype) -> Any:
    """The bitsandbytes configuration of a storage, for the transformer (diffusers) or the encoder (transformers)."""
    exact = list(_EXACT_PARTS[part])
    if part == "transformer":
        from diffusers import BitsAndBytesConfig
    else:
        from transformers import BitsAndBytesConfig
    if storage == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=exact)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=exact,
    )


def find_model(
    folder: Path,
    reference: str,
    settings: Settings,
    storage: "EditorStorage | None" = None,
    *,
    order: "Sequence[EditorStorage]" = ("bf16", "nf4"),
    memory_level: int = 0,
) -> QwenEditModel:
    """The model in `folder`, on the card of the settings: bfloat16 or quantised there, float32 on a CPU.

    The storage is the one asked for, or the first of `order` that fits; the encoder, which never shares the card with the transformer, is
    bfloat16 where that fits, as it is for drawing. Raises InputError for a folder that is no editor, ResourceError
    if it can't fit the card or the memory; nothing is loaded before.
    """
    model = find_parts(folder, reference, settings)
    if model.budget_gib is None:
        return model
    chosen = choose_storage(model.sizes_gib(), model.budget_gib, storage, order)
    encoder = plan_encoder(model.sizes_gib()["text_encoder"], model.budget_gib, memory_level)
    model = replace(model, storage=chosen, encoder=encoder)
    check_machine(model)
    return model


def find_parts(folder: Path, reference: str, settings: Settings) -> QwenEditModel:
    """The model in `folder`, on the card of the settings, before its storage is chosen; raises InputError if it is no editor."""
    facts = revision_of(folder), _positions(folder)
    digests = digest_memory(settings)
    card = open_card(settings)
    if card is None:
        cpu = torch.device("cpu")
        return QwenEditModel(folder, reference, facts[0], cpu, torch.float32, "bf16", digests, positions=facts[1])
    try_ahead(card.device)
    return QwenEditModel(
        folder,
        reference,
        facts[0],
        card.device,
        torch.bfloat16,
        "bf16",
        digests,
        budget_gib=card.usable_gib,
        positions=facts[1],
    )


def check_machine(model: QwenEditModel) -> None:
    """Raises ResourceError if loading the model's parts needs more memory than there is."""
    largest = max(path.stat().st_size for part in _PARTS for path in (model.folder / part).glob("*.safetensors"))
    check_memory(largest / GIB, free_memory_gib())


def revision_of(folder: Path) -> Revision:
    """Which Qwen-Image-Edit a folder holds; raises InputError if none."""
    name = json.loads((folder / "model_index.json").read_text()).get("_class_name", "")
    try:
        return Revision(name)
    except ValueError as error:
        raise InputError(
            f"{folder} holds a {name or 'nameless model'}, no Qwen-Image-Edit.",
            remedy="Name a Qwen-Image-Edit model as the recipe's editor.",
        ) from error


def _positions(folder: Path) -> Positions:
    """What the encoder's config.json says of picture positions: the nano editor was trained with one-dimensional ones."""
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    return Positions(config.get("flenwheel_positions", Positions.THREE_D))


def bf16_gib(folder: Path) -> float:
    """Size of a part in bfloat16, from its files (which are bfloat16 in every released editor)."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / GIB
