"""Loading a Qwen2.5-VL folder, and asking it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.errors import ResourceError
from flenwheel_core.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

_GIB = 2**30
_NF4_SHARE = 0.35
"""The eyes and the output stay in bfloat16."""
_WORKING_GIB = 2.0


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
def open_model(folder: Path, reference: str, settings: Settings) -> Iterator[VisionLanguageModel]:
    """The model in `folder` on the card of the settings: bfloat16, or NF4 where that does not fit; float32 on a CPU.

    Raises ResourceError if it can't fit, before it is loaded.
    """
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    if settings.gpu == "cpu" or not torch.cuda.is_available():
        options["dtype"] = torch.float32
    else:
        options |= {"dtype": torch.bfloat16, "device_map": {"": 0}}
        if _must_quantise(folder, settings):
            from transformers import BitsAndBytesConfig

            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=torch.bfloat16,
                llm_int8_skip_modules=["visual", "lm_head"],
            )
    network = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, **options)
    network.requires_grad_(False).eval()
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    try:
        yield VisionLanguageModel(reference, network, processor)
    finally:
        del network
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _must_quantise(folder: Path, settings: Settings) -> bool:
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / _GIB
    total = torch.cuda.get_device_properties(0).total_memory / _GIB
    budget = min(total, settings.vram_gib or total)
    working = min(_WORKING_GIB, size / 4)
    if size + working <= budget:
        return False
    if size * _NF4_SHARE + working <= budget:
        return True
    raise ResourceError(
        f"The vision-language model needs about {size * _NF4_SHARE + working:.0f} GiB, and {budget:.0f} GiB may be used.",
        why="even in 4 bits it does not fit the card.",
        remedy="Name a smaller one as the recipe's captioner, or leave the captioner out and give captions.",
    )
