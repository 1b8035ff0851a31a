"""What grows with the batch: peak memory and seconds of a training step over batch, tokens, and what is spared. Out of memory is a row.

One thing is changed at a time around one step: one picture of 256 tokens, 476 tokens of text of which 60 are the answer, rank 64, answers'
logits alone, features kept, every layer computed again.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.card import GIB, is_out_of_memory
from flenwheel_core.models.qwen_vl.eyes import Seen, load_tower
from flenwheel_core.models.qwen_vl.geometry import VlGeometry, geometry_of
from flenwheel_core.models.qwen_vl.language import FastLanguage, load_embeddings
from flenwheel_core.models.qwen_vl.task import VlTask
from flenwheel_core.models.qwen_vl.texts import Shape, VlExample, batch_of
from flenwheel_core.models.qwen_vl.training_memory import VlLoad, predict_gib
from flenwheel_core.models.qwen_vl.weights import VlSource
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.sources import WeightSource

ALPHA = 16.0
ANSWER_TOKENS = 60
_STEPS, _WARM_UP = 5, 2

MemoryRow = dict[str, str | int | float | bool | None]


@dataclass(frozen=True)
class MemoryCase:
    """One kind of step."""

    batch: int = 1
    picture_tokens: int = 256
    text_tokens: int = 476
    rank: int = 64
    answers_only: bool = True
    """Logits at the answers' places alone; else at every place, as the usual loss has them."""
    features_kept: bool = True
    """Pictures' features come from the cache; else the eyes are on the card and look at every step."""
    recomputed: float = 1.0
    """Share of the layers that are computed again."""

    @property
    def name(self) -> str:
        parts = [f"b{self.batch}", f"r{self.rank}"]
        parts += [f"p{self.picture_tokens}"] * (self.picture_tokens != 256)
        parts += [f"t{self.text_tokens}"] * (self.text_tokens != 476)
        parts += ["all_logits"] * (not self.answers_only)
        parts += ["eyes"] * (not self.features_kept)
        parts += [f"kept{round(100 * (1 - self.recomputed))}"] * (self.recomputed < 1)
        return "_".join(parts)


USUAL = MemoryCase()
GRID: tuple[MemoryCase, ...] = (
    USUAL,
    *(
        replace(USUAL, answers_only=answers, features_kept=kept)
        for answers, kept in ((False, True), (True, False), (False, False))
    ),
    *(replace(USUAL, picture_tokens=tokens) for tokens in (64, 1024, 2304)),
    *(replace(USUAL, text_tokens=tokens) for tokens in (128, 1024)),
    *(replace(USUAL, recomputed=share) for share in (0.5, 0.0)),
    *(
        replace(USUAL, batch=4, answers_only=answers, features_kept=kept)
        for answers, kept in ((True, True), (False, True), (True, False), (False, False))
    ),
    replace(USUAL, batch=4, recomputed=0.5),
    replace(USUAL, batch=4, picture_tokens=64),
    replace(USUAL, batch=4, picture_tokens=1024),
    *(replace(USUAL, batch=2, answers_only=answers) for answers in (True, False)),
    *(replace(USUAL, batch=8, answers_only=answers) for answers in (True, False)),
    replace(USUAL, rank=16),
    replace(USUAL, rank=16, batch=4),
)
"""Cases that share what is compiled stand together, and models of one rank too."""


