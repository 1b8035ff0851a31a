"""A model folder as diffusers writes it: where it lies, where its parts run, and how one part is loaded."""

import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.kernels.table import try_ahead
from flenwheel_core.memory.card import GIB, free_memory, open_card
from flenwheel_core.memory.encoding import choose_encoder, encoding_gib
from flenwheel_core.memory.quantising import require_unquantised
from flenwheel_core.models.digests import folder_digest
from flenwheel_core.models.references import digest_memory
from flenwheel_core.models.shelf import files_as_they_are

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler

_ENCODERS = ("text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class ModelFolder:
    """A model on this machine; a family adds which classes its parts have."""

    folder: Path
    reference: str
    device: torch.device
    dtype: torch.dtype
    budget_gib: float | None = None
    """Video memory for tensors; None on a CPU."""
    digests: Path | None = None
    """Where this machine remembers what files of weights hash to."""

    @classmethod
    def find(cls, folder: Path, reference: str, settings: Settings) -> Self:
        """The model in `folder`, on the card of the settings: bfloat16 there, float32 on a CPU."""
        card = open_card(settings)
        if card is None:
            return cls(folder, reference, torch.device("cpu"), torch.float32, digests=digest_memory(settings))
        try_ahead(card.device)
        found = cls(folder, reference, card.device, torch.bfloat16, card.usable_gib, digest_memory(settings))
        found.hash_ahead(*(part for part in _ENCODERS if (folder / part).is_dir()))  # names what they read
        return found

    def revision(self, part: str) -> str:
        """Digest of a part's weights and configuration."""
        return folder_digest(self.folder / part, self.digests)

    def hash_ahead(self, *parts: str) -> None:
        """Begins to hash parts whose digests a long run will ask for, while it loads the others.

        On a CPU it would only take time from what it is to save time for.
        """
        if self.device.type == "cuda":
            threading.Thread(target=self._hash, args=parts, name="hashing", daemon=True).start()

    def _hash(self, *parts: str) -> None:
        with suppress(OSError, FlenwheelError):  # who needs the digest says what is wrong
            for part in parts:
                self.revision(part)

    def encoder_format(self, wanted: TextFormat = "bf16", *, memory_level: int = 0) -> TextFormat:
        """How the text encoders are read on this card: as wanted, but in NF4 where bfloat16 does not fit, or memory ran out before."""
        if self.budget_gib is None or wanted != "bf16":
            return wanted
        return choose_encoder(self.encoders_gib, self.budget_gib, memory_level)

    @property
    def encoders_gib(self) -> float:
        """Size of the text encoders, as they are on disk."""
        return encoders_gib(self.folder)

    def encoder_line(self, storage: TextFormat) -> str:
        """How the text encoders are read, for the line of a memory plan: they are on the card before what draws."""
        peak = encoding_gib(self.encoders_gib, "nf4" if storage == "nf4" else "bf16")
        return f"in {storage}, {peak:.1f} GiB before"

    def kept_as(self, *ways: Hashable) -> Hashable:
        """The name of this model's transformer on a shelf, loaded in these ways: its files, where it runs, and in which numbers."""
        files = files_as_they_are(self.folder / "transformer")
        return type(self).__name__, str(self.folder), files, str(self.device), self.dtype, ways

    def load_part(self, kind: Any, part: str, *, dtype: torch.dtype | None = None) -> Any:
        """A part of this class, frozen, on the CPU, in this model's dtype unless another is named."""
        loaded = kind.from_pretrained(
            self.folder / part, dtype=dtype or self.dtype, local_files_only=True, use_safetensors=True
        )
        return loaded.requires_grad_(False).eval()

    def load_quantised(self, kind: Any, part: str, storage: TextFormat, *, exact: Sequence[str] = ()) -> Any:
        """An encoder of transformers in int8 or NF4, on the card; the modules in `exact` stay as they are."""
        from transformers import BitsAndBytesConfig

        skipped: dict[str, Any] = {"llm_int8_skip_modules": list(exact)} if exact else {}
        if storage == "int8":
            config = BitsAndBytesConfig(load_in_8bit=True, **skipped)
        else:
            config = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=self.dtype, **skipped
            )
        encoder = kind.from_pretrained(
            self.folder / part,
            quantization_config=config,
            dtype=self.dtype,
            device_map={"": 0},
            local_files_only=True,
            use_safetensors=True,
        )
        require_unquantised(encoder, tuple(exact))
        return encoder

    @contextmanager
    def prompt_pipeline(self, kind: Any, quantised: Mapping[str, Any]) -> Iterator[Any]:
        """A pipeline of this class that can only encode prompts; its encoders leave the card afterwards.

        `quantised` are encoders that are loaded already, by their names in the pipeline.
        """
        pipeline = kind.from_pretrained(
            self.folder,
            transformer=None,
            vae=None,
            dtype=self.dtype,
            local_files_only=True,
            use_safetensors=True,
            **quantised,
        )
        pipeline.set_progress_bar_config(disable=True)
        names = [name for name in _ENCODERS if getattr(pipeline, name, None) is not None]
        for name in names:
            encoder = getattr(pipeline, name).requires_grad_(False).eval()
            if name not in quantised:
                encoder.to(self.device)
            del encoder  # this name would keep the last one on the card while memory is given back below
        try:
            yield pipeline
        finally:
            for name in names:
                setattr(pipeline, name, None)
            free_memory()

    def load_scheduler(self) -> "FlowMatchEulerDiscreteScheduler":
        """The schedule of noise levels that the model is drawn with."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        scheduler: FlowMatchEulerDiscreteScheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
            self.folder / "scheduler", local_files_only=True
        )
        return scheduler


def part_gib(folder: Path) -> float:
    """Size of the weights in a part's folder, as they are on disk: bfloat16 in every released model."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / GIB


def encoders_gib(folder: Path) -> float:
    """Size of a model's text encoders, as they are on disk."""
    return sum(part_gib(folder / part) for part in _ENCODERS)


def drawn_after_encoders(folder: Path, drawing: str, drawing_gib: float, usable_gib: float) -> tuple[str, float]:
    """What a stage that draws does with a card, and its peak: encoders read before, alone on it, and may need more than drawing."""
    size = encoders_gib(folder)
    storage = choose_encoder(size, usable_gib)
    peak = encoding_gib(size, storage)
    return f"{drawing}; encoder in {storage}, {peak:.1f} GiB before", max(drawing_gib, peak)
