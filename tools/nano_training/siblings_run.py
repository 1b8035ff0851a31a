"""Runs the training of nano klein and nano Z-Image: needs only the part `data`; autoencoder and tokenizer are those that are shipped."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, Flux2Transformer2DModel, ZImageTransformer2DModel
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.models import klein, qwen3, z_image
from tools.nano_training.loop import Plan, Progress, Training
from tools.nano_training.sibling_check import measure
from tools.nano_training.sibling_data import bring, room
from tools.nano_training.sibling_words import Words
from tools.nano_training.siblings import BaseLoss, Batches, GuidedLoss, SiblingData, SiblingModels, Siblings
from tools.nano_training.vae import load_trained
from tools.nano_training.workspace import Run, machine_facts, wait_for, write_json

RATES = {
    "encoder": 0.1,
    "encoder.model.embed_tokens": 1.0,
    "z_image.t_embedder": 0.05,
    "klein.time_guidance_embed": 0.2,
}
"""Shares of the learning rate, so that one step changes what these parts say by less than a tenth (a test measures it).

At 1.2e-3 for all, one step changed most of the encoder's last states, and of what Z-Image says of time: nobody could learn to read them.
"""
BASE_PLAN = Plan(learning_rate=5e-4, warmup_steps=1000, ema_step=0.002, clips_each=True, rates=RATES)
GUIDED_PLAN = Plan(learning_rate=1e-4, warmup_steps=100, ema_step=0.005, clips_each=True, rates=RATES)
SHORT_PLAN = replace(BASE_PLAN, warmup_steps=200, ema_step=0.005)
"""The average is short: over 1000 steps it would hold much of the random beginning where there is time for few thousand."""
FURTHER_LEARNING_RATE = 2e-4
GUIDED_SHARE = 0.2
MEASURING_SECONDS = 35.0
SHORT_SECONDS = 300.0
"""In a shorter run compiling blocks costs more than it saves, and guidance is left to those who draw."""
SAVING_SECONDS = 4.0
MEASURED_PICTURES = 256


def _words(run: Run) -> Path:
    """The folder of the tokenizer: the shipped one, unless the world has words that it spells in letters."""
    return wait_for(run.work / "tokenizers") / "qwen" if run.new_words else weights_folder("editor") / "tokenizer"


def _models(run: Run, tokenizer: PreTrainedTokenizerBase) -> SiblingModels:
    if run.init is None:
        models = SiblingModels(qwen3.build_encoder(tokenizer), klein.build_transformer(), z_image.build_transformer())
    else:
        kept = {"torch_dtype": torch.float32, "use_safetensors": True}
        models = SiblingModels(
            Qwen3ForCausalLM.from_pretrained(
                run.init / "klein" / "text_encoder", dtype=torch.float32, use_safetensors=True
            ),
            Flux2Transformer2DModel.from_pretrained(run.init / "klein" / "transformer", **kept),
            ZImageTransformer2DModel.from_pretrained(run.init / "z_image" / "transformer", **kept),
        )
    for module in models.modules().values():
        module.to(run.device).train()
    return models


def save(
    folder: Path, models: SiblingModels, data: SiblingData, vae: AutoencoderKL, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Two ordinary pipeline folders, `klein` and `z_image`."""
    flux = deepcopy(vae).cpu().float()
    encoder = deepcopy(models.encoder).eval()
    transformer = klein.build_transformer()
    transformer.load_state_dict(models.klein.state_dict())
    own_vae = klein.build_vae(flux, data.mean.cpu(), data.deviation.cpu() ** 2)
    klein.save_pipeline(folder / "klein", own_vae, transformer.eval(), encoder, tokenizer)
    other = z_image.build_transformer()
    other.load_state_dict(models.z_image.state_dict())
    z_image.save_pipeline(folder / "z_image", flux, other.eval(), encoder, tokenizer)


@dataclass(frozen=True)
class _Time:
    """How long both parts learn; `whole` where several processes share the work, one after the other."""

    run: Run
    guides: bool

    def base(self) -> tuple[float, float | None]:
        """Seconds of this process, and of all together."""
        left = self.run.seconds_left() - SAVING_SECONDS
        if self.run.whole_seconds is not None:
            return left, self.run.whole_seconds * (1 - GUIDED_SHARE * self.guides)
        return ((left - MEASURING_SECONDS) * (1 - GUIDED_SHARE) if self.guides else left), None

    def guided(self) -> tuple[float, float | None]:
        """Likewise."""
        left = self.run.seconds_left() - SAVING_SECONDS
        if self.run.whole_seconds is not None:
            return left, self.run.whole_seconds * GUIDED_SHARE
        return left - MEASURING_SECONDS, None


