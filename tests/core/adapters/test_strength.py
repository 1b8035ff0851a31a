"""A LoRA file at another strength draws what the file drew at that strength."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.adapters.strength import at_strength, lora_at
from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.choices import State
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.store import Store


def lora(dora: bool = False) -> bytes:
    tensors = {
        "transformer.block.lora_A.weight": torch.arange(6.0).reshape(2, 3),
        "transformer.block.lora_B.weight": torch.arange(8.0).reshape(4, 2),
    }
    if dora:
        tensors["transformer.block.lora_magnitude_vector"] = torch.ones(4)
    facts = {"lora_adapter_metadata": json.dumps({"r": 2}), "modelspec.hash_sha256": "0x0"}
    return tensor_bytes(tensors, facts)


def test_the_change_of_each_weight_grows_with_the_strength_and_the_file_says_so() -> None:
    made = at_strength(lora(), 0.8)
    before, after = load(lora()), load(made)
    change = {
        name: found["transformer.block.lora_B.weight"] @ found["transformer.block.lora_A.weight"]
        for name, found in (("before", before), ("after", after))
    }
    assert torch.allclose(change["after"], 0.8 * change["before"])
    facts = file_metadata(made)
    assert facts["flenwheel.strength"] == "0.8" and facts["modelspec.hash_sha256"] not in ("0x0", "")
    assert at_strength(lora(), 0.8) == made and at_strength(lora(), 1) == lora()
    assert file_metadata(at_strength(made, 0.5))["flenwheel.strength"] == "0.4"


def test_a_dora_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match="DoRA") as caught:
        at_strength(lora(dora=True), 0.8)
    assert "choice.strengths" in caught.value.remedy


def test_the_record_of_a_state_names_its_step_strength_and_file(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    last, early = store.put_blob(lora()), store.put_blob(lora() + b"")
    record = LoraRecord(
        digest=last, name="mira-t1-v1", target="generator", base_model="nano", trigger="t", class_word="person", rank=2,
        alpha=2, steps=400, images=9, dataset="d" * 64, request="e" * 64,
    )  # fmt: skip
    assert lora_at(record, State(step=400, strength=1.0, lora=last), store) == record
    made = lora_at(record, State(step=200, strength=1.2, lora=early), store)
    assert (made.steps, made.strength, made.name, made.request) == (200, 1.2, record.name, record.request)
    assert store.get_blob(made.digest) == at_strength(lora(), 1.2)
