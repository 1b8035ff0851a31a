"""Trains the embedder: pictures of one character close together, whatever the view, all other characters far away.

Two losses add up: supervised contrastive (Khosla et al. 2020, arXiv 2004.11362) within the batch, and a cosine softmax with a margin
(CosFace, arXiv 1801.09414) against one learned direction for each training character, which are all negatives at every step.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flenwheel_core.nano.models.vision import EMBEDDING, build_embedder
from tools.nano_training.augment import augmented
from tools.nano_training.data import PICTURES_PER_CHARACTER
from tools.nano_training.vision_run import begin, logits_of, pictures_on_device, train_vision
from tools.nano_training.workspace import Run

VIEWS = 4
"""Pictures of each character in a batch."""
TEMPERATURE = 0.1
SCALE, MARGIN = 24.0, 0.2
HIDE = 0.3
FLIPPED_SHARE = 0.25
"""Of the characters in a batch, in world 2: their pictures turned round."""


def contrastive_loss(embeddings: Tensor, owners: Tensor) -> Tensor:
    """Mean over all pairs of one owner; embeddings (batch, dimensions) of unit length, owners (batch,)."""
    similarity = embeddings @ embeddings.T / TEMPERATURE
    itself = torch.eye(len(owners), dtype=torch.bool, device=owners.device)
    likelihood = F.log_softmax(similarity.masked_fill(itself, -1e4), dim=1)
    pairs = (owners[:, None] == owners[None]) & ~itself
    return -(likelihood * pairs).sum() / pairs.sum()


def margin_loss(embeddings: Tensor, directions: Tensor, owners: Tensor) -> Tensor:
    """Cross entropy over all characters; the right cosine has to win by MARGIN."""
    cosine = embeddings @ F.normalize(directions, dim=1).T
    right = owners[:, None] == torch.arange(len(directions), device=owners.device)
    return F.cross_entropy(SCALE * (cosine - MARGIN * right), owners)


class Directions(nn.Module):
    """One direction for each training character; not shipped."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(characters, EMBEDDING))


def run(run: Run) -> None:
    """Writes `embedder/` and `embedder.json` into the work folder."""
    torch.manual_seed(run.seed)
    pictures = pictures_on_device(run)
    characters = len(np.load(run.data / "characters.npy", mmap_mode="r")) // PICTURES_PER_CHARACTER
    model = begin(run, build_embedder())
    turned = run.world > 1
    directions = Directions(characters * (2 if turned else 1)).to(run.device)
    chosen = min(run.batch // VIEWS, characters)
    flipped = int(chosen * FLIPPED_SHARE) if turned else 0

    def loss() -> Tensor:
        owners = torch.rand(characters, device=run.device).topk(chosen - flipped).indices
        # In world 2 the same characters turned round are other ones, with the same proportions: the hardest to tell apart.
        owners = torch.cat((owners, owners[:flipped]))
        views = torch.rand(chosen, PICTURES_PER_CHARACTER, device=run.device).topk(VIEWS).indices
        rows = (owners[:, None] * PICTURES_PER_CHARACTER + views).flatten()
        shown = pictures[rows]
        if flipped:
            shown = torch.cat((shown[: -flipped * VIEWS], shown[-flipped * VIEWS :].flip(2)))
            owners = torch.cat((owners[:-flipped], owners[-flipped:] + characters))
        owners = owners[:, None].expand(-1, VIEWS).flatten()
        embeddings = F.normalize(logits_of(model, augmented(shown, hide=HIDE)), dim=1)
        return contrastive_loss(embeddings, owners) + 0.5 * margin_loss(embeddings, directions.weight, owners)

    train_vision(run, "embedder", model, {"directions": directions}, loss)