@dataclass
class MemoryLab:
    """A model at hand, to take steps with."""

    geometry: VlGeometry
    source: WeightSource
    embeddings: Tensor
    """(vocabulary, width), on the CPU."""
    device: torch.device
    dtype: torch.dtype
    storage: Storage
    compile: bool = True
    language: FastLanguage | None = None
    notes: list[str] = field(default_factory=list)
    """What the recorder of steps had to say."""
    _eyes: Any = None

    @classmethod
    def of_folder(cls, folder: Path, device: torch.device, dtype: torch.dtype, storage: Storage) -> "MemoryLab":
        """The model of a folder."""
        geometry = geometry_of(folder)
        return cls(
            geometry,
            VlSource(folder, device, dtype),
            load_embeddings(VlSource(folder, torch.device("cpu"), dtype)),
            device,
            dtype,
            storage,
            compile=device.type == "cuda",
        )

    def rows(self, cases: Sequence[MemoryCase] = GRID, *, until: float | None = None) -> Iterator[MemoryRow]:
        """A row a case, as soon as it is measured; `until` is when (`time.monotonic`) no further one begins."""
        for case in cases:
            if until is not None and time.monotonic() > until:
                return
            yield self.row(case)

    def row(self, case: MemoryCase) -> MemoryRow:
        """Seconds and peak memory of a case, beside what the plan foretells."""
        recompute = round(case.recomputed * self.geometry.layers)
        facts: MemoryRow = {
            "case": case.name,
            "batch": case.batch,
            "picture_tokens": case.picture_tokens,
            "text_tokens": case.text_tokens,
            "rank": case.rank,
            "answers_only": case.answers_only,
            "features_kept": case.features_kept,
            "layers_recomputed": recompute,
            "weights": self.storage,
        }
        try:
            self._clean()
            language = self._language(case.rank)
            language.recompute = (recompute,)
            if case.features_kept:
                self._eyes = None
            elif self._eyes is None:
                self._eyes = load_tower(self.geometry, self.source)
            self._clean()
            facts |= self._measured(case)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            facts |= {"out_of_memory": True}
        if case.features_kept:
            facts |= foretold(facts, self.geometry, self.storage)
        self._clean()
        return facts

    def stepper(self, case: MemoryCase, recorder: Recorder | None = None) -> Callable[[], None]:
        """The step of the training loop on one fixed batch; `recorder` runs it as a CUDA graph."""
        language = self._language(case.rank)
        task = VlTask(language, TrainingRecipe(batch_size=case.batch), [self._example(case)], seed=0)
        arguments = self._arguments(case)
        pixels, grid = self._pixels(case)
        parameters = list(language.lora.values())
        optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)

        def step() -> None:
            if not case.features_kept:
                with torch.no_grad():
                    arguments["features"] = self._looked_at(pixels, grid, case)
            loss = task.loss_of(**arguments) if recorder is None else recorder.loss("loss", task.loss_of, arguments)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    def _measured(self, case: MemoryCase) -> MemoryRow:
        recorder = None
        if self.device.type == "cuda" and self.compile:
            recorder = Recorder(list(self._language(case.rank).lora.values()), self.notes.append)
        step = self.stepper(case, recorder)
        times = []
        for number in range(_WARM_UP + _STEPS):
            began = time.monotonic()
            step()
            self._wait()
            if number >= _WARM_UP:
                times.append(time.monotonic() - began)
        return {
            "step_seconds": statistics.median(times),
            "peak_allocated_gib": self._peak(torch.cuda.max_memory_allocated),
            "peak_reserved_gib": self._peak(torch.cuda.max_memory_reserved),
            "recorded": recorder is not None and recorder.works,
            "out_of_memory": False,
        }

    def _language(self, rank: int) -> FastLanguage:
        if self.language is None or next(iter(self.language.lora.values())).shape[0] != rank:
            self.language = None
            self._clean()
            names = list(self.geometry.linears)
            adapters = AdapterPlan(dict.fromkeys(names, rank), dict.fromkeys(names, ALPHA / rank))
            plan = FastPlan(storage=self.storage, compile=self.compile, cudnn=False)
            self.language = FastLanguage(self.geometry, self.source, plan, adapters, embeddings=self.embeddings)
            alive(self.language.lora)
        return self.language

    def _example(self, case: MemoryCase) -> VlExample:
        """Tokens by chance, with one picture of random features in them."""
        generator = torch.Generator().manual_seed(0)
        side = square_grid(case.picture_tokens, self.geometry)
        words = torch.randint(0, min(1000, self.geometry.picture_token), (case.text_tokens,), generator=generator)
        picture = torch.full((case.picture_tokens,), self.geometry.picture_token)
        ids = torch.cat([words[:40], picture, words[40:]])
        shape = self.geometry.levels, case.picture_tokens, self.geometry.width
        seen = Seen(torch.randn(shape, generator=generator).to(self.dtype), side)
        return VlExample(ids, self.geometry.positions(ids, [side]), ANSWER_TOKENS, (seen,))

    def _arguments(self, case: MemoryCase) -> dict[str, Tensor]:
        tokens = case.picture_tokens + case.text_tokens
        shape = Shape(tokens, ANSWER_TOKENS, case.picture_tokens)
        made = batch_of([self._example(case)] * case.batch, shape, self.geometry, self.embeddings)
        if not case.answers_only:
            shares = torch.zeros(case.batch, tokens).scatter_(1, made["kept"], made["shares"])
            answers = torch.zeros(case.batch, tokens, dtype=torch.long).scatter_(1, made["kept"], made["answers"])
            kept = torch.arange(tokens).expand(case.batch, -1).contiguous()
            made |= {"kept": kept, "answers": answers, "shares": shares}
        return {name: tensor.to(self.device) for name, tensor in made.items()}

    def _pixels(self, case: MemoryCase) -> tuple[Tensor, Tensor]:
        """Noise in place of a batch's pictures, as the eyes take them: patches of all, and a grid for each."""
        grid = square_grid(case.picture_tokens, self.geometry)
        vision = self.geometry.config.vision_config
        values = int(getattr(vision, "in_channels", 3)) * int(vision.temporal_patch_size) * int(vision.patch_size) ** 2
        pixels = torch.randn(case.batch * int(grid.prod()), values)
        return pixels.to(self.device, self.dtype), grid.expand(case.batch, 3).contiguous().to(self.device)

    def _looked_at(self, pixels: Tensor, grid: Tensor, case: MemoryCase) -> Tensor:
        """(levels, batch, rows + 1, width) of all pictures in one call."""
        made = self.geometry.features(self._eyes, pixels, grid)
        made = made.reshape(self.geometry.levels, case.batch, case.picture_tokens, -1)
        return torch.cat([made, torch.zeros_like(made[:, :, :1])], dim=2)

    def _peak(self, ask: Callable[[], int]) -> float:
        return ask() / GIB if self.device.type == "cuda" else 0.0

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _clean(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch._C._cuda_clearCublasWorkspaces()  # one for every stream that ever recorded: later cases would pay for earlier ones
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def foretold(row: MemoryRow, geometry: VlGeometry, storage: Storage) -> MemoryRow:
    """What the plan says of a row's step, and how far that is from what was measured."""
    batch, rank = int(_number(row["batch"])), int(_number(row["rank"]))
    tokens = batch * int(_number(row["picture_tokens"]) + _number(row["text_tokens"]))
    answers = batch * ANSWER_TOKENS if row["answers_only"] else tokens
    weights = sum(rank * sum(shape) for shape in geometry.linears.values())
    load = VlLoad(tokens, answers, rank, weights)
    predicted = predict_gib(geometry, load, storage, int(_number(row["layers_recomputed"])))
    measured = row.get("peak_reserved_gib")
    error: MemoryRow = {"error": predicted / measured - 1} if isinstance(measured, float) and measured > 0 else {}
    return {"predicted_gib": predicted, **error}


def alive(lora: Mapping[str, torch.nn.Parameter], *, seed: int = 1) -> None:
    """Fills an adapter with numbers, so that every gradient is alive."""
    device = next(iter(lora.values())).device
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name in sorted(lora):
            lora[name].normal_(generator=generator, std=0.02 if "lora_B" in name else lora[name].shape[1] ** -0.5)


def square_grid(tokens: int, geometry: VlGeometry) -> Tensor:
    """Patches (1, rows, columns) of a picture of so many tokens, as square as it can be."""
    rows = next(side for side in range(int(tokens**0.5), 0, -1) if tokens % side == 0)
    return torch.tensor([1, rows * geometry.merge, tokens // rows * geometry.merge])


def growth(rows: Sequence[MemoryRow]) -> list[MemoryRow]:
    """What one sample more costs (GiB), by what is spared: from the smallest and largest measured batch of otherwise equal cases."""
    alike: dict[tuple[object, ...], list[MemoryRow]] = {}
    same = ("picture_tokens", "text_tokens", "rank", "answers_only", "features_kept", "layers_recomputed")
    for row in rows:
        if not row.get("out_of_memory") and "peak_reserved_gib" in row:
            alike.setdefault(tuple(row[key] for key in same), []).append(row)
    found: list[MemoryRow] = []
    for group in alike.values():
        ordered = sorted(group, key=lambda row: _number(row["batch"]))
        first, last = ordered[0], ordered[-1]
        if first is not last:
            samples = _number(last["batch"]) - _number(first["batch"])
            gib = (_number(last["peak_allocated_gib"]) - _number(first["peak_allocated_gib"])) / samples
            name = str(first["case"]).partition("_")[2]
            found.append({"case": f"growth_{name}", **{key: first[key] for key in same}, "gib_a_sample": gib})
    return found


def _number(value: str | int | float | bool | None) -> float:
    assert isinstance(value, int | float)
    return float(value)
