"""Trains the reader: what a picture shows, one softmax for each label of the training data."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flenwheel_core.nano.models.vision import build_reader
from tools.nano_training.augment import augmented
from tools.nano_training.data import LABELS
from tools.nano_training.vision_run import begin, logits_of, pictures_on_device, train_vision
from tools.nano_training.workspace import Run

HIDE = 0.15


def reading_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy of all labels; logits (batch, choices of all labels), truth (batch, labels), -1 where none applies."""
    parts = torch.split(logits, [len(values) for values in LABELS.values()], dim=1)
    losses = [F.cross_entropy(part, truth[:, column], ignore_index=-1) for column, part in enumerate(parts)]
    return torch.stack(losses).mean()


def run(run: Run) -> None:
    """Writes `reader/` and `reader.json` into the work folder."""
    torch.manual_seed(run.seed)
    pictures = pictures_on_device(run)
    labels = torch.from_numpy(np.load(run.data / "labels.npy").astype(np.int64)).to(run.device)
    model = begin(run, build_reader(LABELS))

    def loss() -> Tensor:
        rows = torch.randint(len(pictures), (run.batch,), device=run.device)
        return reading_loss(logits_of(model, augmented(pictures[rows], hide=HIDE)), labels[rows])

    train_vision(run, "reader", model, {}, loss)
