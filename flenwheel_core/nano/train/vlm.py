"""Trains the vision-language model: captions, same character or not, and the words of edit instructions.

Its folder also holds the tokenizer, made here from the training texts. The editor waits for `vlm.json`.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from flenwheel_core.ids import derive_seed
from flenwheel_core.nano.models.vlm import build_processor, build_tokenizer, build_vlm
from flenwheel_core.nano.models.vlm_static import image_features, text_hidden
from flenwheel_core.nano.train.augment import augmented
from flenwheel_core.nano.train.data import LABELS, PICTURES_PER_CHARACTER, training_captions
from flenwheel_core.nano.train.loop import Plan, Training
from flenwheel_core.nano.train.vision_run import pictures_on_device
from flenwheel_core.nano.train.vlm_data import SAME_PROMPTS, Rows, caption_rows, edit_rows, lookalikes, same_rows
from flenwheel_core.nano.train.workspace import Run, machine_facts, wait_for, write_json
from flenwheel_core.nano.world import caption, instruction, make_character, make_edit, make_view

PLAN = Plan(learning_rate=1.5e-3, weight_decay=0.02, ema_step=0.002)
TOKENIZER_CHARACTERS = 4000
EDITS = 60_000
LOOKALIKES = 16
SAME_WEIGHT = 0.5
EDIT_WEIGHT = 0.3
OWN_LABELS = ("skin", "face", "hair", "hair_colour", "glasses", "beard", "eyes")


def answer_loss(
    model: Qwen2_5_VLForConditionalGeneration, hidden: Tensor, ids: Tensor, start: Tensor, padding: int
) -> Tensor:
    """Mean cross entropy of the tokens from `start` on; hidden (batch, tokens, width), ids (batch, tokens)."""
    logits = model.lm_head(hidden[:, :-1])
    target = ids[:, 1:]
    place = torch.arange(1, ids.shape[1], device=ids.device)
    learned = (place[None] >= start[:, None]) & (target != padding)
    each = F.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), reduction="none").view_as(target)
    return (each * learned).sum() / learned.sum()


@dataclass(frozen=True)
class VlmBatch:
    """Rows of pictures, then rows of caption, edit and same-character tokens."""

    rows: Tensor
    caption: Tensor
    edit: Tensor
    asked: Tensor


class VlmLoss:
    """Draws a batch of the three tasks and says how wrong the model is. All tensors live on the device."""

    def __init__(
        self,
        run: Run,
        model: Qwen2_5_VLForConditionalGeneration,
        pictures: Tensor,
        tokenizer: PreTrainedTokenizerBase,
        captions: Rows,
        same: Rows,
    ) -> None:
        self.model, self.pictures, self.device = model, pictures, run.device
        self.padding = tokenizer.pad_token_id
        self.characters = len(pictures) // PICTURES_PER_CHARACTER
        self.captions, self.same, self.edits = run.batch * 6 // 10, run.batch // 4, run.batch * 15 // 100
        edits, sources = edit_rows(tokenizer, run.data, EDITS)
        labels = np.load(run.data / "labels.npy")
        columns = [list(LABELS).index(name) for name in OWN_LABELS]
        alike = lookalikes(labels, columns, min(LOOKALIKES, self.characters - 1))
        self.caption_ids, self.caption_start = self._put(captions.ids), self._put(captions.start)
        self.same_ids, self.same_start = self._put(same.ids), self._put(same.start)
        self.edit_ids, self.edit_start = self._put(edits.ids), self._put(edits.start)
        self.edit_source, self.alike = self._put(sources), self._put(alike)

    def _put(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array.astype(np.int64)).to(self.device)

    def _draw(self, most: int, count: int) -> Tensor:
        return torch.randint(most, (count,), device=self.device)

    def draw(self) -> "VlmBatch":
        """Rows of pictures and of tokens for one step."""
        caption = self._draw(len(self.pictures), self.captions)
        edit = self._draw(len(self.edit_ids), self.edits)
        same = self._draw(2, self.same)
        first = self._draw(self.characters, self.same)
        other = (first + 1 + self._draw(self.characters - 1, self.same)) % self.characters
        near = self.alike[first, self._draw(self.alike.shape[1], self.same)]
        other = torch.where(torch.rand(self.same, device=self.device) < 0.5, near, other)
        second = torch.where(same == 1, first, other)
        row_first = first * PICTURES_PER_CHARACTER + self._draw(PICTURES_PER_CHARACTER, self.same)
        row_second = second * PICTURES_PER_CHARACTER + self._draw(PICTURES_PER_CHARACTER, self.same)
        asked = self._draw(SAME_PROMPTS, self.same) + same * SAME_PROMPTS
        rows = torch.cat((caption, self.edit_source[edit], row_first, row_second))
        return VlmBatch(rows, caption, edit, asked)

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A batch's picture tokens (pictures, 16, width): of captions, of edits, of pairs (pairs, 32, width)."""
        sizes = [self.captions, self.edits, self.same, self.same]
        of_caption, of_edit, of_first, of_second = torch.split(features, sizes)
        return of_caption, of_edit, torch.cat((of_first, of_second), dim=1)

    def __call__(self) -> Tensor:
        batch = self.draw()
        pixels = augmented(self.pictures[batch.rows], hide=0.0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            of_caption, of_edit, of_pair = self.parts(image_features(self.model, pixels))
            return (
                self.answers(self.caption_ids[batch.caption], self.caption_start[batch.caption], of_caption)
                + SAME_WEIGHT * self.answers(self.same_ids[batch.asked], self.same_start[batch.asked], of_pair)
                + EDIT_WEIGHT * self.answers(self.edit_ids[batch.edit], self.edit_start[batch.edit], of_edit)
            )

    def answers(self, ids: Tensor, start: Tensor, features: Tensor) -> Tensor:
        """How wrong the answers in rows of tokens are."""
        hidden = text_hidden(self.model, ids, features)
        return answer_loss(self.model, hidden, ids, start, self.padding)


def texts_for_tokenizer() -> list[str]:
    """Captions and instructions of training characters, in the forms of training."""
    found = []
    for seed in range(TOKENIZER_CHARACTERS):
        character, view = make_character(seed), make_view(derive_seed(seed, "tokenizer"))
        found += [
            *training_captions(character, view, derive_seed(seed, "tokenizer captions")),
            caption(character, view),
        ]
        found.append(instruction(view, make_edit(view, seed)))
    return found


def run(run: Run) -> None:
    """Writes `vlm/` and `vlm.json` into the work folder."""
    torch.manual_seed(run.seed)
    tokenizer = build_tokenizer(texts_for_tokenizer())
    loss = make_loss(run, tokenizer, build_vlm(tokenizer))
    train_vlm(run, "vlm", loss, {}, loss, PLAN, tokenizer)


def make_loss(run: Run, tokenizer: PreTrainedTokenizerBase, model: Qwen2_5_VLForConditionalGeneration) -> VlmLoss:
    """The loss of a model, with its rows and pictures on the device; waits for the training data."""
    # The rows depend on seeds only, so they are made while the pictures are still being rendered.
    characters = len(np.load(wait_for(run.data / "characters.npy"))) // PICTURES_PER_CHARACTER
    captions, same = caption_rows(tokenizer, characters, run.seed, run.workers), same_rows(tokenizer, run.seed)
    return VlmLoss(run, model.to(run.device).train(), pictures_on_device(run), tokenizer, captions, same)


def train_vlm(
    run: Run,
    name: str,
    tasks: VlmLoss,
    extra: dict[str, nn.Module],
    loss: Callable[[], Tensor],
    plan: Plan,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Trains on `loss` and writes the folder `name` and the record `name.json` into the work folder, the record last."""
    run.work.mkdir(parents=True, exist_ok=True)
    plan = replace(plan, max_steps=run.max_steps)
    training = Training({"vlm": tasks.model, **extra}, loss, plan, run.work / f"{name}.checkpoint")
    training.prepare()
    training.resume()
    progress = training.run(run.seconds_left())
    folder = run.work / name
    shutil.rmtree(folder, ignore_errors=True)
    tasks.model.to("cpu", torch.bfloat16).save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    record = {
        "part": name,
        "parameters": sum(parameter.numel() for parameter in tasks.model.parameters()),
        "batch": run.batch,
        "seed": run.seed,
        "plan": asdict(plan),
        "steps": progress.steps,
        "train_seconds": round(progress.train_seconds, 1),
        "final_loss": progress.final_loss(),
        "versions": machine_facts(run.device),
    }
    write_json(run.work / f"{name}.json", record)
