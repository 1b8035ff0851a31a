"""Loading a Qwen2.5-VL folder, and asking it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import free_memory, open_card
from flenwheel_core.memory.quantising import require_unquantised
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.qwen_vl.memory import plan_asking, sizes_of

if TYPE_CHECKING:
    from PIL.Image import Image

EXACT_PARTS = ("model.visual", "lm_head")
"""Parts that are never quantised, by the whole beginning of their names (transformers 5 compares from the start): the eyes with their
projector, and the output."""


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
        """Log-probabilities (vocabulary,) of the answer's first token; those of every token of two pictures would take 2 GiB."""
        logits = self.network(**self.prompt(question, images), logits_to_keep=1).logits[0, -1]
        return torch.log_softmax(logits.float(), dim=-1)


@contextmanager
def open_model(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP, *, pictures: int = 1
) -> Iterator[VisionLanguageModel]:
    """The model in `folder` on the card of the settings: bfloat16, or NF4 where that does not fit; float32 on a CPU.

    `pictures` is how many a question is about.

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
        plan = plan_asking(sizes_of(folder), card.usable_gib, setup.memory_level, pictures=pictures)
        storage = "nf4" if plan.quantised else "bf16"
        setup.note(f"memory plan: {storage} weights, {plan.predicted_gib:.1f} of {card.usable_gib:.1f} GiB")
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
