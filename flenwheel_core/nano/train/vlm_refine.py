"""Refines the finished vision-language model for captions and judging, without moving what the editor reads from it.

Fine traits (expressions, eyes, glasses) reach the captions late, because few tokens of a caption depend on them. So every label of
the training data is also read from the 16 picture tokens, by a linear head that is not shipped. The hidden states of edit prompts
are held where the editor, which was trained on them, expects them.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from flenwheel_core.nano.models.vlm import IMAGE_TOKENS, WIDTH
from flenwheel_core.nano.models.vlm_static import image_features, text_hidden
from flenwheel_core.nano.train.augment import augmented
from flenwheel_core.nano.train.data import LABELS
from flenwheel_core.nano.train.loop import Plan
from flenwheel_core.nano.train.reader import reading_loss
from flenwheel_core.nano.train.vlm import VlmLoss, make_loss, train_vlm
from flenwheel_core.nano.train.workspace import Run, wait_for

PLAN = Plan(learning_rate=1.2e-3, weight_decay=0.02, ema_step=0.002)
AUGMENTED_SHARE = 0.6
SAME_WEIGHT, READ_WEIGHT, KEEP_WEIGHT = 0.7, 1.0, 4.0
SYSTEM_TOKENS = 64
"""Begin of edit prompts, which the editor never sees."""


class LabelHead(nn.Module):
    """All labels from all picture tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(IMAGE_TOKENS * WIDTH)
        self.read = nn.Linear(IMAGE_TOKENS * WIDTH, sum(map(len, LABELS.values())))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, 16, width) to (batch, choices of all labels)."""
        logits: Tensor = self.read(self.norm(features.flatten(1)))
        return logits


def moved(hidden: Tensor, before: Tensor, ids: Tensor, padding: int) -> Tensor:
    """Mean squared difference of hidden states (batch, tokens, width), relative to their own size, on tokens the editor sees."""
    seen = (ids != padding)[..., None].float()
    seen[:, :SYSTEM_TOKENS] = 0
    before = before.float()
    return (((hidden.float() - before) ** 2) * seen).sum() / ((before**2) * seen).sum()


class RefineLoss:
    """Captions, pairs and labels get better; edit prompts stay."""

    def __init__(
        self, tasks: VlmLoss, teacher: Qwen2_5_VLForConditionalGeneration, head: LabelHead, labels: Tensor
    ) -> None:
        self.tasks, self.teacher, self.head, self.labels = tasks, teacher, head, labels

    def __call__(self) -> Tensor:
        tasks = self.tasks
        batch = tasks.draw()
        pixels = augmented(tasks.pictures[batch.rows], hide=0.0, share=AUGMENTED_SHARE)
        edit_ids = tasks.edit_ids[batch.edit]
        with torch.autocast(tasks.device.type, torch.bfloat16, enabled=tasks.device.type == "cuda"):
            features = image_features(tasks.model, pixels)
            of_caption, of_edit, of_pair = tasks.parts(features)
            hidden = text_hidden(tasks.model, edit_ids, of_edit)
            with torch.no_grad():
                shown = pixels[tasks.captions : tasks.captions + tasks.edits]
                before = text_hidden(self.teacher, edit_ids, image_features(self.teacher, shown))
            read = self.head(features)
            answers = tasks.answers(tasks.caption_ids[batch.caption], tasks.caption_start[batch.caption], of_caption)
            pairs = tasks.answers(tasks.same_ids[batch.asked], tasks.same_start[batch.asked], of_pair)
        kept = moved(hidden, before, edit_ids, tasks.padding)
        return (
            answers
            + SAME_WEIGHT * pairs
            + READ_WEIGHT * reading_loss(read.float(), self.labels[batch.rows])
            + KEEP_WEIGHT * kept
        )


def run(run: Run) -> None:
    """Writes `vlm_refined/` and `vlm_refined.json` into the work folder, from its `vlm/`."""
    torch.manual_seed(run.seed + 1)
    wait_for(run.work / "vlm.json")
    tokenizer = AutoProcessor.from_pretrained(run.work / "vlm").tokenizer
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(run.work / "vlm", dtype=torch.float32)
    teacher = deepcopy(model).to(run.device).eval().requires_grad_(False)
    tasks = make_loss(run, tokenizer, model)
    labels = torch.from_numpy(np.load(run.data / "labels.npy").astype(np.int64)).to(run.device)
    head = LabelHead().to(run.device)
    train_vlm(run, "vlm_refined", tasks, {"head": head}, RefineLoss(tasks, teacher, head, labels), PLAN, tokenizer)
