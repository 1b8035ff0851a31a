"""Drawing and editing give the pictures that diffusers' own Flux2KleinPipeline gives, from the same tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from PIL import Image

from flenwheel_core.adapters.lora_file import LoraFile, lora_bytes
from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.flux2.artist import KleinArtist, open_artist
from flenwheel_core.models.flux2.encoding import encode_prompts
from flenwheel_core.models.flux2.geometry import (
    decode_tokens,
    encode_pixels,
    pixels_of,
    reference_placement,
    source_placement,
)
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.memory import storage_of
from flenwheel_core.models.protocols import EditJob, GenerateJob, ModelSetup
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.tiny_editor import picture
from tests.kit.tiny_klein import trained

PROMPT = "photo of ohwx person, smiling"
SAMPLER = Sampler(steps=3, guidance=1.0, true_cfg=4.0, width=96, height=64)


@pytest.fixture(scope="module")
def pipeline(klein_folder: Path) -> Flux2KleinPipeline:
    return loaded(klein_folder)


def loaded(folder: Path) -> Flux2KleinPipeline:
    made = Flux2KleinPipeline.from_pretrained(folder, dtype=torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


@contextmanager
def calls_of(transformer: torch.nn.Module) -> Iterator[list[dict[str, Any]]]:
    """What a transformer is given and gives, call by call."""
    seen: list[dict[str, Any]] = []
    handle = transformer.register_forward_hook(
        lambda module, args, kwargs, output: seen.append({**kwargs, "output": output[0]}), with_kwargs=True
    )
    try:
        yield seen
    finally:
        handle.remove()


def compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Every call of the transformer was given the same tensors, and gave the same."""
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        for name in ("hidden_states", "timestep", "encoder_hidden_states", "output"):
            torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-5)
        for name in ("img_ids", "txt_ids"):
            assert torch.equal(one[name], other[name][0])
        assert one.get("guidance") is None and other["guidance"] is None


def asked(pipeline: Flux2KleinPipeline, job: GenerateJob | EditJob, **more: Any) -> Image.Image:
    sampler = job.sampler
    return pipeline(
        prompt=job.prompt,
        num_inference_steps=sampler.steps,
        guidance_scale=sampler.true_cfg,
        generator=torch.Generator().manual_seed(job.seed),
        **more,
    ).images[0]


def artist(model: Flux2Model, tmp_path: Path) -> KleinArtist:
    return KleinArtist(model, TensorCache(tmp_path / "cache"))


