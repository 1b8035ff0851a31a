"""Runs FLUX's training: waits for pictures and latents, trains both parts, writes the pipeline folder."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from flenwheel_core.nano.models.flux import build_clip, build_t5, build_transformer, pack, save_pipeline
from flenwheel_core.nano.train.captions import load_tokenizers, token_ids, tokenise
from flenwheel_core.nano.train.flux import BaseLoss, DistillLoss, FluxData, FluxModels
from flenwheel_core.nano.train.loop import Plan, Training
from flenwheel_core.nano.train.vae import load_trained, scaled
from flenwheel_core.nano.train.workspace import Run, fill, machine_facts, wait_for, write_json

BASE_PLAN = Plan(learning_rate=1e-3, ema_step=0.001)
DISTILL_PLAN = Plan(learning_rate=2e-4, warmup_steps=100, ema_step=0.002)
DISTILL_SHARE = 0.18
CAPTIONS_PER_PICTURE = 4


def _data(run: Run, tokenizers: Path) -> FluxData:
    """Captions now; latents are filled in when the autoencoder is done."""
    wait_for(run.data / "done")
    texts = (run.data / "captions.txt").read_text().splitlines()
    clip_ids, t5_ids = tokenise(tokenizers, texts, run.workers)
    clip, t5 = load_tokenizers(tokenizers)
    count = len(texts) // CAPTIONS_PER_PICTURE
    shape = (count, CAPTIONS_PER_PICTURE, -1)
    return FluxData(
        latents=torch.randn(count, 64, 64, dtype=torch.float16, device=run.device),
        clip_ids=torch.from_numpy(clip_ids).view(shape).to(run.device),
        t5_ids=torch.from_numpy(t5_ids).view(shape).to(run.device),
        empty_clip=torch.from_numpy(token_ids(clip, [""])[0]).to(run.device),
        empty_t5=torch.from_numpy(token_ids(t5, [""])[0]).to(run.device),
    )


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
    tokenizers = wait_for(run.work / "tokenizers")
    clip, t5 = load_tokenizers(tokenizers)
    models = FluxModels(
        build_transformer().to(run.device), build_clip(clip).to(run.device), build_t5(t5).to(run.device)
    )
    data = _data(run, tokenizers)
    teacher = models.frozen_copy()
    base = Training(
        models.modules(),
        BaseLoss(models, data, run.batch),
        replace(BASE_PLAN, max_steps=run.max_steps),
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

    vae = load_trained(wait_for(run.work / "vae_latents.npy").parent / "vae", run.device)
    latents = np.load(run.work / "vae_latents.npy", mmap_mode="r")
    fill(data.latents, latents, convert=lambda part: pack(scaled(vae, part)))
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
