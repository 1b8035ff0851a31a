"""LoRA files of others, damaged and of other kinds, for `first_contact`: what a recipe names, and what a stage is to wear."""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.system.first_contact import Answer, Door, Input, Room
from benchmarks.system.first_contact_commands import both, refused_in_words
from benchmarks.system.first_contact_recipes import judged
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import LoraUse, Sampler
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.flux1.lora_host import flux_host
from flenwheel_core.models.pinning import ROLES
from flenwheel_core.models.references import resolve_model
from flenwheel_core.recipes.loading import find_recipe
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.runner.worker import main as stage_worker
from flenwheel_core.store import Store

MODULES, RANK = 4, 2
REFUSED = 202
"""Exit code of a stage whose input will not do."""
Random = np.random.Generator
Tensors = dict[str, torch.Tensor]
FACTORS = (
    ("lora_A.weight", "lora_B.weight"),
    ("lora_down.weight", "lora_up.weight"),
    ("lora_A.default.weight", "lora_B.default.weight"),
    ("lora.down.weight", "lora.up.weight"),
)
PREFIXES = ("transformer.", "", "diffusion_model.", "base_model.model.", "lora_unet_", "lora_te1_", "nobody.")
FURTHER = (
    "alpha",
    "dora_scale",
    "lora_magnitude_vector",
    "lokr_w1",
    "hada_w1_a",
    "oft_blocks",
    "lora_mid.weight",
    "diff_b",
    "lora_B.bias",
    "what",
)
METADATA = (
    {"modelspec.architecture": "qwen-image-edit/lora"},
    {"ss_base_model_version": "sdxl_base_v1-0"},
    {"modelspec.architecture": "flux-1-dev/lora"},
    {"lora_adapter_metadata": "[" * 50_000},
    {"lora_adapter_metadata": '{"lora_alpha": 1e999, "r": 0}'},
    {"lora_adapter_metadata": '{"lora_alpha": 8, "alpha_pattern": {"(a+)+$": 1}}'},
    {"ss_tag_frequency": "{" * 200_000},
    {"\ud83d".encode("utf-8", "replace").decode(): "x"},
)
HEADERS: tuple[bytes, ...] = (
    b"[]",
    b"no json",
    b"[" * 200_000,
    b'{"a": 1}',
    b'{"__metadata__": []}',
    b'{"a": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 0]}}',
    b'{"a.lora_A.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 1600]}}',
    b'{"a": {"dtype": "Q9", "shape": [-1], "data_offsets": [4, 0]}}',
    b'{"a.lora_A.weight": {"dtype": "F32", "shape": [9223372036854775807, 2], "data_offsets": [0, 0]}}',
    b'{"a": {"shape": "x"}}',
    b"\xff\xfe",
    b"",
)


class Loras:
    """Files that end in .safetensors."""

    def inputs(self, count: int, seed: int) -> Sequence[Input]:
        groups = list(GROUPS.items())
        made = []
        for number in range(count):
            random = np.random.default_rng([seed, number])
            group, change = groups[number % len(groups)]
            made.append(Input("theirs.safetensors", group, change(random)))
        return made

    def doors(self, room: Room) -> Sequence[Door]:
        def lay(folder: Path, one: Input) -> Sequence[str]:
            (folder / one.name).write_bytes(one.data)
            text = find_recipe("nano").read_text()
            assert "[enrich]\n" in text
            named = f'[enrich]\nloras = [{{ file = "{one.name}" }}]\n'
            (folder / "mine.toml").write_text(text.replace("[enrich]\n", named, 1))
            return "recipe", "check", "mine.toml"

        return (*both(room, "flenwheel recipe check", lay, judged), Stage(room))


@dataclass
class Stage:
    """The stage that draws with a LoRA, by the entry that its process calls. Those that fit draw a picture, so it gets fewer."""

    room: Room
    name: str = "stage generate"
    every: int = 2

    def give(self, inputs: Sequence[Input]) -> Sequence[Answer]:
        return [self._one(number, one) for number, one in enumerate(inputs)]

    def _one(self, number: int, one: Input) -> Answer:
        folder = self.room.folder / "stage"
        folder.mkdir(exist_ok=True)
        request = GenerateRequest(
            character=CharacterRef(name="mira", trigger="ohwx_char", class_word="robot", kind="subject"),
            items=(GenerateItem(key="a", prompt="photo of ohwx_char robot", seed=number),),
            base="nano",
            loras=(LoraUse(digest=Store(self.room.settings.store_url).put_blob(one.data)),),
            sampler=Sampler(steps=1, guidance=1.0, width=64, height=64),
            turn=1,
        )
        given, made = folder / "request.json", folder / "result.json"
        given.write_bytes(request.to_bytes())
        made.unlink(missing_ok=True)
        done = self.room.here(lambda: stage_worker(["generate", str(given), str(made)]))
        if done is None:
            return Answer("hang")
        if "Traceback" in done.stdout or done.returncode not in (0, REFUSED):
            return Answer("traceback", f"exit code {done.returncode}: {done.stdout[-600:]}")
        if done.returncode == 0:
            return Answer("taken")
        said = json.loads(made.read_text())
        return Answer(
            "refused"
            if said["error"] and said["what"] and refused_in_words(f"error: {said['what']}")
            else "silent_drop"
        )


