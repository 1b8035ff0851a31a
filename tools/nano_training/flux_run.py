"""Runs FLUX's training: waits for pictures and the autoencoder, trains both parts, writes the pipeline folder."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextModel, T5EncoderModel

from flenwheel_core.nano.models.flux import TEXT_TOKENS, build_clip, build_t5, build_transformer, pack, save_pipeline
from tools.nano_training.autoencoder import to_model
from tools.nano_training.captions import load_tokenizers, token_ids, tokenise
from tools.nano_training.data import CAPTIONS
from tools.nano_training.flux import BaseLoss, DistillLoss, FluxData, FluxModels
from tools.nano_training.loop import Plan, Training
from tools.nano_training.names import FOLDER
from tools.nano_training.transplant import load_what_fits, transplant_words
from tools.nano_training.vae import FluxCodec, load_trained, scaled
from tools.nano_training.workspace import Run, fill, machine_facts, wait_for, write_json

BASE_PLAN = Plan(learning_rate=1e-3, ema_step=0.001)
DISTILL_PLAN = Plan(learning_rate=2e-4, warmup_steps=100, ema_step=0.002)
DISTILL_SHARE = 0.18
FURTHER_LEARNING_RATE = 5e-4


def _room(run: Run, tokenizers: Path) -> FluxData:
    """Everything in its final size, with noise for pictures, so that steps can be recorded while the pictures are still being made."""
    clip, t5 = load_tokenizers(tokenizers)
    plain = len(np.load(wait_for(run.data / "characters.npy")))
    count = plain + len(np.load(wait_for(run.data / FOLDER / "characters.npy")))
    ids = torch.ones(count, CAPTIONS, TEXT_TOKENS, dtype=torch.int16, device=run.device)
    return FluxData(
        latents=torch.randn(count, 64, 64, dtype=torch.float16, device=run.device),
        clip_ids=ids,
        t5_ids=ids.clone(),
        empty_clip=torch.from_numpy(token_ids(clip, [""])[0]).to(run.device),
        empty_t5=torch.from_numpy(token_ids(t5, [""])[0]).to(run.device),
        named_from=plain,
    )


def _fill(run: Run, data: FluxData, tokenizers: Path, vae: AutoencoderKL) -> None:
    """Captions and latents of all pictures."""
    codec = FluxCodec(vae)

    def latents(part: torch.Tensor) -> torch.Tensor:
        return pack(scaled(vae, codec.moments(to_model(part))[0]))

    start = 0
    for folder in (run.data, run.data / FOLDER):
        wait_for(folder / "done")
        pictures = np.load(folder / "pictures.npy", mmap_mode="r")
        rows = slice(start, start + len(pictures))
        texts = (folder / "captions.txt").read_text().splitlines()
        for target, ids in zip((data.clip_ids, data.t5_ids), tokenise(tokenizers, texts, run.workers), strict=True):
            target[rows] = torch.from_numpy(ids).view(len(pictures), CAPTIONS, -1).to(run.device)
        with torch.no_grad():
            fill(data.latents[rows], pictures, chunk=512, convert=latents)
        start += len(pictures)


def _finished(folder: Path, tokenizers: Path) -> FluxModels:
    """Finished weights to start from, with room for the words of these tokenizers."""
    kept = {"dtype": torch.float32, "use_safetensors": True}
    models = FluxModels(
        FluxTransformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32, use_safetensors=True),
        CLIPTextModel.from_pretrained(folder / "text_encoder", **kept),
        T5EncoderModel.from_pretrained(folder / "text_encoder_2", **kept),
    )
    if tokenizers == folder:
        return models
    words, known = load_tokenizers(tokenizers), load_tokenizers(folder)
    grown = (build_clip(words[0]), build_t5(words[1]))
    for model, before, new, old in zip(grown, (models.clip, models.t5), words, known, strict=True):
        load_what_fits(model, before)
        transplant_words(model.get_input_embeddings().weight, before.get_input_embeddings().weight, new, old)
    return FluxModels(models.transformer, *grown)


def _models(run: Run, tokenizers: Path) -> FluxModels:
    if run.init is None:
        clip, t5 = load_tokenizers(tokenizers)
        models = FluxModels(build_transformer(), build_clip(clip), build_t5(t5))
    else:
        models = _finished(run.init, tokenizers)
    for module in models.modules().values():
        module.to(run.device).train()
    return models


def _save(run: Run, models: FluxModels, vae: AutoencoderKL, tokenizers: Path, name: str) -> None:
    clip_tokenizer, t5_tokenizer = load_tokenizers(tokenizers)
    save_pipeline(
        run.work / name,
        deepcopy(vae).eval(),
        deepcopy(models.transformer).eval(),
        deepcopy(models.clip).eval(),
        deepcopy(models.t5).eval(),
        clip_tokenizer,
        t5_tokenizer,
    )


def run(run: Run) -> None:
    """Writes `flux/` (and `flux_base/`, before guidance distillation) with a record `flux.json` into the work folder."""
    torch.manual_seed(run.seed)
    run.work.mkdir(parents=True, exist_ok=True)
    tokenizers = wait_for(run.work / "tokenizers") if run.init is None or run.new_words else run.init
    models = _models(run, tokenizers)
    data = _room(run, tokenizers)
    plan = BASE_PLAN if run.init is None else replace(BASE_PLAN, learning_rate=FURTHER_LEARNING_RATE)
    teacher = models.frozen_copy()
    base = Training(
        models.modules(),
        BaseLoss(models, data, run.batch),
        replace(plan, max_steps=run.max_steps),
        run.work / "flux_base.pt",
    )
    base.prepare()
    distill = Training(
        models.modules(),
        DistillLoss(models, teacher, data, run.batch),
        replace(DISTILL_PLAN, max_steps=run.max_steps),
        run.work / "flux_distill.pt",
    )
    distill.prepare()

    finished = run.init or wait_for(run.work / "vae_latents.npy").parent
    vae = load_trained(finished / "vae", run.device)
    _fill(run, data, tokenizers, vae)
    base.resume()
    base_progress = base.run(
        run.seconds_left() * (1 - DISTILL_SHARE), lambda: _save(run, models, vae, tokenizers, "flux_base")
    )
    _save(run, models, vae, tokenizers, "flux_base")

    teacher.load_from(models)
    distill.restart_average()
    distill.resume()
    distill_progress = distill.run(run.seconds_left(), lambda: _save(run, models, vae, tokenizers, "flux"))
    record = {
        "pictures": len(data.latents),
        "named_pictures": len(data.latents) - data.named_from,
        "continued": run.init is not None,
        "batch": run.batch,
        "steps": base_progress.steps,
        "seconds": round(base_progress.train_seconds, 1),
        "final_loss": base_progress.final_loss(),
        "distillation_steps": distill_progress.steps,
        "distillation_seconds": round(distill_progress.train_seconds, 1),
        "distillation_loss": distill_progress.final_loss(),
        "seed": run.seed,
        "made_with": machine_facts(run.device),
    }
    _save(run, models, vae, tokenizers, "flux")
    write_json(run.work / "flux.json", record)
