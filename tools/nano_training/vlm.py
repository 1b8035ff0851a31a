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
from transformers import AutoProcessor, PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from flenwheel_core.nano.models.vlm import IMAGE_TOKENS, WIDTH, build_processor, build_tokenizer, build_vlm
from flenwheel_core.nano.models.vlm_static import image_features, text_hidden
from tools.nano_training.augment import augmented
from tools.nano_training.corpus import texts_for_tokenizer
from tools.nano_training.data import LABELS, PICTURES_PER_CHARACTER
from tools.nano_training.loop import Plan, Training
from tools.nano_training.reader import reading_loss
from tools.nano_training.transplant import load_what_fits, transplant_words
from tools.nano_training.vision_run import pictures_on_device
from tools.nano_training.vlm_data import SAME_PROMPTS, Rows, caption_rows, edit_rows, lookalikes, same_rows
from tools.nano_training.workspace import Run, machine_facts, wait_for, write_json

PLAN = Plan(learning_rate=1.5e-3, weight_decay=0.02, ema_step=0.002)
EDITS = 60_000
LOOKALIKES = 16
SAME_WEIGHT, EDIT_WEIGHT, READ_WEIGHT, WORD_WEIGHT, WHO_WEIGHT = 0.6, 0.3, 1.5, 0.5, 0.3
WHO_WIDTH = 64
AUGMENTED_SHARE = 0.7
REFINE_PLAN = replace(PLAN, learning_rate=1e-3)
OWN_LABELS = ("skin", "face", "hair", "hair_colour", "glasses", "beard", "eyes")


def token_loss(logits: Tensor, ids: Tensor, start: Tensor, padding: int) -> Tensor:
    """Mean cross entropy of the tokens from place `start` on; logits (batch, tokens, vocabulary), ids (batch, tokens), start (batch,)."""
    place = torch.arange(ids.shape[1], device=ids.device)
    learned = (place[None] >= start[:, None]) & (ids != padding)
    each = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten(), reduction="none").view_as(ids)
    return (each * learned).sum() / learned.sum()


class Heads(nn.Module):
    """What is read from the model while it is trained, and not shipped.

    `read`: every label, from the 16 picture tokens. Few tokens of a caption depend on fine traits (expressions, eyes, glasses), so
    without it they are learned late. `words`: each word of an edit prompt, from its own last hidden state, where the editor reads it.
    `who`: a vector of the character, from the picture tokens, so that the judge finds what it has to compare.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        width = IMAGE_TOKENS * WIDTH
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(map(len, LABELS.values()))))
        self.words = nn.Linear(WIDTH, vocabulary)
        self.who = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, WHO_WIDTH))
        self.scale_and_bias = nn.Parameter(torch.tensor([2.3, -6.0]))

    def who_loss(self, first: Tensor, second: Tensor, same: Tensor) -> Tensor:
        """Sigmoid loss (Zhai et al. 2023) of picture tokens (pairs, tokens, width): only pairs with `same` show one character."""
        one, two = (F.normalize(self.who(part.flatten(1)).float(), dim=-1) for part in (first, second))
        logits = self.scale_and_bias[0].exp() * (one @ two.T) + self.scale_and_bias[1]
        sign = 2 * torch.diag(same.float()) - 1
        return -F.logsigmoid(sign * logits).sum() / len(logits)


@dataclass(frozen=True)
class VlmBatch:
    """One step's pictures (of captions, of edits, first and second ones of pairs), their labels, and (ids, start) of each task."""

    pixels: Tensor
    labels: Tensor
    caption: tuple[Tensor, Tensor]
    same: tuple[Tensor, Tensor]
    edit: tuple[Tensor, Tensor]
    alike: Tensor
    """(pairs,): whether a pair shows one character."""


class VlmData:
    """Pictures and token rows of the three tasks, all on the device."""

    def __init__(
        self,
        run: Run,
        pictures: Tensor,
        tokenizer: PreTrainedTokenizerBase,
        captions: Rows,
        same: Rows,
    ) -> None:
        self.pictures, self.device = pictures, run.device
        self.characters = len(pictures) // PICTURES_PER_CHARACTER
        self.captions, self.same, self.edits = run.batch * 6 // 10, run.batch // 4, run.batch * 15 // 100
        edits, sources = edit_rows(tokenizer, run.data, EDITS)
        labels = np.load(run.data / "labels.npy")
        self.labels = self._put(labels)
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
        """Rows for one step: pictures, what they show, and the tokens of the three tasks."""
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
        return VlmBatch(
            augmented(self.pictures[rows], hide=0.0, share=AUGMENTED_SHARE),
            self.labels[rows],
            (self.caption_ids[caption], self.caption_start[caption]),
            (self.same_ids[asked], self.same_start[asked]),
            (self.edit_ids[edit], self.edit_start[edit]),
            same,
        )


