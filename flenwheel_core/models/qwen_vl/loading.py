"""Loading a Qwen-VL folder, and asking it; a LoRA that it learned is worn if one is named."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.memory.card import free_memory, open_card
from flenwheel_core.memory.quantising import require_unquantised
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.qwen_vl.eyes import open_processor
from flenwheel_core.models.qwen_vl.geometry import EXACT_PARTS, geometry_of
from flenwheel_core.models.qwen_vl.memory import plan_asking, sizes_of
from flenwheel_core.models.qwen_vl.texts import prompt_of
from flenwheel_core.models.qwen_vl.wearing import wear

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class VisionLanguageModel:
    """A loaded model with its processor."""

    reference: str
    network: Any
    processor: Any

    def prompt(self, question: str, images: "Sequence[Image]") -> Any:
        """What the model is given for a question about pictures, on its device."""
        text = prompt_of(self.processor, question, len(images))
        pictures = [image.convert("RGB") for image in images]
        return self.processor(text=[text], images=pictures, return_tensors="pt").to(self.network.device)

    @torch.no_grad()
    def answer(self, question: str, images: "Sequence[Image]", *, most_tokens: int) -> str:
        """The most likely answer, the same each time."""
        inputs = self.prompt(question, images)
        made = self.network.generate(
            **inputs, max_new_tokens=most_tokens, do_sample=False, temperature=None, top_p=None, top_k=None
        )
        fresh = made[0, inputs["input_ids"].shape[1] :]
        return str(self.processor.tokenizer.decode(fresh, skip_special_tokens=True)).strip()

    @torch.no_grad()
    def next_token(self, question: str, images: "Sequence[Image]") -> torch.Tensor:
        """Log-probabilities (vocabulary,) of the answer's first token; those of every token of two pictures would take 2 GiB."""
        logits = self.network(**self.prompt(question, images), logits_to_keep=1).logits[0, -1]
        return torch.log_softmax(logits.float(), dim=-1)


def load_network(folder: Path, storage: TextFormat | None) -> Any:
    """The whole network, frozen: on the card with the language layers in this storage, or in float32 on the CPU if None.

    The eyes with their projector and the output are exact in every storage; classes are looked at after loading.
    """
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    options |= {"dtype": torch.float32} if storage is None else {"dtype": torch.bfloat16, "device_map": {"": 0}}
    if storage in ("nf4", "int8"):
        in_bits: dict[str, Any] = {"load_in_8bit": True}
        if storage == "nf4":
            in_bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
        options["quantization_config"] = BitsAndBytesConfig(**in_bits, llm_int8_skip_modules=list(EXACT_PARTS))
    network: Any = AutoModelForImageTextToText.from_pretrained(folder, **options)
    network.requires_grad_(False).eval()
    require_unquantised(network, EXACT_PARTS)
    return network


@contextmanager
def open_model(
    folder: Path,
    reference: str,
    settings: Settings,
    setup: ModelSetup = PLAIN_SETUP,
    *,
    pictures: int = 1,
    most_pixels: int | None = None,
) -> Iterator[VisionLanguageModel]:
    """The model in `folder` on the card of the settings: bfloat16, or NF4 where that does not fit; float32 on a CPU.

    `pictures` is how many a question is about; those of more than `most_pixels`, or than fit, are shown smaller.

    Raises ResourceError if it can't fit, before it is loaded.
    """
    card = open_card(settings)
    plan = None
    storage: TextFormat | None = None
    if card is not None:
        plan = plan_asking(sizes_of(folder), card.usable_gib, setup.memory_level, pictures=pictures)
        storage = "nf4" if plan.quantised else "bf16"
        setup.note(f"memory plan: {storage} weights, {plan.predicted_gib:.1f} of {card.usable_gib:.1f} GiB")
    network = load_network(folder, storage)
    for lora in setup.loras:
        wear(network, lora.path, weight=lora.weight)
    limits = [limit for limit in (most_pixels, None if plan is None else plan.most_pixels) if limit is not None]
    processor = open_processor(folder, geometry_of(folder), min(limits, default=None))
    try:
        yield VisionLanguageModel(reference, network, processor)
    finally:
        del network
        free_memory()
