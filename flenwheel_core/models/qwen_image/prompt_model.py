"""Qwen-Image as a model of prompt embeddings: the encoder's last hidden states in, picture out."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from flenwheel_core.base.ids import digest_json
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import fit, place
from flenwheel_core.kernels.attention import cudnn_attention_works, learn_through_other_modules
from flenwheel_core.memory.card import free_memory
from flenwheel_core.memory.drawing import TILE_OVERLAP_PX, TILE_PX
from flenwheel_core.models.prompt_model import EncodedPrompt, Size, words_in
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.qwen_image.adapter import FAST_STORAGE
from flenwheel_core.models.qwen_image.conditioning import (
    DESCRIBE_TOKENS,
    NO_PROMPT,
    decode_latents,
    drawn_sizes,
    log_shift,
    to_picture,
    whole_text,
)
from flenwheel_core.models.qwen_image.drawing import draw
from flenwheel_core.models.qwen_image.encoding import Picture, encode_pictures
from flenwheel_core.models.qwen_image.fast import FastQwen
from flenwheel_core.models.qwen_image.loading import QwenEditModel, find_model
from flenwheel_core.models.qwen_image.prompts import encode_prompts
from flenwheel_core.models.qwen_image.task import padded
from flenwheel_core.transformer.plan import NO_ADAPTERS, FastPlan
from flenwheel_core.transformer.shell import transformer_config
from flenwheel_core.transformer.sources import FolderSource


class QwenPrompts:
    """Encodes first, then loads the transformer, quantised where the card asks for it; every block is recomputed in the backward pass."""

    no_prompt = NO_PROMPT

    def __init__(self, model: QwenEditModel, settings: Settings, setup: ModelSetup) -> None:
        self._model = model
        self._setup = setup
        self._cache = TensorCache(settings.scratch / "cache" / "qwen_image", ahead=self._make_room)
        self._transformer: Any = None
        self._vae: Any = None
        self._tokenizer: Any = None
        self._scheduler = model.load_scheduler()

    @property
    def model(self) -> str:
        return self._model.name

    @property
    def space(self) -> str:
        return digest_json([self._model.part_digest(part) for part in ("text_encoder", "tokenizer")])

    @property
    def width(self) -> int:
        return int(transformer_config(self._model.folder)["joint_attention_dim"])

    @property
    def device(self) -> torch.device:
        return self._model.device

    def encode(self, texts: Iterable[str]) -> dict[str, EncodedPrompt]:
        found = encode_prompts(self._model, texts, self._cache)
        return {text: EncodedPrompt(hidden.float()) for text, hidden in found.items()}

    def places(self, text: str, words: str) -> tuple[int, ...]:
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self._model.folder / "tokenizer", local_files_only=True)
        whole = whole_text(text)
        offsets = self._tokenizer(whole, return_offsets_mapping=True)["offset_mapping"][DESCRIBE_TOKENS:]
        return words_in(text, words, offsets, begins=whole.rindex(text))

    def latents(self, pictures: Sequence[Image], size: Size) -> list[Tensor]:
        cut = [fit(one.convert("RGB"), place(one.size, [size])) for one in pictures]
        given = [(Picture.of(one.copy), size) for one in cut]
        return encode_pictures(self._model, given, self._cache)

    def velocity(self, prompts: Sequence[EncodedPrompt], noisy: Tensor, sigma: Tensor, size: Size) -> Tensor:
        transformer = self._loaded()
        texts = [prompt.tokens.to(self.device, self._model.dtype) for prompt in prompts]
        if isinstance(transformer, FastQwen):  # it takes no padded prompts
            return torch.cat(
                [self._predict(texts[i : i + 1], noisy[i : i + 1], sigma[i : i + 1], size) for i in range(len(texts))]
            )
        return self._predict(texts, noisy, sigma, size)

    def shift(self, size: Size) -> float:
        return math.exp(log_shift(self._scheduler, drawn_sizes(*size).target_tokens))

    def draw(self, prompt: EncodedPrompt, sampler: Sampler, seed: int, negative: EncodedPrompt | None = None) -> Image:
        transformer, sizes = self._loaded(), drawn_sizes(sampler.width, sampler.height)
        latents = draw(
            transformer,
            copy(self._scheduler),
            sizes,
            torch.zeros(1, 0, transformer.config.in_channels, device=self.device),
            prompt.tokens,
            None if negative is None else negative.tokens,
            steps=sampler.steps,
            true_cfg=sampler.true_cfg,
            seed=seed,
        )
        if self._vae is None:
            self._vae = self._model.load_vae()
            if self.device.type == "cuda":
                self._vae.enable_tiling(TILE_PX, TILE_PX, TILE_PX - TILE_OVERLAP_PX, TILE_PX - TILE_OVERLAP_PX)
        return to_picture(decode_latents(self._vae, latents, sizes.target))

    def close(self) -> None:
        self._make_room()

    def _predict(self, texts: Sequence[Tensor], noisy: Tensor, sigma: Tensor, size: Size) -> Tensor:
        text, mask = padded(texts)
        dtype = self._model.dtype
        shapes = drawn_sizes(*size).image_shapes()
        prediction: Tensor = self._loaded()(
            hidden_states=noisy.to(self.device, dtype),
            timestep=sigma.to(self.device, dtype),
            encoder_hidden_states=text,
            img_shapes=[shapes] * len(texts),
            return_dict=False,
            **({} if mask is None else {"encoder_hidden_states_mask": mask.to(self.device)}),
        )[0]
        return prediction

    def _loaded(self) -> Any:
        if self._transformer is None:
            self._setup.make_room()
            self._transformer = load_transformer(self._model, self._setup)
        return self._transformer

    def _make_room(self) -> None:
        self._setup.make_room()
        if self._model.device.type == "cuda":
            self._transformer = self._vae = None
            free_memory()


def load_transformer(model: QwenEditModel, setup: ModelSetup) -> Any:
    """The frozen transformer: the fast one on a card, with every block recomputed, else diffusers' own."""
    config = transformer_config(model.folder)
    if model.device.type != "cuda":
        return model.load_transformer()
    if model.storage not in FAST_STORAGE:
        learn_through_other_modules()
        return model.load_transformer()
    storage = FAST_STORAGE[model.storage]
    plan = FastPlan(
        storage=storage,
        modulation=storage,
        recompute=(int(config["num_layers"]),),
        cudnn=cudnn_attention_works(model.device, int(config["attention_head_dim"])),
    )
    setup.note(plan.kernel_line(model.device))
    return FastQwen(config, FolderSource(model.folder / "transformer", model.device, model.dtype), plan, NO_ADAPTERS)


@contextmanager
def open_prompts(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> Iterator[QwenPrompts]:
    """The model in `folder`; its memory is free again afterwards."""
    model = find_model(folder, reference, settings, setup.storage, memory_level=setup.memory_level)
    made = QwenPrompts(model, settings, setup)
    try:
        yield made
    finally:
        made.close()
