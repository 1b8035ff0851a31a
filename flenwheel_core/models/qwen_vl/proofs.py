"""Proofs that only the language learned, and that pictures still reach it: tried on a model, one after the other.

A short training by the trainer itself makes a LoRA; the whole network of transformers then wears it. Each proof can fail: where nothing
would be compared, it does not hold.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from flenwheel_core.adapters.peft_adapter import without_peft
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.vl_job import VlLesson, VlTrained, VlTrainJob
from flenwheel_core.memory.card import free_memory
from flenwheel_core.memory.quantising import quantised_names
from flenwheel_core.models.qwen_vl.eyes import open_processor, patches_of
from flenwheel_core.models.qwen_vl.geometry import ADAPTED, LAYERS, VISION, VlGeometry
from flenwheel_core.models.qwen_vl.loading import load_network
from flenwheel_core.models.qwen_vl.proof_pictures import patchwork
from flenwheel_core.models.qwen_vl.texts import example_of, prompt_of
from flenwheel_core.models.qwen_vl.trained_loss import TrainedLoss, trained_loss
from flenwheel_core.models.qwen_vl.trainer import VlModel, train_lora
from flenwheel_core.models.qwen_vl.wearing import wear, write_peft_folder
from flenwheel_core.models.qwen_vl.weights import eyes_digest, eyes_of
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe

if TYPE_CHECKING:
    from PIL.Image import Image

QUESTION = "What does the picture show?"
ANSWERS = ("a red door in a wall", "two blue birds on a wire", "a green field at night", "snow on a yellow roof")
SIDE = 448
_MOST_TOKENS = 12
RECIPE = TrainingRecipe(
    steps=4,
    batch_size=2,
    learning_rate=1e-3,
    warmup_steps=0,
    min_images=1,
    log_every=1,
    checkpoint_every=100,
    lora=LoraRecipe(rank=8),
)


@dataclass(frozen=True)
class Proof:
    """One thing that was tried."""

    name: str
    holds: bool
    said: str
    """What was compared, and what came out."""


def prove(
    model: VlModel,
    work: Path,
    storage: TextFormat,
    hooks: TrainHooks,
    *,
    recipe: TrainingRecipe = RECIPE,
    train: "Callable[[VlTrainJob, TrainHooks], VlTrained] | None" = None,
) -> Iterator[Proof]:
    """Each proof as soon as it is tried; `work` is an empty folder for the LoRA and what the trainer keeps.

    `train` is what trains, such as Unsloth's backend; this package's trainer if None.

    On a CPU everything is float32. Raises what the trainer raises.
    """
    on_card = model.device.type == "cuda"
    formats = {"bf16": "bf16", "int8": "auto", "nf4": "nf4"}
    recipe = TrainingRecipe.model_validate(
        {**recipe.model_dump(), "weight_format": formats[storage] if on_card else "auto"}
    )
    pictures = [patchwork(seed, SIDE) for seed in range(len(ANSWERS))]
    lessons = tuple(
        VlLesson((picture.copy,), QUESTION, answer) for picture, answer in zip(pictures, ANSWERS, strict=True)
    )
    job = VlTrainJob("proof", "proof", lessons, recipe, 0, work, most_pixels=SIDE**2)
    cache = TensorCache(work / "cache")
    trained = train_lora(model, job, hooks, cache) if train is None else train(job, hooks)
    file = work / "lora.safetensors"
    file.write_bytes(trained.lora)
    _let_go()
    hooks.note("the trainer's own loss with what it learned")
    own = trained_loss(model, job, file, TensorCache(work / "cache"))
    _let_go()
    hooks.loading("the whole network")
    network = load_network(model.folder, storage if on_card else None)
    processor = open_processor(model.folder, model.geometry, job.most_pixels)
    bench = _Bench(network, processor, model.geometry, pictures)
    yield from bench.exact_eyes(storage if on_card else None)
    yield from bench.learned(trained, file, own, work / "peft", model.reference)


class _Bench:
    """A network with pictures to ask about."""

    def __init__(self, network: Any, processor: Any, geometry: VlGeometry, pictures: Sequence["Image"]) -> None:
        self.network = network
        self.processor = processor
        self.geometry = geometry
        self.pictures = pictures

    def exact_eyes(self, storage: TextFormat | None) -> Iterator[Proof]:
        """What holds of the network as it is loaded."""
        names = quantised_names(self.network)
        seeing = [name for name in names if name.startswith(f"{VISION}.")]
        layers = [name for name in names if name.startswith(LAYERS)]
        expected = len(self.geometry.linears) if storage in ("nf4", "int8") else 0
        yield Proof(
            "eyes_not_quantised",
            not seeing and len(layers) == expected,
            f"{len(seeing)} quantised modules under {VISION}, {len(layers)} of {expected} in the language layers",
        )

    def learned(self, trained: VlTrained, file: Path, own: TrainedLoss, folder: Path, base: str) -> Iterator[Proof]:
        """What holds of it before, while and after it wears what was learned."""
        before = eyes_digest(eyes_of(self.network))
        bare_features = self._features(self.pictures[0])
        bare_logits, bare_words = self._logits(self.pictures[:1]), self._generate()
        worn = wear(self.network, file)
        for parameter in worn.values():
            parameter.requires_grad_(True)

        yield from self._places(worn)
        yield from self._features_same(bare_features)
        yield from self._routing()
        yield from self._generation(bare_logits, bare_words)
        yield self._reloaded(worn, trained.lora, folder, base)
        alive = [name for name, matrix in worn.items() if ".lora_B." in name and bool(matrix.any())]
        yield Proof(
            "every_b_alive",
            len(alive) == len(self.geometry.linears),
            f"{len(alive)} of {len(self.geometry.linears)} matrices B are not zero after training",
        )
        yield from self._gradients(worn, own)
        optimizer = torch.optim.AdamW([p for p in self.network.parameters() if p.requires_grad], lr=1e-3)
        optimizer.step()
        after = eyes_digest(eyes_of(self.network))
        yield Proof(
            "eyes_digest_same",
            before == after == trained.eyes,
            f"sha256 {before[:12]} as loaded, {trained.eyes[:12]} as the trainer saw with, {after[:12]} after a step",
        )

    def _places(self, worn: Mapping[str, Tensor]) -> Iterator[Proof]:
        from peft.tuners.tuners_utils import BaseTunerLayer

        adapted = [name for name, module in self.network.named_modules() if isinstance(module, BaseTunerLayer)]
        wrong = [name for name in adapted if ADAPTED.fullmatch(name) is None]
        yield Proof(
            "no_adapter_in_eyes",
            not wrong and len(adapted) == len(self.geometry.linears) == len(worn) // 2,
            f"{len(adapted)} adapters on language linears, {len(wrong)} elsewhere",
        )
        frozen = [parameter.requires_grad for name, parameter in self.network.named_parameters() if VISION in name]
        yield Proof("eyes_frozen", bool(frozen) and not any(frozen), f"{sum(frozen)} of {len(frozen)} would learn")

    def _features_same(self, bare: Tensor) -> Iterator[Proof]:
        with torch.enable_grad():
            on = self._features(self.pictures[0])
        with without_peft(self.network):
            off = self._features(self.pictures[0])
        yield Proof("features_without_gradient", not on.requires_grad, f"requires_grad is {on.requires_grad}")
        other = self._features(self.pictures[1])
        yield Proof(
            "features_same",
            torch.equal(bare, on) and torch.equal(bare, off) and not torch.equal(bare, other),
            "bit for bit, before it wore the adapter, with it and without; another picture's differ",
        )

    def _routing(self) -> Iterator[Proof]:
        counts = []
        for picture in (self.pictures[0], self.pictures[1].resize((SIDE // 2, SIDE // 4))):
            ids = self._inputs([picture])["input_ids"][0]
            places = int((ids == self.geometry.picture_token).sum())
            counts.append((places, self._features(picture).shape[1]))
        said = ", ".join(f"{places} places for {rows} features" for places, rows in counts)
        same = all(places == rows for places, rows in counts)
        yield Proof("places_equal_features", same and counts[0] != counts[1], said)

        first, second = self._logits(self.pictures[:2])
        apart = float((first - second).abs().max())
        yield Proof("picture_changes_answer", apart > 0.01, f"logits are up to {apart:.3g} apart")
        swapped_second, swapped_first = self._logits([self.pictures[1], self.pictures[0]])
        wrong = float(torch.maximum((first - swapped_first).abs(), (second - swapped_second).abs()).max())
        yield Proof(
            "swapped_pictures_swap_answers",
            apart > 0.01 and wrong <= 0.02 * apart,
            f"swapped back they are up to {wrong:.3g} apart, where the two are {apart:.3g} apart",
        )

    def _generation(self, bare_logits: Tensor, bare_words: Tensor) -> Iterator[Proof]:
        logits, words = self._logits(self.pictures[:1]), self._generate()
        with without_peft(self.network):
            off_logits, off_words = self._logits(self.pictures[:1]), self._generate()
        yield Proof(
            "generation_without_adapter",
            torch.equal(bare_logits, off_logits) and torch.equal(bare_words, off_words),
            f"{bare_words.numel()} tokens about a picture, the same as before it wore the adapter",
        )
        changed = float((logits - bare_logits).abs().max())
        yield Proof(
            "generation_with_adapter",
            bool(torch.isfinite(logits).all()) and words.numel() > 0 and changed > 0,
            f"{words.numel()} tokens; logits are finite and up to {changed:.3g} from those without",
        )

    def _reloaded(self, worn: dict[str, Any], lora: bytes, folder: Path, base: str) -> Proof:
        """The file goes through PEFT's own folder and reader, into matrices that were wiped."""
        from peft import LoraConfig
        from peft.utils import load_peft_weights, set_peft_model_state_dict

        before = self._logits(self.pictures[:1])
        write_peft_folder(lora, folder, base=base)
        with torch.no_grad():
            for matrix in worn.values():
                matrix.zero_()
        wiped = self._logits(self.pictures[:1])
        described = LoraConfig.from_json_file(str(folder / "adapter_config.json"))
        count = len(LoraConfig.from_peft_type(**described).target_modules)
        weights = load_peft_weights(str(folder), device="cpu")
        plain = {name.removeprefix("base_model.model."): tensor for name, tensor in weights.items()}
        set_peft_model_state_dict(self.network, plain)
        after = self._logits(self.pictures[:1])
        return Proof(
            "saved_and_reloaded",
            torch.equal(before, after) and not torch.equal(before, wiped) and count == len(worn) // 2,
            f"{len(plain)} matrices by PEFT's own reader; logits the same bit for bit",
        )

    def _gradients(self, worn: dict[str, Any], own: TrainedLoss) -> Iterator[Proof]:
        """Forward through eyes and language, and back."""
        example = example_of(self.processor, self.geometry, QUESTION, ANSWERS[0], [])
        inputs = self._inputs(self.pictures[:1], answer=example.ids[-example.answer :])
        with torch.enable_grad():
            logits = self.network(**inputs, logits_to_keep=example.answer + 1).logits[0, :-1]
            loss = functional.cross_entropy(logits.float(), example.ids[-example.answer :].to(logits.device))
            loss.backward()
        seeing = [name for name, p in self.network.named_parameters() if VISION in name and p.grad is not None]
        found = {name: matrix.grad for name, matrix in worn.items() if matrix.grad is not None}
        live = sum(bool(gradient.any()) for gradient in found.values())
        yield Proof(
            "eyes_without_gradient",
            not seeing and live == len(worn),
            f"{len(seeing)} gradients under {VISION}, {live} of {len(worn)} in the adapter",
        )
        names = sorted(found)
        together = torch.cat([found[name].flatten().double().cpu() for name in names])
        mine = torch.cat([own.gradients[name].flatten().double() for name in names])
        cosine = float(functional.cosine_similarity(together, mine, dim=0))
        said = float(loss.detach())
        exact = logits.device.type == "cpu"  # a card multiplies in fewer bits here than there
        yield Proof(
            "trainer_agrees",
            abs(said - own.loss) <= (1e-3 if exact else 0.05) * said and cosine >= (0.999 if exact else 0.8),
            f"loss {own.loss:.4f} by the trainer, {said:.4f} by transformers; gradients' cosine {cosine:.4f}",
        )

    def _inputs(self, pictures: Sequence["Image"], answer: Tensor | None = None) -> dict[str, Tensor]:
        """One question a picture, as the processor makes it; with an answer behind it where one is given."""
        text = prompt_of(self.processor, QUESTION, 1)
        made = dict(self.processor(text=[text] * len(pictures), images=list(pictures), return_tensors="pt"))
        if answer is not None:
            made["input_ids"] = torch.cat([made["input_ids"], answer.expand(len(pictures), -1)], dim=1)
            made["attention_mask"] = torch.ones_like(made["input_ids"])
        made["mm_token_type_ids"] = (made["input_ids"] == self.geometry.picture_token).int()
        return {name: tensor.to(self.network.device) for name, tensor in made.items()}

    @torch.no_grad()
    def _logits(self, pictures: Sequence["Image"]) -> Tensor:
        """(pictures, vocabulary) of the answers' first tokens."""
        found: Tensor = self.network(**self._inputs(pictures), logits_to_keep=1).logits[:, -1].float()
        return found

    @torch.no_grad()
    def _generate(self) -> Tensor:
        inputs = self._inputs(self.pictures[:1])
        made = self.network.generate(
            **inputs, max_new_tokens=_MOST_TOKENS, do_sample=False, temperature=None, top_p=None, top_k=None
        )
        words: Tensor = made[0, inputs["input_ids"].shape[1] :]
        return words

    def _features(self, picture: "Image") -> Tensor:
        """(levels, tokens, width), as the network's own eyes see."""
        pixels, grid = patches_of(self.processor, picture)
        tower = self.network.model.visual
        return self.geometry.features(tower, pixels.to(tower.device, tower.dtype), grid.to(tower.device))


def _let_go() -> None:
    gc.collect()
    free_memory()
