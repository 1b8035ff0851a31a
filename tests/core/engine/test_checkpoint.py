import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import StoreError
from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.engine import checkpoint as module
from flenwheel_core.engine.checkpoint import Checkpoint, CheckpointFolder, optimizer_tensors, restore_optimizer
from flenwheel_core.engine.optimizers import make_optimizer
from flenwheel_core.engine.randomness import normal
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.recipes.train import TrainingRecipe


def at(step: int) -> Checkpoint:
    return Checkpoint(step, {"weight": torch.full((3,), float(step))}, {"losses": [[step, 0.5]]})


@pytest.mark.parametrize("name", ["adamw", "adafactor", "adamw8bit", "prodigy"])
def test_an_optimizer_goes_on_from_its_tensors(name: str) -> None:
    recipe = TrainingRecipe.model_validate({"optimizer": name, "learning_rate": 1.0 if name == "prodigy" else 0.01})

    def steps(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            ((weight - number) ** 2).mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    whole = torch.nn.Parameter(normal((96, 64), 0, "weight"))  # large enough for 8-bit state
    optimizer = make_optimizer(recipe, [whole])
    steps(whole, optimizer, range(3))
    half = torch.nn.Parameter(whole.detach().clone())
    tensors, facts = optimizer_tensors(optimizer)
    stored = {key: tensor.clone() for key, tensor in tensors.items()}
    again = make_optimizer(recipe, [half])
    restore_optimizer(again, stored, json.loads(json.dumps(facts)))
    steps(whole, optimizer, range(3, 6))
    steps(half, again, range(3, 6))
    assert torch.equal(half, whole)
    assert name != "adamw8bit" or any(tensor.dtype == torch.uint8 for tensor in stored.values())


def test_the_newest_readable_checkpoint_of_the_run_counts(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "run", keep=3)
    assert folder.latest() is None
    for step in (5, 10, 15, 20):
        folder.save(at(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{s:08d}.safetensors" for s in (10, 15, 20)]
    newest = tmp_path / "step-00000020.safetensors"
    newest.write_bytes(newest.read_bytes()[:-4])
    found = folder.latest()
    assert found is not None and found.step == 15 and found.facts == {"losses": [[15, 0.5]]}
    assert CheckpointFolder(tmp_path, "another run", keep=3).latest() is None


def test_an_interrupted_save_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path, "run", keep=1)
    folder.save(at(5))

    def torn(path: Path, parts: Iterable[bytes]) -> None:
        data = b"".join(parts)
        path.with_name("partial").write_bytes(data[: len(data) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "write_atomically", torn)
    with pytest.raises(OSError, match="no space"):
        folder.save(at(10))
    found = folder.latest()
    assert found is not None and found.step == 5


def test_a_disk_that_returns_other_bytes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path, "run", keep=1)
    folder.save(at(5))
    monkeypatch.setattr(
        module, "write_atomically", lambda path, parts: write_atomically(path, b"".join(parts)[:-1] + b"x")
    )
    with pytest.raises(StoreError, match="read back"):
        folder.save(at(10))
    found = folder.latest()
    assert found is not None and found.step == 5


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adafactor, torch.optim.SGD])
def test_optimizers_travel_without_pickle(kind: type[torch.optim.Optimizer]) -> None:
    def step(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> None:
        (weight**2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    first = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = kind([first], lr=0.1)  # type: ignore[call-arg]
    step(optimizer, first)
    tensors, facts = optimizer_tensors(optimizer)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    second = torch.nn.Parameter(first.detach().clone())
    other = kind([second], lr=0.1)  # type: ignore[call-arg]
    restore_optimizer(other, tensors, facts)
    for _ in range(3):
        step(optimizer, first)
        step(other, second)
    assert torch.equal(first, second)


def test_files_are_the_same_bytes_for_the_same_content_and_read_by_the_library(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.bfloat16), "c": torch.empty(0, 2)}
    metadata = {str(index): "x" * index for index in range(20)}
    data = tensor_bytes(tensors, metadata)
    assert data == tensor_bytes(dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    path = tmp_path / "x.safetensors"
    write_atomically(path, data)
    read, facts = read_tensors(path)
    assert facts == metadata
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_a_checkpoint_of_no_numbers_is_passed_over(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "run", keep=3)
    folder.save(at(5))
    for step, value in ((10, float("nan")), (15, float("inf"))):
        folder.save(
            Checkpoint(step, {"weight": torch.tensor([1.0, value]), "count": torch.tensor([1])}, {"losses": []})
        )
    found = folder.latest()
    assert found is not None and found.step == 5