# what is written


def _names() -> list[tuple[str, tuple[int, int]]]:
    from flenwheel_core.base.settings import Settings

    linears = flux_host(resolve_model("nano", ROLES["base"], Settings())).linears
    return list(linears.items())


def _tensors(random: Random) -> Tensors:
    """A LoRA that fits the nano model, if its names are known ones."""
    known = _names()
    prefix = PREFIXES[int(random.choice(len(PREFIXES), p=[0.6, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05]))]
    down, up = FACTORS[int(random.choice(4, p=[0.7, 0.1, 0.1, 0.1]))]
    found: Tensors = {}
    for place in random.choice(len(known), size=MODULES, replace=False):
        name, (outputs, inputs) = known[int(place)]
        stem = prefix + (name.replace(".", "_") if prefix.startswith("lora_") else name)
        found[f"{stem}.{down}"] = torch.full((RANK, inputs), 0.01)
        found[f"{stem}.{up}"] = torch.full((outputs, RANK), 0.01)
    return found


def _whole(random: Random) -> bytes:
    return tensor_bytes(_tensors(random), None)


def _one_odd(random: Random) -> bytes:
    """A tensor that is missing, of another shape or kind of number, or holds no numbers."""
    tensors = _tensors(random)
    key = str(random.choice(list(tensors)))
    tensor = tensors[key]
    odd: tuple[torch.Tensor | None, ...] = (
        None,
        tensor * float("nan"),
        tensor * float("inf"),
        tensor.to(torch.int8),
        tensor[:, :1],
        tensor[:1],
        tensor.reshape(-1),
        torch.zeros(0, tensor.shape[1]),
        tensor.bool(),
        tensor.double() * 1e300,
        tensor.half(),
        tensor[..., None, None],
        torch.tensor(1.0),
    )
    chosen = odd[int(random.integers(0, len(odd)))]
    if chosen is None:
        del tensors[key]
    else:
        tensors[key] = chosen.contiguous()
    return tensor_bytes(tensors, None)


def _further_tensor(random: Random) -> bytes:
    tensors = _tensors(random)
    stem = next(iter(tensors)).split(".lora")[0]
    shapes = ((1,), (), (6,), (2, 2), (0,), (1, 1, 1))
    value = torch.full(
        shapes[int(random.integers(0, len(shapes)))], float(random.choice([1.0, 0.0, -1.0, float("nan"), 1e38]))
    )
    tensors[f"{stem}.{FURTHER[int(random.integers(0, len(FURTHER)))]}"] = value
    return tensor_bytes(tensors, None)


def _metadata(random: Random) -> bytes:
    return tensor_bytes(_tensors(random), METADATA[int(random.integers(0, len(METADATA)))])


def _odd_names(random: Random) -> bytes:
    tensors = _tensors(random)
    odd = (
        "",
        ".",
        "lora_A.weight",
        "é" * 500,
        "x" * 20_000,
        "\0",
        "../../x.lora_A.weight",
        "a.lora_A.weight",
        "transformer_blocks.99999.attn.to_q.lora_A.weight",
    )
    for _ in range(2):
        tensors[odd[int(random.integers(0, len(odd)))]] = torch.zeros(2, 2)
    return tensor_bytes(tensors, None)


def _header(random: Random) -> bytes:
    text = HEADERS[int(random.integers(0, len(HEADERS)))]
    sizes = (0, 1, 2**20, 2**40, 2**63, 2**64 - 1)
    size = len(text) if random.random() < 0.7 else sizes[int(random.integers(0, len(sizes)))]
    return struct.pack("<Q", size) + text + bytes(int(random.integers(0, 64)))


def _many_keys(random: Random) -> bytes:
    count = int(random.choice([3000, 25_000, 1_000_000], p=[0.6, 0.38, 0.02]))
    entry = b'":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    text = b"{" + b",".join(b'"k%d' % number + entry for number in range(count)) + b"}"
    return struct.pack("<Q", len(text)) + text


def _bytes_damaged(random: Random) -> bytes:
    data = bytearray(_whole(random))
    for place in random.integers(0, min(len(data), 3000), size=int(random.integers(1, 8))):
        data[place] ^= 1 << int(random.integers(0, 8))
    return bytes(data)


def _truncated(random: Random) -> bytes:
    data = _whole(random)
    return data[: int(random.integers(0, len(data)))]


def _no_safetensors(random: Random) -> bytes:
    kinds = (
        b"",
        b"PK\x03\x04" + bytes(200),
        b"\x80\x04." + bytes(50),
        b"version https://git-lfs.github.com/spec/v1\n",
        random.bytes(500),
        b"<!doctype html>",
    )
    return kinds[int(random.integers(0, len(kinds)))]


GROUPS: dict[str, Callable[[Random], bytes]] = {
    "whole": _whole,
    "one tensor odd": _one_odd,
    "further tensor": _further_tensor,
    "metadata": _metadata,
    "odd names": _odd_names,
    "odd header": _header,
    "many keys": _many_keys,
    "bytes damaged": _bytes_damaged,
    "truncated": _truncated,
    "no safetensors": _no_safetensors,
}
