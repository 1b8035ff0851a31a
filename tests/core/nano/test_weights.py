"""The shipped weights load with the network off and are as good as they must be: a broken file fails here, not in a user's turn."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.measure import NanoEmbedder, NanoReader, facts_of, shares_right, verify_pairs
from flenwheel_core.nano.models.vlm import CAPTION_QUESTIONS, SAME_QUESTIONS, chat
from flenwheel_core.nano.world import HELD_OUT_FROM, Character, View, make_character, make_view, parse_caption, render
from tools.nano_training.data import label_values

WEIGHTS = Path(__file__).parents[3] / "flenwheel_core" / "nano" / "weights"
MOST_BYTES = 48 * 2**20


def pictures(characters: int, views: int) -> list[tuple[Character, View]]:
    """Held-out characters, mostly portraits."""
    return [
        (make_character(HELD_OUT_FROM + 900 + c), make_view(7_000 + c * views + v, portrait_share=0.8))
        for c in range(characters)
        for v in range(views)
    ]


@cache
def looked_at() -> tuple[list[tuple[Character, View]], list[Image.Image]]:
    chosen = pictures(8, 4)
    return chosen, [render(*picture) for picture in chosen]


def test_all_weights_together_are_small_and_safe() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    assert not [path.name for path in files if path.suffix in (".bin", ".pt", ".pkl", ".ckpt", ".py")]


@pytest.mark.parametrize("part", ["embedder", "reader"])
def test_eyes_are_small(part: str) -> None:
    folder = weights_folder(part)  # type: ignore[arg-type]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2.4e6


def test_embedder_tells_held_out_characters_apart() -> None:
    chosen, images = looked_at()
    vectors = NanoEmbedder().embed(images)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    found = verify_pairs(vectors, [character.seed for character, _ in chosen])
    assert found.eer < 0.06
    assert found.same_mean - found.different_mean > 0.5


def test_reader_reads_views_and_attributes() -> None:
    chosen, images = looked_at()
    shares = shares_right([label_values(*picture) for picture in chosen], NanoReader().read(images))
    assert min(shares[name] for name in ("angle", "pose", "background", "lighting", "style")) > 0.9
    assert min(shares[name] for name in ("expression", "hair", "hair_colour", "glasses", "clothing")) > 0.8


def test_vision_language_model_captions_and_judges() -> None:
    chosen, images = looked_at()
    chosen, images = chosen[::4][:6], images[::4][:6]
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(weights_folder("vlm"), dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(weights_folder("vlm"))
    inputs = processor(text=[chat(CAPTION_QUESTIONS[0], 1)] * len(images), images=images, return_tensors="pt")
    with torch.inference_mode():
        made = model.generate(**inputs, max_new_tokens=90, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    said = [facts_of(parse_caption(text)) for text in processor.batch_decode(made, skip_special_tokens=True)]
    shares = shares_right([label_values(*picture) for picture in chosen], said)
    assert (
        np.mean([shares[name] for name in ("angle", "expression", "background", "lighting", "pose", "hair", "skin")])
        > 0.9
    )

    character, other = make_character(HELD_OUT_FROM + 1), make_character(HELD_OUT_FROM + 2)
    pair = [render(character, View()), render(character, View("half-left", "smiling", background="beach"))]
    stranger = render(other, View("half-left", "smiling", background="beach"))
    text = [chat(SAME_QUESTIONS[0], 2)] * 2
    inputs = processor(text=text, images=[*pair, pair[0], stranger], return_tensors="pt")
    yes, no = (processor.tokenizer.encode(word)[0] for word in ("yes", "no"))
    with torch.inference_mode():
        logits = model(**inputs).logits[:, -1]
    assert logits[0, yes] > logits[0, no]
    assert logits[1, yes] < logits[1, no]
