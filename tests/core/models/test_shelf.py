"""A shelf holds one thing under its very name; what stands there is as if it had just been loaded."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from flenwheel_core.adapters.lora_file import LoraFile, lora_bytes
from flenwheel_core.adapters.lora_reading import WornLora, read_loras
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.models.flux1.adapter import load_with_loras as load_flux1
from flenwheel_core.models.flux1.adapter import put_on as put_on_flux1
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.lora_host import flux_host
from flenwheel_core.models.flux2.adapter import load_plain
from flenwheel_core.models.flux2.adapter import load_with_loras as load_flux2
from flenwheel_core.models.flux2.adapter import put_on as put_on_flux2
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.lora_host import flux2_host
from flenwheel_core.models.shelf import Shelf, files_as_they_are
from flenwheel_core.models.z_image.adapter import adapt as adapt_z_image
from flenwheel_core.models.z_image.adapter import load_with_loras as load_z_image
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.names import z_image_host
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.transformer.plan import FastPlan
from tests.kit import tiny_flux, tiny_klein, tiny_z_image

CPU = torch.device("cpu")
RECIPES = LoraRecipe(rank=4), LoraRecipe(rank=2, targets=("mlp",))
NF4 = FastPlan(storage="nf4", compile=False, cudnn=False)
Load = Callable[[tuple[WornLora, ...], Shelf | None], torch.nn.Module]


def test_another_name_clears_the_shelf_first() -> None:
    shelf, loaded = Shelf(), []

    def load(name: str) -> Callable[[], str]:
        return lambda: (loaded.append((name, shelf.is_empty)), name)[1]

    assert [shelf.take(name, load(name)) for name in ("a", "a", "b", "a")] == ["a", "a", "b", "a"]
    assert loaded == [("a", True), ("b", True), ("a", True)], "never two at once"
    shelf.clear()
    assert shelf.is_empty and shelf.take("a", load("a")) == "a" and len(loaded) == 4


def test_a_loading_that_fails_leaves_nothing() -> None:
    shelf = Shelf()

    def fail() -> str:
        raise RuntimeError("no memory")

    shelf.take("a", lambda: "a")
    with pytest.raises(RuntimeError):
        shelf.take("b", fail)
    assert shelf.is_empty


def test_a_file_that_was_replaced_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    before = files_as_they_are(tmp_path)
    assert files_as_they_are(tmp_path) == before
    (tmp_path / "weights").write_bytes(b"other")
    assert files_as_they_are(tmp_path) != before


def file_of(path: Path, adapted: AdaptedTransformer) -> LoraFile:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in adapted.parameters.items():
            if "lora_B" in name:
                parameter.normal_(generator=generator, std=0.1)
    path.write_bytes(lora_bytes(adapted.parameters, adapted, {}))
    return LoraFile(path, 0.8)


def flux1(place: Path) -> tuple[Load, tuple[tuple[WornLora, ...], ...]]:
    tiny_flux.tiny_transformer().save_pretrained(place / "transformer")
    model = FluxModel(place, "tiny", CPU, torch.float32)
    files = [
        file_of(place / f"{n}.safetensors", put_on_flux1(tiny_flux.tiny_transformer(), recipe, seed=n))
        for n, recipe in enumerate(RECIPES)
    ]
    worn = tuple(tuple(read_loras([file], flux_host(place))) for file in files)
    return lambda loras, shelf: load_flux1(model, NF4, loras, shelf).transformer, worn


def flux2(place: Path, *, plain: bool = False) -> tuple[Load, tuple[tuple[WornLora, ...], ...]]:
    tiny_klein.tiny_transformer().save_pretrained(place / "transformer")
    model = Flux2Model(place, "tiny", CPU, torch.float32)
    files = [
        file_of(place / f"{n}.safetensors", put_on_flux2(tiny_klein.tiny_transformer(), recipe, seed=n))
        for n, recipe in enumerate(RECIPES)
    ]
    worn = tuple(tuple(read_loras([file], flux2_host(place))) for file in files)
    if plain:
        return lambda loras, shelf: load_plain(model, loras, shelf), worn
    return lambda loras, shelf: load_flux2(model, NF4, loras, shelf).transformer, worn


def z_image(place: Path) -> tuple[Load, tuple[tuple[WornLora, ...], ...]]:
    tiny_z_image.tiny_transformer().save_pretrained(place / "transformer")
    model = ZImageModel(place, "tiny", CPU, torch.float32)
    files = [
        file_of(place / f"{n}.safetensors", adapt_z_image(model, recipe, None, seed=n))
        for n, recipe in enumerate(TrainingRecipe(lora=lora) for lora in RECIPES)
    ]
    worn = tuple(tuple(read_loras([file], z_image_host(place))) for file in files)
    return lambda loras, shelf: load_z_image(model, NF4, loras, shelf).transformer, worn


def z_inputs() -> dict[str, object]:
    generator = torch.Generator().manual_seed(1)
    parts = {"x": (tiny_z_image.CONFIG["in_channels"], 1, 4, 6), "cap_feats": (5, tiny_z_image.CONFIG["cap_feat_dim"])}
    return {name: [torch.randn(shape, generator=generator)] for name, shape in parts.items()} | {"t": torch.ones(1) / 2}


def tensor(drawn: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """Z-Image gives lists."""
    return drawn[0] if isinstance(drawn, list) else drawn


FAMILIES = {
    "flux1": (flux1, tiny_flux.tiny_inputs),
    "flux2": (flux2, tiny_klein.tiny_inputs),
    "flux2 in diffusers' own modules": (partial(flux2, plain=True), tiny_klein.tiny_inputs),
    "z_image": (z_image, z_inputs),
}


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_loras_are_changed_on_the_same_weights_and_every_bit_is_as_freshly_loaded(tmp_path: Path, family: str) -> None:
    build, given = FAMILIES[family]
    (load, (first, second)), inputs = build(tmp_path), given()
    shelf, drawn, kept = Shelf(), [], []
    for loras in (first, second, (), (*first, *second), first):
        fresh, shared = load(loras, None), load(loras, shelf)
        kept.append(shared)
        drawn.append(tensor(fresh(**inputs, return_dict=False)[0]))
        assert torch.equal(tensor(shared(**inputs, return_dict=False)[0]), drawn[-1])
    assert all(one is kept[0] for one in kept), "loaded once"
    assert torch.equal(drawn[0], drawn[4])
    assert len({float(one.sum()) for one in drawn[:4]}) == 4, "each LoRA changes what is computed"
