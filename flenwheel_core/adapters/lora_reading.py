"""The one door for LoRA files: what a model's linears can wear, exactly, or one sentence that says why not, before the model loads.

A family gives its linears and the names that other trainers have for them; everything else is the same for all families.
"""

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_header import LoraHeader, read_header, refused
from flenwheel_core.base.errors import first_line

_PREFIXES = re.compile(
    r"^(?:base_model\.model\.|transformer\.|model\.diffusion_model\.|diffusion_model\.|unet\.|lora_unet_|lora_transformer_|lycoris_)+"
)
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LowRank:
    """The change of one linear: B A, float32, the scale in B; and the magnitudes of a DoRA."""

    a: torch.Tensor
    """(rank, inputs)"""
    b: torch.Tensor
    """(outputs, rank)"""
    magnitude: torch.Tensor | None = None
    """(outputs)"""


@dataclass(frozen=True)
class WornLora:
    """A LoRA that fits the model, by module name, and the weight it is worn with."""

    name: str
    modules: Mapping[str, LowRank]
    weight: float

    @property
    def is_dora(self) -> bool:
        return any(change.magnitude is not None for change in self.modules.values())


def adapter_weights(loras: "Sequence[WornLora]") -> int:
    """How many weights LoRAs have, for a plan of the card's memory."""
    return sum(change.a.numel() + change.b.numel() for lora in loras for change in lora.modules.values())


@dataclass(frozen=True)
class LoraHost:
    """What can wear a LoRA: a family, the linears of its transformer, and what others call them."""

    family: str
    linears: Mapping[str, tuple[int, int]]
    """Outputs and inputs of each linear by its name in diffusers."""
    fused: Mapping[str, tuple[str, ...]]
    """Names of other layouts, written with underscores, and the linears they stand for: their rows, one below the other."""

    def places(self) -> dict[str, tuple[str, ...]]:
        """The linears that a name of any layout stands for, underscores for dots."""
        return {**self.fused, **{name.replace(".", "_"): (name,) for name in self.linears}}


def read_loras(files: Sequence[LoraFile], host: LoraHost) -> tuple[WornLora, ...]:
    """The LoRAs in some files. Raises InputError in one sentence for the first that does not fit; nothing of the model is loaded."""
    headers = [read_header(file.path) for file in files]
    return tuple(_read(file, header, host) for file, header in zip(files, headers, strict=True))


def _read(file: LoraFile, header: LoraHeader, host: LoraHost) -> WornLora:
    if header.family not in (None, host.family):
        raise refused(header.name, f"it says of itself that it is for {header.family}; this model is {host.family}.")
    placed = _placed(header, host)
    if header.text_encoder:
        _log.info("%s: its %d tensors for text encoders are left out", header.name, header.text_encoder)
    modules: dict[str, LowRank] = {}
    try:
        with safe_open(file.path, framework="pt") as opened:
            for stem, names in placed.items():
                tensors = {factor: opened.get_tensor(key) for factor, key in header.tensors[stem].items()}
                for name, change in _changes(stem, names, tensors, header, host).items():
                    if name in modules:
                        raise refused(header.name, f"it changes {name} twice.")
                    modules[name] = change
    except (SafetensorError, OSError) as error:
        raise refused(header.name, f"it cannot be read: {first_line(error)}.") from error
    worn = WornLora(header.name, modules, file.weight)
    if worn.is_dora and any(change.magnitude is None for change in modules.values()):
        raise refused(header.name, "it is a DoRA, and some of its modules have no magnitudes.")
    return worn


def _placed(header: LoraHeader, host: LoraHost) -> dict[str, tuple[str, ...]]:
    """The linears that each of a file's modules stands for; refuses names that the model does not have."""
    places = host.places()
    placed, strange = {}, []
    for stem in header.tensors:
        found = places.get(_PREFIXES.sub("", stem).replace(".", "_"))
        if found is None:
            strange.append(stem)
        else:
            placed[stem] = found
    if strange:
        raise refused(
            header.name,
            f"{len(strange)} of its {len(header.tensors)} modules are not in this model ({host.family}), such as {strange[0][:200]}.",
        )
    return placed


