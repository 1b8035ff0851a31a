"""Finished weights in a model with other words or labels: what is known keeps its numbers, what is new begins near what it is made of."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase


def load_what_fits(model: nn.Module, finished: nn.Module) -> None:
    """Takes over the weights of the same name and shape; the others stay as they are."""
    wanted = {name: weight.shape for name, weight in model.state_dict().items()}
    found = {name: weight for name, weight in finished.state_dict().items() if wanted.get(name) == weight.shape}
    model.load_state_dict(found, strict=False)


@torch.no_grad()
def transplant_words(
    target: Tensor, source: Tensor, tokenizer: PreTrainedTokenizerBase, finished: PreTrainedTokenizerBase
) -> None:
    """Fills an embedding table (words, width) from a finished one with another vocabulary.

    A token that both know is copied; a new one begins as the mean of the pieces that the finished tokenizer makes of it.
    """
    known = finished.get_vocab()
    for token, index in tokenizer.get_vocab().items():
        if token in known:
            target[index] = source[known[token]]
            continue
        text = tokenizer.convert_tokens_to_string([token])
        pieces = finished(text, add_special_tokens=False).input_ids
        if pieces:
            target[index] = source[torch.tensor(pieces)].mean(0)


@torch.no_grad()
def transplant_labels(
    target: nn.Linear, source: nn.Linear, names: Mapping[int, str], finished: Mapping[int, str]
) -> None:
    """Fills a classifier from a finished one by the names of its classes; new classes stay as they are."""
    places = {name: index for index, name in finished.items()}
    for index, name in names.items():
        if name in places:
            target.weight[index] = source.weight[places[name]]
            target.bias[index] = source.bias[places[name]]
