"""Questions as tokens: the processor's own, positions as transformers counts them, and what a batch is filled up with."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from flenwheel_core.base.errors import InputError
from flenwheel_core.models.qwen_vl.eyes import Seen, open_processor
from flenwheel_core.models.qwen_vl.geometry import VlGeometry, geometry_of
from flenwheel_core.models.qwen_vl.texts import batch_of, example_of, prompt_of, shapes_of
from tests.kit.tiny_vl import KINDS, drawn_picture, save_tiny_vl


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vl(tmp_path_factory.mktemp(request.param), request.param)


def seen(geometry: VlGeometry, rows: int, columns: int) -> Seen:
    tokens = rows * columns // geometry.merge**2
    features = torch.arange(geometry.levels * tokens * geometry.width, dtype=torch.float32) + 1
    return Seen(features.reshape(geometry.levels, tokens, geometry.width), torch.tensor([1, rows, columns]))


def test_tokens_and_positions_are_those_of_transformers(folder: Path) -> None:
    geometry, pictures = geometry_of(folder), [drawn_picture(1), drawn_picture(2, 200, 150)]
    processor = open_processor(folder, geometry)
    made = processor(text=[prompt_of(processor, "Which is red?", 2)], images=pictures, return_tensors="pt")
    grids = made["image_grid_thw"]
    example = example_of(
        processor, geometry, "Which is red?", " the cat ", [seen(geometry, int(g[1]), int(g[2])) for g in grids]
    )
    assert torch.equal(example.ids[: -example.answer], made["input_ids"][0])
    assert processor.tokenizer.decode(example.ids[-example.answer :]) == "the cat<|im_end|>"
    network = AutoModelForImageTextToText.from_pretrained(folder)
    kinds = (example.ids == geometry.picture_token).int()[None]
    positions, _ = network.model.get_rope_index(example.ids[None], mm_token_type_ids=kinds, image_grid_thw=grids)
    assert torch.equal(example.positions, positions[:, 0])
    cosines, sines = geometry.rotary(example.positions)
    expected = network.model.language_model.rotary_emb(torch.zeros(1), positions)
    torch.testing.assert_close((cosines, sines), (expected[0][0], expected[1][0]))


def test_a_batch_is_filled_up_behind_its_ends(folder: Path) -> None:
    geometry = geometry_of(folder)
    processor = open_processor(folder, geometry)
    short, long = (
        example_of(processor, geometry, "What?", answer, [seen(geometry, 4, 4)])
        for answer in ("a cat", "a red cat on a sofa")
    )
    shapes = shapes_of([short, long])
    assert shapes[0] == shapes[1] and shapes[0].tokens % 64 == 0
    embeddings = torch.randn(geometry.vocabulary, geometry.width)
    made = batch_of([short, long], shapes[0], geometry, embeddings)
    length = len(short.ids)
    assert made["embeds"][0, length:].abs().max() == 0
    assert torch.equal(made["answers"][0, : short.answer], short.ids[-short.answer :])
    assert torch.equal(made["kept"][0, : short.answer], torch.arange(length - short.answer, length) - 1)
    torch.testing.assert_close(made["shares"].sum(1), torch.ones(2))
    is_picture = short.ids == geometry.picture_token
    assert made["embeds"][0, :length][is_picture].abs().max() == 0
    rows = made["features"][0, 0][made["shown"][0]]
    assert torch.equal(rows[:length][is_picture], short.seen[0].features[0]) and rows[length:].abs().max() == 0
    assert rows[:length][~is_picture].abs().max() == 0


def test_places_and_pictures_must_fit(folder: Path) -> None:
    geometry = geometry_of(folder)
    ids = torch.tensor([1, *[geometry.picture_token] * 4, 2])
    with pytest.raises(InputError, match="4 places for a picture of 6"):
        geometry.positions(ids, [torch.tensor([1, 4, 6])])
    with pytest.raises(InputError, match="picture of none"):
        geometry.positions(ids, [])
    with pytest.raises(InputError, match="fewer places"):
        geometry.positions(ids, [torch.tensor([1, 4, 4])] * 2)


def test_a_question_must_not_hold_a_picture_s_sign(folder: Path) -> None:
    geometry = geometry_of(folder)
    with pytest.raises(InputError, match="sign for a picture"):
        example_of(open_processor(folder, geometry), geometry, "<|image_pad|>?", "yes", [seen(geometry, 4, 4)])


def test_released_configurations_are_read_as_they_are_written(tmp_path: Path) -> None:
    """The first releases wrote the language model's sizes at the top, and positions in two places."""
    text = {"num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 3, "intermediate_size": 96}
    older = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        **text,
        "hidden_size": 4096,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "sliding_window": 32768,
        "use_sliding_window": False,
        "vision_config": {"patch_size": 14, "spatial_merge_size": 2, "in_chans": 3},
    }
    newer = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "text_config": {
            **text,
            "hidden_size": 2560,
            "head_dim": 128,
            "rope_theta": 5e6,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
        },
        "tie_word_embeddings": True,
        "vision_config": {"patch_size": 16, "spatial_merge_size": 2, "deepstack_visual_indexes": [5, 11, 17]},
    }
    found = []
    for content in (older, newer):
        (tmp_path / "config.json").write_text(json.dumps(content))
        found.append(geometry_of(tmp_path))
    assert [(one.side, one.head, one.theta, one.sections) for one in found] == [
        (28, 128, 1e6, (16, 24, 24)),
        (32, 128, 5e6, (24, 20, 20)),
    ]
    assert [(one.levels, one.tied, one.layers) for one in found] == [(1, False, 3), (4, True, 3)]
