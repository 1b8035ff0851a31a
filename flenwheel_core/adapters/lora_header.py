"""The header of a LoRA file: names, shapes and what it says of itself, read before any weights. Bounded in size and in time.

LoRA files come from many trainers, and from strangers. What is no plain low-rank adapter is refused here, in one sentence.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flenwheel_core.base.errors import InputError

LARGEST_HEADER = 16 << 20
LONGEST_NAME = 1_000
MOST_TENSORS = 20_000
"""The largest LoRA of a 60-block model has about 5,000, with alphas."""

_BEGINNING_BYTES = 64
_ELSE: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself: `git lfs pull` brings it."),
    (b"<!doctype html", "it is a web page that was saved in the file's place."),
    (b"<html", "it is a web page that was saved in the file's place."),
    (b"gguf", "it is a GGUF file; LoRAs are read from safetensors files."),
    (b"pk\x03\x04", "it is a pickle or an archive; pickles are never loaded, only safetensors files are."),
    (b"\x80", "it is a pickle; pickles are never loaded, only safetensors files are."),
)
"""What people have in the place of a LoRA, by how it begins in small letters."""
_FACTOR = re.compile(
    r"^(?P<module>.+?)(?:\.lora)?[._](?P<factor>lora_A|lora_B|lora_down|lora_up|down|up)(?:\.(?!bias$|weight$)[^.]+)?\.weight$"
)
_MAGNITUDE = re.compile(r"^(?P<module>.+)\.(?:dora_scale|lora_magnitude_vector)(?:\.(?!weight$)[^.]+)?(?:\.weight)?$")
_TEXT_ENCODER = re.compile(r"^(?:base_model\.model\.)?(?:lora_te|text_encoder|te\d?\.|conditioner\.|clip_|t5)")
_OTHER_KINDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\.lokr_"), "a LoKr (Kronecker factors)"),
    (re.compile(r"\.hada_"), "a LoHa (Hadamard factors)"),
    (re.compile(r"[._](?:b?oft|oft_blocks|oft_diag)(?:[._]|$)"), "an OFT (rotations)"),
    (re.compile(r"\.(?:a1|a2|b1|b2)\.weight$"), "a GLoRA"),
    (re.compile(r"\.(?:lora_mid|cp_mid|t1|t2)(?:\.|$)"), "a Tucker decomposition"),
    (re.compile(r"\.(?:diff|diff_b|set_weight|reshape_weight|w_norm|b_norm)$"), "changed weights besides a LoRA"),
    (re.compile(r"\.(?:ia3_l|vera_lambda_[bd])(?:\.|$)"), "an IA3 or VeRA"),
    (re.compile(r"\.(?:lora_[AB](?:\.[^.]+)?|lora_up|lora_down)\.bias$"), "a LoRA with biases"),
)
_FACTORS = {"lora_A": "a", "lora_down": "a", "down": "a", "lora_B": "b", "lora_up": "b", "up": "b"}
_FAMILIES: tuple[tuple[str, str], ...] = (
    ("flux2", "FLUX.2"),
    ("flux1", "FLUX.1"),
    ("flux", "FLUX.1"),
    ("qwenimage", "Qwen-Image"),
    ("qwen25vl", "Qwen-VL"),
    ("qwen3vl", "Qwen-VL"),
    ("stablediffusionxl", "Stable Diffusion XL"),
    ("sdxl", "Stable Diffusion XL"),
    ("pony", "Stable Diffusion XL"),
    ("stablediffusion", "Stable Diffusion"),
    ("sd1", "Stable Diffusion"),
    ("sd2", "Stable Diffusion"),
    ("sd3", "Stable Diffusion 3"),
    ("sdv", "Stable Diffusion"),
    ("zimage", "Z-Image"),
    ("wan", "Wan"),
    ("hunyuan", "Hunyuan"),
    ("ltx", "LTX"),
    ("chroma", "Chroma"),
    ("hidream", "HiDream"),
    ("lumina", "Lumina"),
    ("pixart", "PixArt"),
    ("cosmos", "Cosmos"),
    ("kolors", "Kolors"),
    ("auraflow", "AuraFlow"),
)
"""How the names that trainers write begin, letters and digits only."""


@dataclass(frozen=True)
class LoraHeader:
    """What a LoRA file holds, by its header."""

    name: str
    tensors: Mapping[str, Mapping[str, str]]
    """The tensors' names by module and factor: `a`, `b`, `alpha`, `magnitude`. Modules as the file names them."""
    text_encoder: int
    """Tensors for text encoders, which are left out."""
    adapter: Mapping[str, object]
    """PEFT's configuration, where the file carries one."""
    family: str | None
    """The model family that the file says it was trained for; None if it does not say, or in words that are not known."""


