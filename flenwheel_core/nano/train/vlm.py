"""Trains the vision-language model: captions, same character or not, and the words of edit instructions.

Its folder also holds the tokenizer, made here from the training texts. The editor waits for `vlm.json`.
"""

import shutil
from dataclasses import asdict, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
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

    def __call__(self) -> Tensor:
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
        pixels = augmented(self.pictures[rows], hide=0.0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            features = image_features(self.model, pixels)
            of_caption, of_edit, of_first, of_second = torch.split(
                features, [self.captions, self.edits, self.same, self.same]
            )
            both = torch.cat((of_first, of_second), dim=1)
            return (
                self._loss(self.caption_ids[caption], self.caption_start[caption], of_caption)
                + SAME_WEIGHT * self._loss(self.same_ids[asked], self.same_start[asked], both)
                + EDIT_WEIGHT * self._loss(self.edit_ids[edit], self.edit_start[edit], of_edit)
            )

    def _loss(self, ids: Tensor, start: Tensor, features: Tensor) -> Tensor:
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
    # The rows depend on seeds only, so they are made while the pictures are still being rendered.
    characters = len(np.load(wait_for(run.data / "characters.npy"))) // PICTURES_PER_CHARACTER
    captions, same = caption_rows(tokenizer, characters, run.seed, run.workers), same_rows(tokenizer, run.seed)
    model = build_vlm(tokenizer).to(run.device).train()
    loss = VlmLoss(run, model, pictures_on_device(run), tokenizer, captions, same)
    run.work.mkdir(parents=True, exist_ok=True)
    plan = replace(PLAN, max_steps=run.max_steps)
    training = Training({"vlm": model}, loss, plan, run.work / "vlm.checkpoint")
    training.prepare()
    training.resume()
    progress = training.run(run.seconds_left())
    folder = run.work / "vlm"
    shutil.rmtree(folder, ignore_errors=True)
    model.to("cpu", torch.bfloat16).save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    record = {
        "part": "vlm",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "batch": run.batch,
        "seed": run.seed,
        "plan": asdict(plan),
        "steps": progress.steps,
        "train_seconds": round(progress.train_seconds, 1),
        "final_loss": progress.final_loss(),
        "versions": machine_facts(run.device),
    }
    write_json(run.work / "vlm.json", record)
