"""What the frozen vision-language model says about every edit: the editor's condition, computed once."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoProcessor, PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from flenwheel_core.nano.models.vlm import EDIT_TEMPLATE, IMAGE, IMAGE_TOKENS
from flenwheel_core.nano.models.vlm_static import image_features, text_hidden
from tools.nano_training.autoencoder import to_model
from tools.nano_training.workspace import Run

DROPPED_TOKENS = 64
"""The system prompt, which Qwen-Image-Edit cuts off the hidden states."""
CONDITION_TOKENS = 64
EMPTY_SHARE = 0.1
EMPTY_INSTRUCTION = " "


def edit_ids(
    tokenizer: PreTrainedTokenizerBase, instructions: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Right-padded prompt ids (edits, DROPPED_TOKENS + CONDITION_TOKENS) and their lengths after the cut."""
    texts = [EDIT_TEMPLATE.format(text).replace(IMAGE, IMAGE * IMAGE_TOKENS) for text in instructions]
    width = DROPPED_TOKENS + CONDITION_TOKENS
    ids = tokenizer(texts, padding=False, truncation=True, max_length=width).input_ids
    rows = np.full((len(ids), width), tokenizer.pad_token_id, dtype=np.int64)
    for row, given in zip(rows, ids, strict=True):
        row[: len(given)] = given
    return rows, np.array([len(given) - DROPPED_TOKENS for given in ids], dtype=np.int64)


@torch.no_grad()
def encode_edits(
    run: Run,
    vlm: Qwen2_5_VLForConditionalGeneration,
    pictures: NDArray[np.uint8],
    source: Tensor,
    instructions: list[str],
    batch: int = 512,
    empty_share: float = EMPTY_SHARE,
) -> tuple[Tensor, Tensor]:
    """Hidden states (edits, CONDITION_TOKENS, width) in bf16 and their lengths; in a share of edits the instruction is empty."""
    tokenizer = AutoProcessor.from_pretrained(run.work / "vlm").tokenizer
    chance = np.random.default_rng(run.seed)
    empty = chance.random(len(instructions)) < empty_share
    given = [EMPTY_INSTRUCTION if blank else text for blank, text in zip(empty, instructions, strict=True)]
    unique, which = np.unique(np.array(given), return_inverse=True)
    ids, lengths = edit_ids(tokenizer, [str(text) for text in unique])
    device_ids, device_lengths = torch.from_numpy(ids).to(run.device), torch.from_numpy(lengths).to(run.device)
    rows = torch.from_numpy(which).to(run.device)
    width = vlm.config.text_config.hidden_size
    features = torch.empty(len(pictures), IMAGE_TOKENS, width, dtype=torch.bfloat16, device=run.device)
    for start in range(0, len(pictures), batch):
        part = torch.from_numpy(np.ascontiguousarray(pictures[start : start + batch])).to(run.device)
        features[start : start + batch] = image_features(vlm, to_model(part)).to(torch.bfloat16)
    hidden = torch.empty(len(given), CONDITION_TOKENS, width, dtype=torch.bfloat16, device=run.device)
    source = source.to(run.device)
    for start in range(0, len(given), batch):
        stop = start + batch
        states = text_hidden(vlm, device_ids[rows[start:stop]], features[source[start:stop]].float())
        hidden[start:stop] = states[:, DROPPED_TOKENS:].to(torch.bfloat16)
    return hidden, device_lengths[rows]