def read_header(path: Path) -> LoraHeader:
    """Reads and judges a header. Raises InputError for what is no plain LoRA: other adapters, half a matrix, a damaged file."""
    shapes, metadata = _header(path)
    modules: dict[str, dict[str, str]] = {}
    text_encoder = 0
    for name, shape in shapes.items():
        if _TEXT_ENCODER.match(name):
            text_encoder += 1
            continue
        module, factor = _place(name, path)
        if factor in ("a", "b") and (len(shape) != 2 or not all(shape)):
            raise refused(path.name, f"{name[:200]} is no matrix: its shape is {shape}.")
        factors = modules.setdefault(module, {})
        if factor in factors:
            raise refused(path.name, f"it names {module[:200]} twice.")
        factors[factor] = name
    if not modules:
        why = "it holds weights for text encoders only." if text_encoder else "it holds no weights."
        raise refused(path.name, why)
    for module, factors in modules.items():
        if "a" not in factors or "b" not in factors:
            half = "A (lora_down)" if "a" not in factors else "B (lora_up)"
            raise refused(path.name, f"the matrix {half} of {module[:200]} is missing.")
        rank, other = shapes[factors["a"]][0], shapes[factors["b"]][1]
        if rank != other:
            raise refused(path.name, f"the two matrices of {module[:200]} have the ranks {rank} and {other}.")
    return LoraHeader(path.name, modules, text_encoder, _adapter(metadata, path), stated_family(metadata))


def stated_family(metadata: Mapping[str, str]) -> str | None:
    """The family in a file's own words (`modelspec.architecture`, kohya's `ss_base_model_version`)."""
    for key in ("modelspec.architecture", "ss_base_model_version"):
        word = re.sub(r"[^a-z0-9]", "", metadata.get(key, "").lower()[:200])
        for beginning, family in _FAMILIES:
            if beginning == "flux" and word[len(beginning) : len(beginning) + 1].isdigit():
                continue  # a later one: not the first, which some files call by the bare name
            if word.startswith(beginning):
                return family
    return None


def refused(name: str, why: str, remedy: str = "Check that it is a LoRA, and of this model.") -> InputError:
    """The one way a LoRA file is refused."""
    return InputError(f"{name} cannot be used as a LoRA.", why=why, remedy=remedy)


def _what_else(begin: bytes) -> str:
    """A sentence about a file that is no safetensors file, by how it begins."""
    start = begin.lstrip().lower()
    return next((said for mark, said in _ELSE if start.startswith(mark)), "it is no safetensors file.")


def _header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(_BEGINNING_BYTES)
            length = int.from_bytes(begin[:8], "little")
            if length > size - 8 or length < 2:
                raise refused(path.name, _what_else(begin))
            if length > LARGEST_HEADER:
                raise refused(path.name, f"its header alone is {length / 2**20:.0f} MiB.")
            file.seek(8)
            content = json.loads(file.read(length))
    except OSError as error:
        raise refused(path.name, f"it cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise refused(path.name, "it is no safetensors file.") from error
    metadata = content.pop("__metadata__", None) or {} if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise refused(path.name, "its header is not what safetensors writes.")
    if len(content) > MOST_TENSORS:
        raise refused(
            path.name, f"it holds {len(content)} tensors; no LoRA of a model here has more than {MOST_TENSORS}."
        )
    shapes, end = {}, 0
    for name, entry in content.items():
        try:
            shapes[name] = tuple(int(side) for side in entry["shape"])
            end = max(end, int(entry["data_offsets"][1]))
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise refused(path.name, "its header is not what safetensors writes.") from error
    if 8 + length + end != size:
        raise refused(path.name, "it is damaged: it is not as long as its header says.")
    return shapes, metadata


def _place(name: str, path: Path) -> tuple[str, str]:
    """The module that a tensor belongs to, in the file's words, and which part of its adapter it is."""
    if len(name) > LONGEST_NAME:
        raise refused(path.name, f"a tensor's name has {len(name)} letters.")
    if name.endswith(".alpha"):
        return name.removesuffix(".alpha"), "alpha"
    for pattern, kind in _OTHER_KINDS:
        if pattern.search(name):
            raise refused(
                path.name, f"it is {kind}: {name[:200]}.", "Only LoRA and DoRA can be worn; convert or retrain it."
            )
    found = _FACTOR.match(name)
    if found is not None:
        return found["module"], _FACTORS[found["factor"]]
    found = _MAGNITUDE.match(name)
    if found is not None:
        return found["module"], "magnitude"
    raise refused(path.name, f"{name[:200]} is no part of a LoRA.")


def _adapter(metadata: Mapping[str, str], path: Path) -> dict[str, object]:
    """PEFT's configuration, without the prefix that diffusers writes before its keys."""
    text = metadata.get("lora_adapter_metadata")
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise refused(path.name, "its lora_adapter_metadata is no JSON table.")
    plain = {key.rpartition("transformer.")[2]: value for key, value in content.items()}
    if plain.get("lora_bias"):
        raise refused(path.name, "it is a LoRA with biases.")
    return plain


def file_metadata(data: bytes) -> dict[str, str]:
    """What a LoRA file of our own trainers says of itself; empty where it says nothing."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return found
