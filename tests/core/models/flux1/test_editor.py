"""Edits are those of diffusers' own FluxKontextPipeline, from the same tensors, in the shape of their source."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxKontextPipeline
from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS
from PIL import Image

from flenwheel_core.adapters.lora_file import LoraFile, lora_bytes
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.flux1.adapter import load_with_loras
from flenwheel_core.models.flux1.drawing import drawing_pipeline
from flenwheel_core.models.flux1.edit_sizes import preferred_placement, unstretched
from flenwheel_core.models.flux1.editor import KontextEditor, open_editor
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.protocols import EditJob, ModelSetup
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.plan import FastPlan
from tests.kit.character_runs import largest_difference
from tests.kit.tiny_editor import picture
from tests.kit.tiny_flux import trained

PROMPT = "make it smile"
SAMPLER = Sampler(steps=2, guidance=2.5, true_cfg=1.0, width=64, height=64)
MEGAPIXEL = 1024 * 1024


@pytest.fixture(scope="module")
def pipeline(kontext_folder: Path) -> FluxKontextPipeline:
    made = FluxKontextPipeline.from_pretrained(kontext_folder, dtype=torch.float32)
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


def edited(model: FluxModel, job: EditJob, folder: Path) -> tuple[Image.Image, list[dict[str, Any]]]:
    """The edit, and what the transformer was given for it."""
    editor = KontextEditor(model, TensorCache(folder / "cache"))
    list(editor.edit([EditJob("warm", "x", 1, job.sampler, job.images)]))
    assert editor._pipeline is not None
    with calls_of(editor._pipeline.transformer) as calls:
        (made,) = editor.edit([job])
    return made.image, calls


def asked(pipeline: FluxKontextPipeline, job: EditJob, size: tuple[int, int], **more: Any) -> Image.Image:
    image: Image.Image = pipeline(
        image=job.images[0],
        prompt=job.prompt,
        negative_prompt="" if job.sampler.true_cfg > 1 else None,
        true_cfg_scale=job.sampler.true_cfg,
        num_inference_steps=job.sampler.steps,
        guidance_scale=job.sampler.guidance,
        max_sequence_length=pipeline.tokenizer_2.model_max_length,
        width=size[0],
        height=size[1],
        generator=torch.Generator().manual_seed(job.seed),
        **more,
    ).images[0]
    return image


def compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], tolerance: float = 1e-5) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        for name in ("hidden_states", "timestep", "encoder_hidden_states", "pooled_projections", "output"):
            torch.testing.assert_close(one[name], other[name], atol=tolerance, rtol=1e-5)
        for name in ("img_ids", "txt_ids", "guidance"):
            assert torch.equal(one[name], other[name])


@pytest.mark.parametrize("true_cfg", [1.0, 3.0])
def test_an_edit_is_the_pipelines_own_call_by_call(
    kontext: FluxModel, pipeline: FluxKontextPipeline, tmp_path: Path, true_cfg: float
) -> None:
    job = EditJob("a", PROMPT, 7, SAMPLER.model_copy(update={"true_cfg": true_cfg}), (picture(64, 64, 3),))
    with calls_of(pipeline.transformer) as theirs:
        expected = asked(pipeline, job, (64, 64), max_area=64 * 64, _auto_resize=False)
    image, calls = edited(kontext, job, tmp_path)
    compare(calls, theirs)
    assert len(calls) == 2 * (1 + (true_cfg > 1))
    ids = calls[0]["img_ids"]
    assert ids[:, 0].tolist() == [0] * 16 + [1] * 16 and torch.equal(ids[:16, 1:], ids[16:, 1:])
    assert image.size == expected.size and largest_difference(image, expected) <= 1


def test_a_source_of_any_format_is_brought_to_the_format_that_the_pipeline_prefers(
    kontext: FluxModel, pipeline: FluxKontextPipeline, tmp_path: Path
) -> None:
    """At one megapixel, with the pipeline's own snapping; the edit then gets its source's shape again."""
    sampler = SAMPLER.model_copy(update={"steps": 1, "width": 1024, "height": 1024})
    job = EditJob("a", PROMPT, 7, sampler, (picture(400, 500, 3),))
    with calls_of(pipeline.transformer) as theirs:
        expected = asked(pipeline, job, (944, 1104), max_area=944 * 1104)
    image, calls = edited(kontext, job, tmp_path)
    compare(
        calls, theirs, tolerance=5e-3
    )  # the same pixels lie otherwise in memory, and the autoencoder sums in another order
    assert expected.size == (944, 1104) and image.size == (913, 1141)
    small = [one.resize((80, 100), Image.Resampling.BOX) for one in (image, expected)]
    assert largest_difference(*small) <= 30  # of 255, between two ways of scaling noise


@pytest.mark.parametrize("size", [(1024, 1024), (1500, 1000), (400, 500), (3000, 700), (10, 4000)])
def test_formats_are_the_nearest_preferred_one(size: tuple[int, int]) -> None:
    placement = preferred_placement(size, MEGAPIXEL)
    ratio = size[0] / size[1]
    nearest = min(PREFERRED_KONTEXT_RESOLUTIONS, key=lambda one: abs(ratio - one[0] / one[1]))
    assert (placement.width, placement.height) == nearest and placement.cropped_share == 0


def test_smaller_edits_have_the_same_format_in_whole_tokens() -> None:
    placement = preferred_placement((1500, 1000), 512 * 512)
    assert (placement.width, placement.height) == (624, 416)


@pytest.mark.parametrize(
    ("source", "drawn", "expected"),
    [
        ((400, 500), (944, 1104), (913, 1141)),  # made 7 % wider than the person is
        ((1500, 1000), (1248, 832), (1248, 832)),
        ((1501, 1003), (1248, 832), (1248, 832)),
    ],
)
def test_an_edit_gets_its_sources_shape_again(
    source: tuple[int, int], drawn: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert unstretched(source, drawn) == expected


def test_a_second_reference_is_refused_in_words_before_anything_loads(kontext: FluxModel, tmp_path: Path) -> None:
    editor = KontextEditor(kontext, TensorCache(tmp_path))
    with pytest.raises(InputError, match="edits one picture"):
        list(editor.edit([EditJob("a", PROMPT, 7, SAMPLER, (picture(64, 64, 1), picture(64, 64, 2)))]))
    assert editor.phases == ()


def test_edits_are_the_same_in_any_company_and_a_fixed_shift_changes_them(kontext: FluxModel, tmp_path: Path) -> None:
    jobs = [
        EditJob(str(number), PROMPT, number, SAMPLER, (picture(64, 64, 1),), shift=3.0 if number == 2 else None)
        for number in (1, 2, 1)
    ]
    first, shifted, again = (made.image for made in KontextEditor(kontext, TensorCache(tmp_path)).edit(jobs))
    assert first.tobytes() == again.tobytes()
    plain = EditJob("2", PROMPT, 2, SAMPLER, (picture(64, 64, 1),))
    (unshifted,) = KontextEditor(kontext, TensorCache(tmp_path)).edit([plain])
    assert unshifted.image.tobytes() != shifted.tobytes()


def test_a_lora_is_worn(kontext_folder: Path, settings: Settings, tmp_path: Path) -> None:
    adapted = trained(LoraRecipe(rank=4))
    (tmp_path / "lora.safetensors").write_bytes(lora_bytes(adapted.parameters, adapted, {}))
    made = []
    for weight in (0.0, 1.0):
        loras = (LoraFile(tmp_path / "lora.safetensors", weight),)
        with open_editor(kontext_folder, "tiny", settings, ModelSetup(loras=loras)) as editor:
            made += [one.image for one in editor.edit([EditJob("a", PROMPT, 7, SAMPLER, (picture(64, 64, 1),))])]
            assert editor.model == "tiny"
    assert largest_difference(*made) > 1


def test_the_fast_transformer_edits_the_same(kontext: FluxModel, tmp_path: Path) -> None:
    """As on a card, where the memory plan builds it: plain weights give the same picture, quantised ones one that is near."""
    job = EditJob("a", PROMPT, 7, SAMPLER, (picture(64, 64, 3),))
    expected, _ = edited(kontext, job, tmp_path)
    differences = []
    for storage in ("dense", "fp8"):
        plan = FastPlan(storage=storage, modulation=storage, compile=False, cudnn=False)  # type: ignore[arg-type]
        editor = KontextEditor(kontext, TensorCache(tmp_path / "cache"))
        fast = load_with_loras(kontext, plan, ()).transformer
        editor._pipeline = drawing_pipeline(FluxKontextPipeline, kontext, fast, kontext.load_vae())
        (made,) = editor.edit([job])
        differences.append(largest_difference(made.image, expected))
    assert differences[0] <= 1 and differences[1] <= 40
