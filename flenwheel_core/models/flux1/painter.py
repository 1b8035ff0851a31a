"""What draws with a FLUX.1 transformer, from text alone or beside a source: its memory plan, and the parts that are loaded by it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flenwheel_core.adapters.lora_reading import adapter_weights, read_loras
from flenwheel_core.adapters.lora_wearing import wear_for_good
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.flux1.adapter import load_with_loras, require_fast
from flenwheel_core.models.flux1.drawing import Pipeline, drawing_pipeline
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.lora_host import flux_host
from flenwheel_core.models.flux1.memory import ChosenDrawing, choose_drawing, largest_of
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.transformer.plan import OTHER_MODULES

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


class FluxPainter:
    """Everything is encoded first, then the transformer is loaded: encoders and transformer never share the card.

    LoRA files are read at once: one that does not fit raises InputError before anything is loaded.
    """

    def __init__(self, model: FluxModel, cache: TensorCache, setup: ModelSetup = PLAIN_SETUP) -> None:
        self._model = model
        self._loras = read_loras(setup.loras, flux_host(model.folder)) if setup.loras else ()
        self._cache = cache
        self._setup = setup
        self._chosen: ChosenDrawing | None = None
        self._pipeline: Any = None

    def _choose(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Plans for pictures of so many pixels, each with so many references; nothing is planned on a CPU.

        Raises InputError for LoRAs that the plan cannot be combined with.
        """
        self._chosen = choose_drawing(
            self._model,
            largest_of(sizes, adapter_weights(self._loras)),
            memory_level=self._setup.memory_level,
            wanted=self._setup.storage,
        )
        if self._chosen is None:
            return
        if self._chosen.fast is not None:
            require_fast(self._loras)
        plan, encoders = self._chosen.memory.describe(), self._model.encoder_line(self._chosen.encoders)
        self._setup.note(f"memory plan: {plan} of {self._model.budget_gib:.1f} GiB; encoders {encoders}")

    def _load(self, kind: type[Pipeline]) -> Pipeline:
        """A pipeline of this class that draws, with its LoRAs."""
        return drawing_pipeline(kind, self._model, *self._parts())

    def _parts(self) -> "tuple[Any, AutoencoderKL]":
        vae = self._model.load_vae()
        if self._chosen is not None:
            tile, fast = self._chosen.memory.tile_px, self._chosen.fast
            if tile is not None:
                vae.tile_sample_min_size, vae.tile_latent_min_size = tile, tile // 8
            self._setup.note(OTHER_MODULES if fast is None else fast.kernel_line(self._model.device))
            if fast is not None:
                return load_with_loras(self._model, fast, self._loras, self._setup.shelf).transformer, vae
        self._setup.make_room()
        transformer = self._model.load_transformer()
        wear_for_good(transformer, self._loras)
        return transformer, vae

    def close(self) -> None:
        self._pipeline = None
        free_memory()