def run(run: Run) -> None:
    """Writes `siblings/klein`, `siblings/z_image` (in `siblings_base/` before guidance) and `siblings.json` into the work folder.

    A short run ends before guidance, and so does one that is asked to. One that was stopped goes on where it was.
    """
    torch.manual_seed(run.seed)
    run.work.mkdir(parents=True, exist_ok=True)
    words = Words(run.data, run.work, _words(run), run.workers)
    vae = load_trained(weights_folder("flux") / "vae", run.device)
    tokenizer = qwen3.load_tokenizer(_words(run))
    models = _models(run, tokenizer)
    data = room(run, vae, tokenizer)
    sizes = Batches(run.batch, max(1, run.batch * 4 // 5), max(1, run.batch * 3 // 10))
    short = (run.whole_seconds or run.seconds) < SHORT_SECONDS
    frozen = models.frozen_copy()
    siblings = Siblings(models, data.pad, run.device, compiles_blocks=not short)
    plan = SHORT_PLAN if short else BASE_PLAN
    if run.init is not None:
        plan = replace(plan, learning_rate=FURTHER_LEARNING_RATE)
    plan = replace(plan, max_steps=run.max_steps)
    base = Training(models.modules(), BaseLoss(siblings, data, sizes), plan, run.work / "siblings_base.pt")
    base.prepare()
    guided = None
    if run.guides and not short:
        guided_plan = replace(GUIDED_PLAN, max_steps=run.max_steps)
        guided_loss = GuidedLoss(siblings, Siblings(frozen, data.pad, run.device), data, sizes)
        guided = Training(models.modules(), guided_loss, guided_plan, run.work / "siblings_guided.pt")
        guided.prepare()
    bring(run, data, vae, words)
    base.say("data is there")

    def saved(training: Training, folder: str, seconds: float, whole: float | None) -> Progress:
        target = run.work / folder
        progress = training.run(seconds, lambda: save(target, models, data, vae, tokenizer), whole_seconds=whole)
        save(target, models, data, vae, tokenizer)
        return progress

    time = _Time(run, guides=guided is not None)
    base.resume()
    begun = guided is not None and guided.was_begun
    progress = base.finish() if begun else saved(base, "siblings_base", *time.base())
    record = _record(run, models, data, sizes, progress)
    write_json(run.work / "siblings.json", record)
    if guided is None or not base.is_complete:
        base.say("done" if base.is_complete else "out of time: the same command goes on from here")
        return
    frozen.load_from(models)
    if not guided.resume():
        guided.restart_average()
    progress = saved(guided, "siblings", *time.guided())
    record |= {
        "guided_steps": progress.steps,
        "guided_seconds": round(progress.train_seconds, 1),
        "guided_loss": progress.final_loss(),
    }
    write_json(run.work / "siblings.json", record)
    if not guided.is_complete:
        guided.say("out of time: the same command goes on from here")
        return
    pictures = 3 if run.device.type == "cpu" else MEASURED_PICTURES
    with torch.compiler.set_stance("force_eager"):
        found = measure(siblings, data, vae, tokenizer, pictures=pictures, world=run.world)
    write_json(run.work / "siblings_check.json", found)
    base.say(f"measured: {found}")


def _record(
    run: Run, models: SiblingModels, data: SiblingData, sizes: Batches, progress: Progress
) -> dict[str, object]:
    """What is shipped beside the weights."""
    return {
        "pictures": len(data.latents),
        "named_pictures": len(data.latents) - data.named_from,
        "edits": len(data.source),
        "continued": run.init is not None,
        "parameters": {name: sum(p.numel() for p in m.parameters()) for name, m in models.modules().items()},
        "batch": [sizes.draw, sizes.edit, sizes.edit_with_two],
        "steps": progress.steps,
        "seconds": round(progress.train_seconds, 1),
        "final_loss": progress.final_loss(),
        "seed": run.seed,
        "made_with": machine_facts(run.device),
    }
