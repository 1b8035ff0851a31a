"""The head, and its file."""

import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.injections import HeadFacts
from flenwheel_core.engine.randomness import normal
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes

FACTS = "flenwheel.head"
START_SCALE = 0.5
LEAST_SCALE = 0.05
"""A row that words leave as it is begins short, not at nothing: pictures may find a use for it."""
_TINY = 1e-6


class LinearHead(torch.nn.Module):
    """Features of an identity (batch, inputs) to residuals (batch, rows, width), in multiples of a token's own size.

    One linear layer gives a direction, of root mean square 1, unless it is `free`; one learned number for each row says how long it is:
    the token of the word itself is to be turned by much less than tokens that stand for a whole description. A norm stands before a
    transformer's projection of text, so that a residual that knows nothing of its token's size would drown or vanish. Features are centred
    on those of the identities that it learned from: what all people have in common says nothing of one. A free head's rows are as long as
    the layer makes them: tokens that stand for a description have sizes of their own, and half of a direction is to stay half of it.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, inputs: int, rows: int, width: int, *, seed: int, free: bool = False) -> None:
        super().__init__()
        self.rows, self.width, self.free = rows, width, free
        self.linear = torch.nn.Linear(inputs, rows * width)
        self.scale = torch.nn.Parameter(torch.full((rows, 1), START_SCALE))
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        with torch.no_grad():
            self.linear.weight.copy_(normal((rows * width, inputs), seed, "head") / inputs**0.5)
            self.linear.bias.zero_()

    def centre_on(self, features: Tensor) -> None:
        """Centre and spread of features (count, inputs), from now on; one picture alone has no spread."""
        self.centre.copy_(features.mean(0))
        if len(features) > 1:
            self.spread.copy_(features.std(0).clamp_min(_TINY))

    @torch.no_grad()
    def solve(self, features: Tensor, targets: Tensor, pull: float) -> None:
        """The linear layer that comes nearest to targets (count, rows, width) for features (count, inputs), and each row's mean length.

        Least squares with a pull towards saying the same of everybody, as a share of the features' own spread: what a few photos do not
        tell stays unsaid, where gradients from a random start would leave noise.
        """
        given = ((features - self.centre) / self.spread).double()
        wanted = targets.double().flatten(1)
        middle, mean = given.mean(0), wanted.mean(0)
        given, wanted = given - middle, wanted - mean
        inputs = given.shape[1]
        squares = given.T @ given / len(given) + pull * torch.eye(inputs, dtype=given.dtype, device=given.device)
        weight = torch.linalg.solve(squares, given.T @ wanted / len(given)).T
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(mean - weight @ middle)
        if self.free:
            self.scale.fill_(1.0)
            return
        unscaled = self.linear(((features - self.centre) / self.spread).to(targets.dtype)).view(
            -1, self.rows, self.width
        )
        directions = unscaled / rms(unscaled).clamp_min(_TINY)
        self.scale.copy_((directions * targets).mean((0, 2)).clamp_min(LEAST_SCALE)[:, None])

    def forward(self, features: Tensor) -> Tensor:
        made = self.linear((features - self.centre) / self.spread).view(-1, self.rows, self.width)
        if self.free:
            free: Tensor = self.scale * made
            return free
        # Clamped before the root: where a head has seen one photo only, it begins at nothing, and a root there has no gradient.
        residuals: Tensor = self.scale * made / made.square().mean(-1, keepdim=True).clamp_min(_TINY**2).sqrt()
        return residuals


def rms(tokens: Tensor) -> Tensor:
    """Root mean square of the last dimension, which stays as one."""
    return tokens.square().mean(-1, keepdim=True).sqrt()


def head_bytes(weights: dict[str, Tensor], facts: HeadFacts) -> bytes:
    """The head's safetensors file; the same weights and facts always give the same bytes."""
    return tensor_bytes(weights, {FACTS: json.dumps(facts.model_dump(mode="json"), sort_keys=True)})


def read_head(path: Path) -> tuple[LinearHead, HeadFacts]:
    """A head and what is known of it. Raises InputError for a pickle, for a damaged file, and for what is no head."""
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt", ".pkl"):
        raise InputError(
            f"{path.name} is a pickle, and heads are read from safetensors only.",
            why="opening a pickle can run whatever somebody put into it.",
            remedy="Train the head here (--train), which writes checkpoints/linear_head.safetensors.",
        )
    try:
        tensors, metadata = read_tensors(path)
        facts = HeadFacts.model_validate_json(metadata[FACTS])
        head = LinearHead(facts.inputs, facts.rows, facts.width, seed=0, free=facts.place == "phrase")
        if tensors["scale"].ndim == 0:  # of a head that was made when all rows were of one length
            tensors["scale"] = tensors["scale"].expand(facts.rows, 1)
        head.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, ValidationError, RuntimeError) as error:
        raise InputError(
            f"{path.name} is no head.",
            why="it is missing, damaged, or was written by something else.",
            remedy="Train one with --train, or name another file with --head.",
        ) from error
    return head.requires_grad_(False).eval(), facts


def require_fitting(facts: HeadFacts, feature_version: str, space: str) -> None:
    """Raises InputError for a head of other models than those that are open: its numbers would mean nothing."""
    for wanted, found, what, name in (
        (facts.feature_version, feature_version, "other features", facts.feature_model),
        (facts.space, space, "prompts of another base", facts.base),
    ):
        if wanted != found:
            raise InputError(
                f"This head is for {what}.",
                why=f"it was trained with {name}.",
                remedy=f"Name {name} again, or train a head for these models with --train.",
            )
