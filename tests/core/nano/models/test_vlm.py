"""The vision-language model's shapes, its tokenizer, and its static forward."""

from functools import cache

import numpy as np
import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from flenwheel_core.nano.models.vlm import (
    EDIT_TEMPLATE,
    IMAGE_TOKENS,
    SAME_QUESTIONS,
    VISION_START,
    build_processor,
    build_tokenizer,
    build_vlm,
    chat,
)
from flenwheel_core.nano.models.vlm_static import image_features, text_hidden
from flenwheel_core.nano.world import caption, make_character, make_view, render


@cache
def random_model() -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor]:
    texts = [caption(make_character(seed), make_view(seed)) for seed in range(300)]
    processor = build_processor(build_tokenizer(texts))
    torch.manual_seed(0)
    model = build_vlm(processor.tokenizer).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.05)
    return model, processor


def test_tokenizer_knows_every_text_and_the_worlds_words() -> None:
    tokenizer = random_model()[1].tokenizer
    for text in ("photo of a person, smiling", "Zürich 42 ☃\n", "ohwx_char"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer(" a person with fair skin").input_ids) == 5


def test_edit_prompt_begins_with_the_64_tokens_that_the_pipeline_drops() -> None:
    tokenizer = random_model()[1].tokenizer
    ids = tokenizer(EDIT_TEMPLATE.format("same person, smiling")).input_ids
    assert ids.index(tokenizer.convert_tokens_to_ids(VISION_START)) == 64


def test_static_forward_equals_transformers() -> None:
    model, processor = random_model()
    pictures = [render(make_character(seed), make_view(seed)) for seed in range(2)]
    text = chat(SAME_QUESTIONS[0], 2)
    assert text == processor.apply_chat_template(
        [
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": SAME_QUESTIONS[0]}],
            }
        ],
        add_generation_prompt=True,
    )
    inputs = processor(text=[text], images=pictures, return_tensors="pt")
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == 2 * IMAGE_TOKENS
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = model(**inputs, output_hidden_states=True).hidden_states[-1]
        features = image_features(model, pixels).reshape(1, 2 * IMAGE_TOKENS, -1)
        padded = torch.cat((inputs["input_ids"], torch.zeros(1, 7, dtype=torch.long)), dim=1)
        found = text_hidden(model, padded, features)[:, : expected.shape[1]]
    assert torch.allclose(found, expected, atol=2e-4)