class VlmLoss:
    """How wrong a model is: its answers, labels and character read from its picture tokens, the words of edit prompts."""

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, heads: Heads, padding: int) -> None:
        self.model, self.heads, self.padding = model, heads, padding
        self.forward: Callable[..., Tensor] = self._forward

    def compile(self) -> None:
        """Fuses the elementwise work of the forward and the backward pass."""
        self.forward = torch.compile(self._forward, dynamic=False)

    def __call__(self, batch: VlmBatch) -> Tensor:
        return self.forward(batch.pixels, batch.labels, *batch.caption, *batch.same, *batch.edit, batch.alike)

    def _forward(
        self,
        pixels: Tensor,
        labels: Tensor,
        caption_ids: Tensor,
        caption_start: Tensor,
        same_ids: Tensor,
        same_start: Tensor,
        edit_ids: Tensor,
        edit_start: Tensor,
        alike: Tensor,
    ) -> Tensor:
        device = pixels.device.type
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda", cache_enabled=False):
            features = image_features(self.model, pixels)
            sizes = [len(caption_ids), len(edit_ids), len(same_ids), len(same_ids)]
            of_caption, of_edit, of_first, of_second = torch.split(features, sizes)
            captions = text_hidden(self.model, caption_ids, of_caption)
            pairs = text_hidden(self.model, same_ids, torch.cat((of_first, of_second), dim=1))
            edits = text_hidden(self.model, edit_ids, of_edit)
            read, words = self.heads.read(features.flatten(1)), self.heads.words(edits)
            who = self.heads.who_loss(of_first, of_second, alike)
        return (
            self._answers(captions, caption_ids, caption_start)
            + SAME_WEIGHT * self._answers(pairs, same_ids, same_start)
            + EDIT_WEIGHT * self._answers(edits, edit_ids, edit_start)
            + READ_WEIGHT * reading_loss(read.float(), labels)
            + WORD_WEIGHT * token_loss(words, edit_ids, edit_start, self.padding)
            + WHO_WEIGHT * who
        )

    def _answers(self, hidden: Tensor, ids: Tensor, start: Tensor) -> Tensor:
        logits = self.model.lm_head(hidden[:, :-1])
        return token_loss(logits, ids[:, 1:], start - 1, self.padding)


def run(run: Run) -> None:
    """Writes `vlm/` and `vlm.json` into the work folder; goes on from the folder `run.init` if that is given."""
    torch.manual_seed(run.seed)
    if run.init is None:
        tokenizer = build_tokenizer(texts_for_tokenizer(run.world))
        model = build_vlm(tokenizer)
    else:
        known = AutoProcessor.from_pretrained(run.init).tokenizer
        tokenizer = build_tokenizer(texts_for_tokenizer(run.world)) if run.new_words else known
        model = build_vlm(tokenizer)
        finished = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            run.init, dtype=torch.float32, use_safetensors=True
        )
        load_what_fits(model, finished)
        words, before = (each.get_input_embeddings().weight for each in (model, finished))
        transplant_words(words, before, tokenizer, known)
    # The rows depend on seeds only, so they are made while the pictures are still being rendered.
    characters = len(np.load(wait_for(run.data / "characters.npy"))) // PICTURES_PER_CHARACTER
    captions, same = (
        caption_rows(tokenizer, characters, run.seed, run.workers, run.world),
        same_rows(tokenizer, run.seed),
    )
    heads = Heads(len(tokenizer)).to(run.device)
    wrong = VlmLoss(model.to(run.device).train(), heads, tokenizer.pad_token_id)
    data = VlmData(run, pictures_on_device(run), tokenizer, captions, same)
    run.work.mkdir(parents=True, exist_ok=True)
    plan = replace(PLAN if run.init is None else REFINE_PLAN, max_steps=run.max_steps)
    checkpoint = run.work / "vlm.checkpoint"
    if run.device.type == "cuda":
        wrong.compile()
    training = Training({"vlm": model, "heads": heads}, lambda: wrong(data.draw()), plan, checkpoint)
    training.prepare()
    training.resume()
    progress = training.run(run.seconds_left())
    folder = run.work / "vlm"
    shutil.rmtree(folder, ignore_errors=True)
    model.config.flenwheel_positions = "3d"  # what `vlm_static` counts, and what the editor then has to be given
    model.to("cpu", torch.bfloat16).save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    record = {
        "part": "vlm",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "batch": run.batch,
        "seed": run.seed,
        "plan": asdict(plan),
        "continued": run.init is not None,
        "steps": progress.steps,
        "train_seconds": round(progress.train_seconds, 1),
        "final_loss": progress.final_loss(),
        "versions": machine_facts(run.device),
    }
    write_json(run.work / "vlm.json", record)
