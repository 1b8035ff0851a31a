"""Every tensor the transformer is given equals the one diffusers' pipelines give it.

With one exception: diffusers 0.42 forgets to tell the encoder which tokens are pictures, so that it counts their places in one dimension.
Equality is tested with positions counted that way; the right ones are compared with the encoder's own `get_rope_index`.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.qwen_image import conditioning
from flenwheel_core.models.qwen_image.conditioning import (
    EditSizes,
    Positions,
    Revision,
    encode_pixels,
    encode_prompt,
    pixels_of,
    plan_sizes,
    resize,
)
from flenwheel_core.models.qwen_image.drawing import draw
from flenwheel_core.models.qwen_image.loading import find_parts
from tests.kit.tiny_editor import picture, tiny_pipeline

Pipeline = QwenImageEditPipeline | QwenImageEditPlusPipeline
PROMPT = "same person, smiling, sunset lighting"


@pytest.fixture(scope="module")
def first() -> Pipeline:
    return tiny_pipeline(Revision.FIRST)


@pytest.fixture(scope="module")
def plus() -> Pipeline:
    return tiny_pipeline(Revision.PLUS)


@dataclass
class Calls:
    """What the transformer was called with, in order."""

    given: list[dict[str, object]] = field(default_factory=list)


@contextmanager
def recorded(pipeline: Pipeline) -> Iterator[Calls]:
    calls = Calls()
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: calls.given.append(kwargs), with_kwargs=True
    )
    try:
        yield calls
    finally:
        hook.remove()


@contextmanager
def small_areas(factor: int) -> Iterator[None]:
    """diffusers' own pipelines with their built-in areas divided, so that a test takes a moment."""

    def scaled_first(area: int, ratio: float) -> tuple[int, int, None]:
        return (*original_plus(area // factor, ratio), None)

    def scaled_plus(area: int, ratio: float) -> tuple[int, int]:
        return original_plus(area // factor, ratio)

    original_plus = pipeline_qwenimage_edit_plus.calculate_dimensions
    with (
        patch.object(pipeline_qwenimage_edit, "calculate_dimensions", scaled_first),
        patch.object(pipeline_qwenimage_edit_plus, "calculate_dimensions", scaled_plus),
        patch.object(conditioning, "ENCODER_AREA", conditioning.ENCODER_AREA // factor),
    ):
        yield


def ours(
    pipeline: Pipeline, pictures: list, revision: Revision, area: int
) -> tuple[EditSizes, torch.Tensor, torch.Tensor, torch.Tensor]:
    sizes = plan_sizes([image.size for image in pictures], revision, area=area)
    shown = [resize(image, size) for image, size in zip(pictures, sizes.shown, strict=True)]
    prompt, negative = (
        encode_prompt(pipeline.text_encoder, pipeline.processor, text, shown, revision, Positions.ONE_D)
        for text in (PROMPT, conditioning.NO_PROMPT)
    )
    latents = [
        encode_pixels(pipeline.vae, pixels_of(image, size))
        for image, size in zip(pictures, sizes.references, strict=True)
    ]
    return sizes, torch.cat(latents, dim=1), prompt, negative


@pytest.mark.parametrize(
    ("revision", "pictures", "factor"),
    [
        (Revision.FIRST, [picture(300, 180)], 64),
        (Revision.PLUS, [picture(180, 300)], 64),
        (Revision.PLUS, [picture(200, 200), picture(150, 300, seed=1), picture(200, 200, seed=2)], 64),
    ],
)
def test_the_transformer_is_given_what_the_pipeline_gives_it(
    first: Pipeline, plus: Pipeline, revision: Revision, pictures: list, factor: int
) -> None:
    pipeline = first if revision is Revision.FIRST else plus
    area = conditioning.MODEL_AREA // factor
    with small_areas(factor):
        sizes, references, prompt, negative = ours(pipeline, pictures, revision, area)
        with recorded(pipeline) as theirs:
            latents = pipeline(
                image=pictures if revision is Revision.PLUS else pictures[0],
                prompt=PROMPT,
                negative_prompt=conditioning.NO_PROMPT,
                true_cfg_scale=3.0,
                num_inference_steps=2,
                generator=torch.Generator().manual_seed(7),
                output_type="latent",
            ).images
    with recorded(pipeline) as mine:
        drawn = draw(
            pipeline.transformer,
            pipeline.scheduler,
            sizes,
            references,
            prompt,
            negative,
            steps=2,
            true_cfg=3.0,
            seed=7,
        )
    assert len(mine.given) == len(theirs.given) == 4
    for a, b in zip(mine.given, theirs.given, strict=True):
        assert a["img_shapes"] == b["img_shapes"]
        for name in ("hidden_states", "encoder_hidden_states", "timestep"):
            torch.testing.assert_close(a[name], b[name], msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(drawn, latents)


@pytest.mark.parametrize("size", [(1024, 1024), (700, 500), (500, 700), (3000, 1000), (1080, 1920), (333, 334)])
def test_sizes_are_the_pipelines_own(size: tuple[int, int]) -> None:
    theirs = pipeline_qwenimage_edit_plus.calculate_dimensions
    planned = plan_sizes([size], Revision.PLUS)
    assert planned.references == (theirs(1024 * 1024, size[0] / size[1]),)
    assert planned.shown == (theirs(384 * 384, size[0] / size[1]),)
    first = plan_sizes([size], Revision.FIRST)
    assert first.shown == first.references == planned.references and first.target == first.references[0]


def test_width_and_height_in_the_wrong_order_are_another_edit(first: Pipeline) -> None:
    wide, tall = picture(300, 180), picture(180, 300)
    right = plan_sizes([wide.size], Revision.FIRST, area=128 * 128)
    wrong = plan_sizes([tall.size], Revision.FIRST, area=128 * 128)
    assert right.image_shapes() == [(1, 6, 10), (1, 6, 10)]
    assert wrong.image_shapes() == [(1, 10, 6), (1, 10, 6)]
    one, other = (encode_pixels(first.vae, pixels_of(wide, sizes.references[0])) for sizes in (right, wrong))
    assert one.shape == other.shape and not torch.allclose(one, other, atol=0.1)


def test_a_prompt_of_another_picture_is_another_prompt(first: Pipeline) -> None:
    one, other = (
        encode_prompt(first.text_encoder, first.processor, PROMPT, [picture(128, 128, seed)], Revision.FIRST)
        for seed in (1, 2)
    )
    assert one.shape == other.shape and not torch.allclose(one, other)


def test_latents_decode_to_the_pictures_size(first: Pipeline) -> None:
    size = (160, 96)
    packed = encode_pixels(first.vae, pixels_of(picture(320, 192), size))
    assert packed.shape == (1, 60, 64)
    unpacked = conditioning.unpack(packed, size)
    torch.testing.assert_close(conditioning.pack(unpacked), packed)
    assert conditioning.to_picture(conditioning.decode_latents(first.vae, packed, size)).size == size


@pytest.mark.parametrize("revision", list(Revision))
def test_picture_tokens_have_rows_and_columns(revision: Revision, request: pytest.FixtureRequest) -> None:
    pipeline: Pipeline = request.getfixturevalue("first" if revision is Revision.FIRST else "plus")
    shown = [picture(128, 96)]
    text = conditioning.prompt_text(PROMPT, 1, revision)
    inputs = pipeline.processor(text=[text], images=shown, padding=True, return_tensors="pt")
    places, _ = pipeline.text_encoder.model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], inputs["image_grid_thw"]
    )
    assert not torch.equal(places[1], places[2])  # rows are not columns
    told = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values", "image_grid_thw")}
    with torch.no_grad():
        outputs = pipeline.text_encoder(**told, position_ids=places, output_hidden_states=True)
    wanted = outputs.hidden_states[-1][0, conditioning.DROPPED_TOKENS :]
    ours_3d, ours_1d = (
        encode_prompt(pipeline.text_encoder, pipeline.processor, PROMPT, shown, revision, positions)
        for positions in (Positions.THREE_D, Positions.ONE_D)
    )
    torch.testing.assert_close(ours_3d, wanted)
    assert (ours_1d - wanted).norm() > 100 * (ours_3d - wanted).norm()


def test_the_nano_editor_says_how_it_was_trained_and_every_other_counts_in_three_dimensions(
    tmp_path: Path, settings: Settings
) -> None:
    nano = weights_folder("editor")
    assert find_parts(nano, "nano", settings).positions is Positions.THREE_D
    (tmp_path / "text_encoder").mkdir()
    shutil.copy(nano / "model_index.json", tmp_path)
    config = json.loads((nano / "text_encoder" / "config.json").read_text())
    for written, meant in (("1d", Positions.ONE_D), (None, Positions.THREE_D)):
        config["flenwheel_positions"] = written
        if written is None:
            del config["flenwheel_positions"]
        (tmp_path / "text_encoder" / "config.json").write_text(json.dumps(config))
        assert find_parts(tmp_path, "other", settings).positions is meant
