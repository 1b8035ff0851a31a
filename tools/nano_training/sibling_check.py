"""A first look at nano klein and nano Z-Image at the end of their training, on held-out characters, in batches on the training's device.

What the models are worth is measured through the program itself (`benchmarks/quality/nano_siblings.py`); this says at once whether the
training went well.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from flenwheel_core.nano.measure import NanoEmbedder, NanoReader, facts_of, shares_right
from flenwheel_core.nano.models.flux import pack, unpack
from flenwheel_core.nano.models.qwen3 import TEXT_TOKENS, chat
from flenwheel_core.nano.world import (
    HELD_OUT_FROM,
    caption,
    instruction,
    make_character,
    make_edit,
    make_view,
    parse_caption,
    parse_instruction,
    render,
)
from flenwheel_core.nano.world.views import VARIED
from tools.nano_training.autoencoder import to_model
from tools.nano_training.siblings import SiblingData, Siblings
from tools.nano_training.vae import FluxCodec

FIRST = HELD_OUT_FROM + 400_000
SHIFTS = (1.65, 3.0, 6.0)
STEPS = 20


@torch.no_grad()
def _sampled(velocity: Callable[[Tensor, Tensor], Tensor], count: int, shift: float, device: torch.device) -> Tensor:
    """Tokens (count, 64, 64) by Euler steps."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 64, 64, generator=generator).to(device)
    plain = torch.linspace(1, 1 / STEPS, STEPS)
    levels = [*(shift * plain / (1 + (shift - 1) * plain)).tolist(), 0.0]
    for now, then in itertools.pairwise(levels):
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            predicted = velocity(x, torch.full((count,), now, device=device)).float()
        x = x + (then - now) * predicted
    return x


def measure(
    siblings: Siblings,
    data: SiblingData,
    vae: AutoencoderKL,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pictures: int,
    world: int = 1,
) -> dict[str, object]:
    """Accuracies by task and shift."""
    device = data.latents.device
    codec, reader, embedder = FluxCodec(vae), NanoReader(device=str(device)), NanoEmbedder(device=str(device))

    @torch.no_grad()
    def read(texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        ids = tokenizer(
            [chat(text) for text in texts],
            padding="max_length",
            max_length=TEXT_TOKENS,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return siblings.read(ids.to(device))

    @torch.no_grad()
    def encoded(images: Sequence[Image.Image]) -> Tensor:
        pixels = to_model(torch.from_numpy(np.stack([np.asarray(image) for image in images])).to(device))
        return (pack(codec.moments(pixels)[0]) - data.mean) / data.deviation

    @torch.no_grad()
    def decoded(raw: Tensor) -> list[Image.Image]:
        pixels = codec.decode(unpack(raw, 16, 16)).float().clamp(-1, 1).permute(0, 2, 3, 1)
        return [Image.fromarray(one) for one in ((pixels + 1) * 127.5).round().byte().cpu().numpy()]

    pairs = [(make_character(FIRST + i, world), make_view(FIRST + i)) for i in range(pictures)]
    asked = [caption(*pair) for pair in pairs]
    wanted = [facts_of(parse_caption(text)) for text in asked]
    for_klein, for_z, valid = read(asked)
    found: dict[str, object] = {"pictures": pictures, "steps": STEPS}
    for shift in SHIFTS:
        raw = _sampled(lambda x, s: siblings.klein.velocity(x, s, for_klein), pictures, shift, device)
        images = decoded(raw * data.deviation + data.mean)
        found[f"klein draws, shift {shift}"] = shares_right(wanted, reader.read(images))
        raw = _sampled(lambda x, s: siblings.z_image.velocity(x, s, for_z, valid), pictures, shift, device)
        images = decoded(raw / data.scale + data.shift)
        found[f"z_image draws, shift {shift}"] = shares_right(wanted, reader.read(images))

    pairs = [(make_character(FIRST + 5_000 + i, world), make_view(FIRST + 5_000 + i)) for i in range(pictures)]
    targets = [make_edit(view, FIRST + i) for i, (_, view) in enumerate(pairs)]
    orders = [instruction(view, target) for (_, view), target in zip(pairs, targets, strict=True)]
    changes = [
        {name: value for name in VARIED if (value := getattr(parse_instruction(text), name)) is not None}
        for text in orders
    ]
    truth = embedder.embed([render(pair[0], target) for pair, target in zip(pairs, targets, strict=True)])
    source = encoded([render(*pair) for pair in pairs])
    second = encoded([render(pair[0], make_view(FIRST + 9_000 + i)) for i, pair in enumerate(pairs)])
    for_klein, _, _ = read(orders)
    for name, references in (("one", (source,)), ("two", (source, second))):
        for shift in SHIFTS:
            raw = _sampled(
                lambda x, s, r=references: siblings.klein.velocity(x, s, for_klein, r),  # type: ignore[misc]
                pictures,
                shift,
                device,
            )
            images = decoded(raw * data.deviation + data.mean)
            seen = reader.read(images)
            followed = [all(one[k] == v for k, v in facts.items()) for facts, one in zip(changes, seen, strict=True)]
            found[f"klein edits with {name}, shift {shift}"] = {
                "followed": float(np.mean(followed)),
                "identity_cosine": float((embedder.embed(images) * truth).sum(1).mean()),
                **shares_right(changes, seen),
            }
    return found