def _changes(
    stem: str, names: tuple[str, ...], tensors: Mapping[str, torch.Tensor], header: LoraHeader, host: LoraHost
) -> dict[str, LowRank]:
    """What a module of the file changes in each of the linears that it stands for."""
    for factor, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise refused(header.name, f"{factor} of {stem[:200]} is {tensor.dtype}, no floating-point numbers.")
    values = {factor: tensor.float() for factor, tensor in tensors.items()}
    if not all(bool(torch.isfinite(value).all()) for value in values.values()):
        raise refused(
            header.name, f"{stem[:200]} holds numbers that are not finite.", "Take an earlier checkpoint of it."
        )
    a, b = values["a"], values["b"]
    outputs = [host.linears[name][0] for name in names]
    wanted = (sum(outputs), host.linears[names[0]][1])
    if (b.shape[0], a.shape[1]) != wanted:
        shape = f"{b.shape[0]} x {a.shape[1]}"
        raise refused(header.name, f"{stem[:200]} is {shape}, and this model's is {wanted[0]} x {wanted[1]}.")
    b = b * _scale(stem, names, a.shape[0], values.get("alpha"), header)
    magnitude = _magnitude(stem, values.get("magnitude"), wanted, header)
    parts = torch.split(b, outputs)
    magnitudes = [None] * len(names) if magnitude is None else torch.split(magnitude, outputs)
    return {
        name: LowRank(a, part.contiguous(), rows)
        for name, part, rows in zip(names, parts, magnitudes, strict=True)
        if len(names) == 1 or rows is not None or bool(part.any())
    }


def _magnitude(
    stem: str, given: torch.Tensor | None, shape: tuple[int, int], header: LoraHeader
) -> torch.Tensor | None:
    if given is None:
        return None
    if given.numel() != shape[0] or given.ndim not in (1, 2) or given.shape[0] != shape[0]:
        raise refused(
            header.name,
            f"the magnitudes of {stem[:200]} are {tuple(given.shape)}; one for each of {shape[0]} outputs is known.",
        )
    return given.reshape(-1)


def _scale(stem: str, names: Sequence[str], rank: int, alpha: torch.Tensor | None, header: LoraHeader) -> float:
    """The factor on B A: alpha / rank of the file (rsLoRA: alpha / sqrt(rank)); 1 where it says nothing."""
    if alpha is not None:
        if alpha.numel() != 1:
            raise refused(header.name, f"the alpha of {stem[:200]} is no single number.")
        return float(alpha) / rank
    chosen = header.adapter.get("lora_alpha")
    if chosen is None:
        return 1.0
    patterns = header.adapter.get("alpha_pattern") or {}
    divisor = math.sqrt(rank) if header.adapter.get("use_rslora") else rank
    try:
        literal = {_literal(pattern): float(value) for pattern, value in patterns.items()}  # type: ignore[attr-defined]
        return next((literal[end] for end in _endings(names[0]) if end in literal), float(str(chosen))) / divisor
    except (AttributeError, TypeError, ValueError) as error:
        raise refused(
            header.name, "its alphas (lora_alpha, alpha_pattern) are not what PEFT writes for names."
        ) from error


def _literal(pattern: str) -> str:
    """The name that PEFT's pattern stands for. Patterns that match many are not followed: they come from strangers."""
    name = pattern.removeprefix("^").replace("\\.", ".").removesuffix("$")
    if not re.fullmatch(r"[\w.]+", name):
        raise ValueError(pattern)
    return name


def _endings(name: str) -> Iterable[str]:
    """The name and what is left of it after each dot: PEFT's patterns match from any dot on."""
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))
