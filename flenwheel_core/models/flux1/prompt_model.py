"""FLUX.1 as a model of prompt embeddings: T5's tokens in, and CLIP's pooled vector beside them; picture out."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from torch import Tensor

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.ids import digest_json
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.flow_matching import shift_factor_for_tokens
from flenwheel_core.engine.placed_pictures import PlacedPicture, picture_digest
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import place
from flenwheel_core.kernels.attention import learn_through_other_modules
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.flux1.drawing import OwnPipelines, draw, drawing_pipeline
from flenwheel_core.models.flux1.encoding import Caption, encode_captions, encode_pictures
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.memory import TEXT_TOKENS
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN, image_ids
from flenwheel_core.models.model_folder import part_gib
from flenwheel_core.models.prompt_model import EncodedPrompt, Size, words_in
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.transformer.shell import transformer_config

if TYPE_CHECKING:
    from diffusers import FluxPipeline

_ROOM = 1.4
"""What training and drawing need of a card, as a multiple of the transformer: diffusers' own modules do both here."""
GUIDANCE = 3.5
"""Guidance embedding while training: what pictures are drawn with."""


class FluxPrompts:
    """Encodes first, then loads the transformer; they do not share a card."""

    no_prompt = ""

    def __init__(self, model: FluxModel, settings: Settings, setup: ModelSetup) -> None:
        self._model = model
        self._cache = TensorCache(settings.scratch / "cache" / "flux", ahead=self._make_room)
        self._setup = setup
        self._transformer: Any = None
        self._pipelines: OwnPipelines[FluxPipeline] | None = None
        self._tokenizer: Any = None

    @property
    def model(self) -> str:
        return self._model.reference

    @property
    def space(self) -> str:
        return digest_json([self._model.revision(part) for part in ("text_encoder", "text_encoder_2", "tokenizer_2")])

    @property
    def width(self) -> int:
        return int(transformer_config(self._model.folder)["joint_attention_dim"])

    @property
    def device(self) -> torch.device:
        return self._model.device

    def encode(self, texts: Iterable[str]) -> dict[str, EncodedPrompt]:
        storage = self._model.encoder_format(memory_level=self._setup.memory_level)
        found = encode_captions(self._model, texts, tokens=TEXT_TOKENS, cache=self._cache, storage=storage)
        return {text: EncodedPrompt(one.sequence.float(), {"pooled": one.pooled}) for text, one in found.items()}

    def places(self, text: str, words: str) -> tuple[int, ...]:
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self._model.folder / "tokenizer_2", local_files_only=True)
        offsets = self._tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        return words_in(text, words, offsets)

    def latents(self, pictures: Sequence[Image], size: Size) -> list[Tensor]:
        placed = [PlacedPicture(picture_digest(one), place(one.size, [size]), one.copy) for one in map(_rgb, pictures)]
        return encode_pictures(self._model, placed, cache=self._cache)

    def velocity(self, prompts: Sequence[EncodedPrompt], noisy: Tensor, sigma: Tensor, size: Size) -> Tensor:
        transformer, device, dtype = self._loaded(), self._model.device, self._model.dtype
        tokens = torch.stack([prompt.tokens for prompt in prompts])
        pooled = torch.stack([prompt.others["pooled"] for prompt in prompts])
        guides = transformer.config.guidance_embeds
        prediction: Tensor = transformer(
            hidden_states=noisy.to(device, dtype),
            encoder_hidden_states=tokens.to(device, dtype),
            pooled_projections=pooled.to(device, dtype),
            timestep=sigma.to(device),
            guidance=torch.full((len(noisy),), GUIDANCE, device=device) if guides else None,
            img_ids=image_ids(size[1] // PIXELS_PER_TOKEN, size[0] // PIXELS_PER_TOKEN).to(device),
            txt_ids=torch.zeros(tokens.shape[1], 3, device=device),
            return_dict=False,
        )[0]
        return prediction

    def shift(self, size: Size) -> float:
        return shift_factor_for_tokens((size[0] // PIXELS_PER_TOKEN) * (size[1] // PIXELS_PER_TOKEN))

    def draw(self, prompt: EncodedPrompt, sampler: Sampler, seed: int, negative: EncodedPrompt | None = None) -> Image:
        if self._pipelines is None:
            from diffusers import FluxPipeline

            transformer, vae = self._loaded(), self._model.load_vae()
            self._pipelines = OwnPipelines(lambda: drawing_pipeline(FluxPipeline, self._model, transformer, vae))
        against = None if negative is None else _caption(negative)
        return draw(self._model, self._pipelines.own(), _caption(prompt), sampler, seed, against)

    def close(self) -> None:
        self._make_room()

    def _loaded(self) -> Any:
        if self._transformer is None:
            need, budget = _ROOM * part_gib(self._model.folder / "transformer"), self._model.budget_gib
            if budget is not None and need > budget:
                raise ResourceError(
                    f"Injection into FLUX.1 needs about {need:.0f} GiB of card memory, and {budget:.0f} GiB may be used.",
                    why="its weights are not quantised for this.",
                    remedy="Use a larger card, or Qwen-Image, which is.",
                )
            self._setup.make_room()
            self._transformer = self._model.load_transformer()
            if self._model.device.type == "cuda":
                learn_through_other_modules()
                self._transformer.enable_gradient_checkpointing()
                self._transformer.train()  # checkpoints are only taken while training; there is no dropout
        return self._transformer

    def _make_room(self) -> None:
        self._setup.make_room()
        if self._model.device.type == "cuda":
            self._transformer = self._pipelines = None
            free_memory()


def _caption(prompt: EncodedPrompt) -> Caption:
    return Caption(prompt.tokens, prompt.others["pooled"])


def _rgb(image: Image) -> Image:
    return image.convert("RGB")


@contextmanager
def open_prompts(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> Iterator[FluxPrompts]:
    """The model in `folder`; its memory is free again afterwards."""
    made = FluxPrompts(FluxModel.find(folder, reference, settings), settings, setup)
    try:
        yield made
    finally:
        made.close()
