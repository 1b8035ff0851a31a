"""The vision-language model at nano size: Qwen2.5-VL for 128x128 pictures, which become 16 tokens each.

It captions pictures of the nano world, judges whether two show the same character, and its hidden states guide the editor.
"""

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

PICTURE_PX = 128
PATCH_PX = 8
"""At 16 the colour of eyes, the shape of brows and small marks were lost in the first layer."""
MERGE = 4
GRID = PICTURE_PX // PATCH_PX
"""Patches along a side."""
IMAGE_TOKENS = (GRID // MERGE) ** 2
WIDTH = 128
HEADS = 4
LAYERS = 4
VISION_WIDTH, VISION_HEADS, VISION_LAYERS = 80, 5, 6
VOCABULARY = 960
MAX_TOKENS = 512

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PAD, START, END, VISION_START, VISION_END, IMAGE, VIDEO = SPECIAL_TOKENS
SYSTEM = "You are a helpful assistant."
PICTURE = f"{VISION_START}{IMAGE}{VISION_END}"

EDIT_TEMPLATE = (
    f"{START}system\nDescribe the key features of the input image (color, shape, size, texture, objects, background), then "
    "explain how the user's text instruction should alter or modify the image. Generate a new image that meets the user's "
    "requirements while maintaining consistency with the original input where appropriate."
    f"{END}\n{START}user\n{PICTURE}{{}}{END}\n{START}assistant\n"
)
"""The prompt of Qwen-Image-Edit, as in diffusers' QwenImageEditPipeline."""

CAPTION_QUESTIONS = (
    "Describe the picture.",
    "Describe this image.",
    "Describe the person in the picture.",
    "Caption this image.",
    "What does the picture show?",
    "Write a caption for this picture of one character.",
)
PHRASES_QUESTIONS = (
    "Caption this picture in one line of comma-separated phrases: what the pose is, the expression, the angle of view, the "
    "background, the lighting and the clothing. Do not describe the face, hair, eyes or body.",
    "Describe the picture without the person: expression, angle, pose, background, lighting, clothing.",
)
"""Answered with what a view shows and nothing of the character; the first is the question that captions for training ask."""
SAME_QUESTIONS = (
    "Do the two pictures show the same character? Answer yes or no.",
    "Is this the same person? Answer yes or no.",
    "Do both images show the same character? Answer with yes or no.",
    "Are these two pictures of the same person?",
    "Look at both pictures. Same identity, yes or no?",
)
"""The ways of asking that it was trained on; the first of each is the usual one. The same question may come before or after."""

CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n" + SYSTEM + "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_WORDS = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


def chat(question: str, pictures: int) -> str:
    """The prompt that the chat template makes of pictures followed by a question."""
    return f"{START}system\n{SYSTEM}{END}\n{START}user\n{PICTURE * pictures}{question}{END}\n{START}assistant\n"


def build_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """A byte-level tokenizer of the Qwen2 class whose merges come from `texts` and from the prompts above.

    Every byte is known, so nothing is out of vocabulary.
    """
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern=Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        min_frequency=20,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    prompts = [
        *CAPTION_QUESTIONS,
        *PHRASES_QUESTIONS,
        *SAME_QUESTIONS,
        EDIT_TEMPLATE,
        f"system\n{SYSTEM}\nuser\nassistant\nyes\nno\n",
    ]
    for token in SPECIAL_TOKENS:
        prompts = [prompt.replace(token, "\n") for prompt in prompts]
    trained.train_from_iterator([*texts, *prompts * 100], trainer)
    model = json.loads(trained.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        unk_token=None,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START, *SPECIAL_TOKENS[3:]],
        model_max_length=MAX_TOKENS,
    )


def build_processor(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLProcessor:
    """Pictures are scaled to 128x128 whatever their size and normalised to [-1, 1]."""
    facts = {
        "patch_size": PATCH_PX,
        "merge_size": MERGE,
        "temporal_patch_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"shortest_edge": PICTURE_PX**2, "longest_edge": PICTURE_PX**2},
    }
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**facts),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**facts),
        chat_template=CHAT_TEMPLATE,
    )


def build_vlm(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    """Random weights, 3.4 M parameters. Vision attends to the whole picture in every block."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    head = WIDTH // HEADS
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": 3 * WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "max_position_embeddings": MAX_TOKENS,
            "use_sliding_window": False,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [head // 2 - 10, 5, 5],
            },
            "bos_token_id": ids[PAD],
            "eos_token_id": ids[END],
            "pad_token_id": ids[PAD],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": VISION_LAYERS,
            "hidden_size": VISION_WIDTH,
            "out_hidden_size": WIDTH,
            "intermediate_size": 3 * VISION_WIDTH,
            "num_heads": VISION_HEADS,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": PICTURE_PX,
            "fullatt_block_indexes": list(range(VISION_LAYERS)),
        },
        image_token_id=ids[IMAGE],
        video_token_id=ids[VIDEO],
        vision_start_token_id=ids[VISION_START],
        vision_end_token_id=ids[VISION_END],
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids[END]
    model.generation_config.pad_token_id = ids[PAD]
    return model
