"""A LoRA file at another strength: the strength goes into its numbers, so that every program draws it right at 1."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.choices import State
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.store import Store

_B = ".lora_B."
_MAGNITUDE = "lora_magnitude_vector"
_HASH = "modelspec.hash_sha256"


def at_strength(lora: bytes, strength: float) -> bytes:
    """The same LoRA, that at weight 1 draws what it drew at `strength`; 1 gives the file as it is. The same input gives the same bytes.

    `lora` is a file as `lora_bytes` writes it. Raises InputError for a DoRA: its strength is no factor of its numbers.
    """
    if strength == 1:
        return lora
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lora.safetensors"
        path.write_bytes(lora)
        tensors, metadata = read_tensors(path)
    if any(_MAGNITUDE in name for name in tensors):
        raise InputError(
            "A DoRA cannot be kept at another strength.",
            why="its magnitudes do not grow with it.",
            remedy="Set choice.strengths = [1.0], or train.lora.dora = false.",
        )
    scaled = {
        name: (tensor.float() * strength).to(tensor.dtype) if _B in name else tensor for name, tensor in tensors.items()
    }
    earlier = float(json.loads(metadata.get("flenwheel.strength", "1")))
    facts = {**metadata, "flenwheel.strength": f"{earlier * strength:g}"}
    if _HASH in facts:
        facts[_HASH] = "0x" + digest_bytes(tensor_bytes(scaled))
    return tensor_bytes(scaled, facts)


def lora_at(lora: LoraRecord, state: State, store: Store) -> LoraRecord:
    """The record of a state of a training as a LoRA of its own; its file is in the store. Raises InputError as `at_strength` does."""
    if (state.lora, state.strength) == (lora.digest, 1):
        return lora
    digest = store.put_blob(at_strength(store.get_blob(state.lora), state.strength))
    return lora.model_copy(update={"digest": digest, "steps": state.step, "strength": state.strength})
