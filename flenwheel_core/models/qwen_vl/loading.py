"""Loading a Qwen2.5-VL folder, and asking it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import GIB, free_memory, open_card
from flenwheel_core.memory.encoding import NF4_SHARE
from flenwheel_core.memory.levels import plan_at_level
from flenwheel_core.memory.quantising import require_unquantised
from flenwheel_core.models.protocols import WORKING, Working

if TYPE_CHECKING:
    from PIL.Image import Image

EXACT_PARTS = ("model.visual", "lm_head")
"""Parts that are never quantised, by the whole beginning of their names (transformers 5 compares from the start): the eyes with their
projector, and the output."""
_WORKING_GIB = 2.0
"""Activations and the cache of keys and values, for a picture of `_MOST_PIXELS`."""
_MOST_PIXELS = (2_359_296, 589_824)
"""What the model sees of a picture, at most: 1536 x 1536, and 768 x 768 where memory ran out before."""


@dataclass(frozen=True)
class AskingPlan:
    """How the weights are stored, and how large pictures are shown."""

    quantised: bool
    most_pixels: int
    predicted_gib: float


@dataclass(frozen=True)
class VisionLanguageModel:
    """A loaded model with its processor."""

    reference: str
    network: Any
    processor: Any

    def prompt(self, question: str, images: "Sequence[Image]") -> Any:
        """What the model is given for a question about pictures, on its device."""
        content = [{"type": "image"} for _ in images] + [{"type": "text", "text": question}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
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
        """Log-probabilities (vocabulary,) of the answer's first token."""
        logits = self.network(**self.prompt(question, images)).logits[0, -1]
        return torch.log_softmax(logits.float(), dim=-1)


@contextmanager
def open_model(
    folder: Path, reference: str, settings: Settings, working: Working = WORKING
) -> Iterator[VisionLanguageModel]:
    """The model in `folder` on the card of the settings: bfloat16, or NF4 where that does not fit; float32 on a CPU.

    Raises ResourceError if it can't fit, before it is loaded.
    """
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    card = open_card(settings)
    plan = None
    if card is None:
        options["dtype"] = torch.float32
    else:
        options |= {"dtype": torch.bfloat16, "device_map": {"": 0}}
        plan = plan_asking(weights_gib(folder), card.usable_gib, working.memory_level)
        storage = "nf4" if plan.quantised else "bf16"
        working.note(f"memory plan: {storage} weights, {plan.predicted_gib:.1f} of {card.usable_gib:.1f} GiB")
        if plan.quantised:
            from transformers import BitsAndBytesConfig

            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=torch.bfloat16,
                llm_int8_skip_modules=list(EXACT_PARTS),
            )
    network = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, **options)
    network.requires_grad_(False).eval()
    require_unquantised(network, EXACT_PARTS)
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    if plan is not None:
        size = processor.image_processor.size
        most = min(int(size["longest_edge"]), plan.most_pixels)  # "edges" are pixels here
        processor.image_processor.size = {"shortest_edge": min(int(size["shortest_edge"]), most), "longest_edge": most}
    try:
        yield VisionLanguageModel(reference, network, processor)
    finally:
        del network
        free_memory()


def weights_gib(folder: Path) -> float:
    """Size of the weights in a folder, as they are on disk (bfloat16 in every released model)."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / GIB


def plan_asking(size_gib: float, usable_gib: float, memory_level: int = 0) -> AskingPlan:
    """How a model of this size in bfloat16 is opened, the best way that fits, or a tighter one if memory ran out before.

    Raises ResourceError if none fits, or there is no tighter one.
    """
    working = min(_WORKING_GIB, size_gib / 4)

    def plans() -> Iterator[AskingPlan]:
        for quantised, share in ((False, 1.0), (True, NF4_SHARE)):
            for pixels in _MOST_PIXELS:
                need = size_gib * share + working * pixels / _MOST_PIXELS[0]
                if need <= usable_gib:
                    yield AskingPlan(quantised, pixels, need)

    chosen = plan_at_level(plans(), lambda plan: plan.predicted_gib, memory_level)
    if chosen is not None:
        return chosen
    least = size_gib * NF4_SHARE + working * _MOST_PIXELS[-1] / _MOST_PIXELS[0]
    raise ResourceError(
        f"The vision-language model needs about {least:.0f} GiB, and {usable_gib:.0f} GiB may be used.",
        why="even in 4 bits it does not fit the card.",
        remedy="Name a smaller one as the recipe's captioner, or leave the captioner out and give captions.",
    )