def same_picture(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and bool(
        np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max() <= 1
    )


@pytest.mark.parametrize("true_cfg", [1.0, 4.0])
def test_a_picture_is_the_pipelines_own_call_by_call(
    model: Flux2Model, pipeline: Flux2KleinPipeline, tmp_path: Path, true_cfg: float
) -> None:
    job = GenerateJob("a", PROMPT, 7, SAMPLER.model_copy(update={"true_cfg": true_cfg}))
    with calls_of(pipeline.transformer) as theirs:
        expected = asked(pipeline, job, width=96, height=64)
    ours = artist(model, tmp_path)
    list(ours.generate([GenerateJob("warm", PROMPT, 1, job.sampler)]))
    assert ours._parts is not None
    with calls_of(ours._parts.transformer) as calls:
        (made,) = ours.generate([job])
    compare(calls, theirs)
    assert len(calls) == 3 * (1 + (true_cfg > 1))
    assert same_picture(made.image, expected) and np.asarray(made.image).std() > 3


def test_a_distilled_model_draws_without_guidance(distilled_folder: Path, settings: Settings) -> None:
    job = GenerateJob("a", PROMPT, 7, SAMPLER)
    expected = asked(loaded(distilled_folder), job, width=96, height=64)
    with open_artist(distilled_folder, "tiny", settings) as generator:
        (made,) = generator.generate([job])
    assert same_picture(made.image, expected)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_an_edit_of_several_references_is_the_pipelines_own(
    model: Flux2Model, pipeline: Flux2KleinPipeline, tmp_path: Path, count: int
) -> None:
    """The source has as many pixels as are asked for, and 100 x 84 are no whole tokens: it is cut, as the pipeline cuts it."""
    images = [picture(100, 84, 1), picture(64, 80, 2), picture(70, 70, 3), picture(64, 64, 4)][:count]
    job = EditJob(
        "a", "make it smile", 5, Sampler(steps=2, guidance=1.0, true_cfg=4.0, width=100, height=84), tuple(images)
    )
    with calls_of(pipeline.transformer) as theirs:
        expected = asked(pipeline, job, image=images)
    ours = artist(model, tmp_path)
    list(ours.edit([EditJob("warm", "x", 1, job.sampler, job.images)]))
    assert ours._parts is not None
    with calls_of(ours._parts.transformer) as calls:
        (made,) = ours.edit([job])
    compare(calls, theirs)
    assert sorted(set(calls[0]["img_ids"][:, 0].tolist())) == [10 * time for time in range(count + 1)]
    assert made.image.size == (96, 80) and same_picture(made.image, expected)


def test_one_loaded_model_draws_and_edits(model: Flux2Model, tmp_path: Path) -> None:
    both = artist(model, tmp_path)
    (drawn,) = both.generate([GenerateJob("a", PROMPT, 7, SAMPLER)])
    parts = both._parts
    (edited,) = both.edit([EditJob("b", PROMPT, 7, SAMPLER, (picture(96, 64, 1),))])
    assert both._parts is parts and parts is not None
    assert not same_picture(drawn.image, edited.image)
    assert [phase.name for phase in both.phases].count("loading") == 1


def test_a_seed_means_the_same_picture_in_any_company(model: Flux2Model, tmp_path: Path) -> None:
    jobs = [GenerateJob(str(seed), PROMPT, seed, SAMPLER) for seed in (1, 2)]
    first = artist(model, tmp_path)
    alone = [next(iter(first.generate([job]))).image for job in reversed(jobs)][::-1]
    together = [made.image for made in artist(model, tmp_path).generate(jobs)]
    assert [one.tobytes() for one in alone] == [one.tobytes() for one in together]
    assert alone[0].tobytes() != alone[1].tobytes()


def test_prompts_are_the_pipelines_and_are_kept(
    model: Flux2Model, pipeline: Flux2KleinPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TensorCache(tmp_path / "cache")
    made = encode_prompts(model, [PROMPT, "", PROMPT], cache=cache)
    for text, hidden in made.items():
        assert torch.equal(hidden, pipeline.encode_prompt(text)[0][0])
    assert made[PROMPT].shape == (512, 24) and not torch.allclose(made[PROMPT], made[""])
    monkeypatch.setattr(Flux2Model, "text_encoder", None)
    again = encode_prompts(model, [PROMPT], cache=cache)
    assert torch.equal(again[PROMPT], made[PROMPT])


def test_latents_are_the_pipelines_and_decode_again(pipeline: Flux2KleinPipeline) -> None:
    placement = source_placement((96, 64), 96 * 64)
    pixels = pixels_of(picture(96, 64, 3), placement)
    given = pipeline.image_processor.preprocess(picture(96, 64, 3), height=64, width=96, resize_mode="crop")
    assert torch.equal(pixels, given)
    latents = pipeline._encode_vae_image(given, generator=None)
    tokens = encode_pixels(pipeline.vae, pixels)
    torch.testing.assert_close(tokens, pipeline._pack_latents(latents))
    back = pipeline.vae.decode(pipeline.vae.encode(pixels).latent_dist.mode(), return_dict=False)[0]
    torch.testing.assert_close(decode_tokens(pipeline.vae, tokens, (96, 64)), back, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(1500, 1100), (1024, 1024), (2000, 700)])
def test_large_pictures_are_made_smaller_as_the_pipeline_does(size: tuple[int, int]) -> None:
    image = picture(*size, 1)
    theirs = image if size == (1024, 1024) else Flux2ImageProcessor._resize_to_target_area(image, 1024 * 1024)
    whole = theirs.width // 16 * 16, theirs.height // 16 * 16
    expected = Flux2ImageProcessor(vae_scale_factor=16).preprocess(
        theirs, height=whole[1], width=whole[0], resize_mode="crop"
    )
    for placement in (source_placement(size, 1024 * 1024), reference_placement(size, 1024 * 1024)):
        assert torch.equal(pixels_of(image, placement), expected)


def test_a_small_source_grows_and_a_small_reference_does_not() -> None:
    source, reference = source_placement((300, 200), 1024 * 1024), reference_placement((300, 200), 1024 * 1024)
    assert (source.width, source.height) == (1248, 832)
    assert (reference.width, reference.height, reference.scaled) == (288, 192, (300, 200))


def test_a_few_step_schedule_is_shifted_as_asked(model: Flux2Model, tmp_path: Path) -> None:
    edits = [EditJob("a", PROMPT, 7, SAMPLER, (picture(96, 64, 1),), shift=shift) for shift in (None, 3.0)]
    own, fixed = (made.image for made in artist(model, tmp_path).edit(edits))
    assert not same_picture(own, fixed)


def test_a_lora_is_worn_while_drawing_and_editing(klein_folder: Path, settings: Settings, tmp_path: Path) -> None:
    adapted = trained(LoraRecipe(rank=4))
    (tmp_path / "lora.safetensors").write_bytes(lora_bytes(adapted.parameters, adapted, {}))
    pictures = {}
    for weight in (0.0, 1.0):
        loras = (LoraFile(tmp_path / "lora.safetensors", weight),)
        with open_artist(klein_folder, "tiny", settings, ModelSetup(loras=loras)) as both:
            (drawn,) = both.generate([GenerateJob("a", PROMPT, 7, SAMPLER)])
            (edited,) = both.edit([EditJob("b", PROMPT, 7, SAMPLER, (picture(96, 64, 1),))])
            pictures[weight] = drawn.image, edited.image
    assert not any(same_picture(one, other) for one, other in zip(pictures[0.0], pictures[1.0], strict=True))


def test_a_lora_that_does_not_fit_is_refused_before_anything_loads(model: Flux2Model, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(tensor_bytes({"nothing.lora_A.weight": torch.zeros(2, 2)}))
    with pytest.raises(InputError, match=r"x\.safetensors cannot be used"):
        KleinArtist(model, TensorCache(tmp_path), ModelSetup(loras=(LoraFile(tmp_path / "x.safetensors", 1.0),)))


def test_a_storage_that_it_has_not_is_refused_in_words() -> None:
    with pytest.raises(RecipeError, match=r"FLUX\.2 has no int8 weights"):
        storage_of("int8")
