"""Runs the training of nano klein and nano Z-Image: needs only the part `data`; autoencoder and tokenizer are those that are shipped."""

from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, Flux2Transformer2DModel, ZImageTransformer2DModel
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.models import klein, qwen3, z_image
from flenwheel_core.nano.models.flux import pack
from tools.nano_training.autoencoder import to_model
from tools.nano_training.data import CAPTIONS, PICTURES_PER_CHARACTER
from tools.nano_training.loop import Plan, Training
from tools.nano_training.names import FOLDER
from tools.nano_training.sibling_check import measure
from tools.nano_training.siblings import BaseLoss, Batches, GuidedLoss, SiblingData, SiblingModels, Siblings
from tools.nano_training.vae import FluxCodec, load_trained
from tools.nano_training.workspace import Run, fill, machine_facts, wait_for, write_json

# The average is short: over 1000 steps it would hold much of the random beginning if a busy card leaves time for few thousand.
BASE_PLAN = Plan(learning_rate=1.5e-3, warmup_steps=100, ema_step=0.005)
GUIDED_PLAN = Plan(learning_rate=2e-4, warmup_steps=50, ema_step=0.01)
FURTHER_LEARNING_RATE = 5e-4
GUIDED_SHARE = 0.2
MEASURING_SECONDS = 35.0
SHORT_SECONDS = 300.0
"""In a shorter run compiling blocks costs more than it saves, and guidance is left to those who draw."""
SAVING_SECONDS = 4.0
_CHUNK = 20_000


def prompt_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> NDArray[np.int16]:
    """(texts, TEXT_TOKENS): what both families make of prompts."""
    ids = tokenizer(
        [qwen3.chat(text) for text in texts],
        padding="max_length",
        max_length=qwen3.TEXT_TOKENS,
        truncation=True,
        return_tensors="np",
    ).input_ids
    return np.asarray(ids, dtype=np.int16)


def _chunk_ids(folder: Path, texts: list[str]) -> NDArray[np.int16]:
    return prompt_ids(qwen3.load_tokenizer(folder), texts)


def _words(run: Run) -> Path:
    """The folder of the tokenizer: the shipped one, unless the world has words that it spells in letters."""
    return wait_for(run.work / "tokenizers") / "qwen" if run.new_words else weights_folder("editor") / "tokenizer"


def _tokenizer(run: Run) -> PreTrainedTokenizerBase:
    return qwen3.load_tokenizer(_words(run))


def _all_ids(run: Run, texts: list[str]) -> torch.Tensor:
    folder, workers = _words(run), run.workers
    chunks = [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]
    if workers < 2:
        return torch.from_numpy(np.concatenate([_chunk_ids(folder, chunk) for chunk in chunks]))
    with ProcessPoolExecutor(workers) as pool:
        return torch.from_numpy(np.concatenate(list(pool.map(_chunk_ids, [folder] * len(chunks), chunks))))


def _room(run: Run, vae: AutoencoderKL) -> SiblingData:
    """Everything in its final size, with noise for pictures, so that steps can be recorded while the pictures are still being made."""
    tokenizer = _tokenizer(run)
    plain = len(np.load(wait_for(run.data / "characters.npy")))
    count = plain + min(run.named, plain // PICTURES_PER_CHARACTER) * run.named_pictures
    device, tokens = run.device, qwen3.TEXT_TOKENS
    return SiblingData(
        latents=torch.randn(count, 64, 64, dtype=torch.float16, device=device),
        mean=torch.zeros(64, device=device),
        deviation=torch.ones(64, device=device),
        shift=torch.tensor(vae.config.shift_factor, device=device),
        scale=torch.tensor(vae.config.scaling_factor, device=device),
        captions=torch.ones(count, CAPTIONS, tokens, dtype=torch.int16, device=device),
        named_from=plain,
        source=torch.zeros(1, dtype=torch.int64, device=device),
        target=torch.ones(1, dtype=torch.int64, device=device),
        instructions=torch.ones(1, tokens, dtype=torch.int16, device=device),
        empty=torch.from_numpy(prompt_ids(tokenizer, [""])[0]).to(device),
        pad=int(tokenizer.pad_token_id),
    )


def _fill(run: Run, data: SiblingData, vae: AutoencoderKL) -> None:
    """Captions, latents and edits; the statistics of the latents become klein's batch norm."""
    codec = FluxCodec(vae)
    start = 0
    for folder in (run.data, run.data / FOLDER):
        wait_for(folder / "done")
        pictures = np.load(folder / "pictures.npy", mmap_mode="r")
        rows = slice(start, start + len(pictures))
        texts = (folder / "captions.txt").read_text().splitlines()
        data.captions[rows] = _all_ids(run, texts).view(len(pictures), CAPTIONS, -1).to(run.device)
        with torch.no_grad():
            fill(data.latents[rows], pictures, chunk=512, convert=lambda part: pack(codec.moments(to_model(part))[0]))
        start += len(pictures)
    sampled = data.latents[:: max(1, len(data.latents) // 8000)].float().flatten(0, 1)
    data.mean.copy_(sampled.mean(0))
    data.deviation.copy_(sampled.std(0))


def _edits(run: Run, data: SiblingData) -> None:
    """As many edits as there is room for."""
    edits = torch.from_numpy(np.load(wait_for(run.data / "done").parent / "edits.npy").astype(np.int64))
    texts = (run.data / "edits.txt").read_text().split("\n")[: len(edits)]
    order = torch.randperm(len(edits), generator=torch.Generator().manual_seed(run.seed))
    some = order[torch.arange(len(data.source)) % len(edits)]
    data.source.copy_(edits[some, 0])
    data.target.copy_(edits[some, 1])
    data.instructions.copy_(_all_ids(run, [texts[i] for i in some.tolist()]))


def _models(run: Run) -> SiblingModels:
    if run.init is None:
        models = SiblingModels(
            qwen3.build_encoder(_tokenizer(run)), klein.build_transformer(), z_image.build_transformer()
        )
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


def run(run: Run) -> None:
    """Writes `siblings/klein`, `siblings/z_image` (in `siblings_base/` before guidance) and `siblings.json` into the work folder.

    A short run ends before guidance.
    """
    torch.manual_seed(run.seed)
    run.work.mkdir(parents=True, exist_ok=True)
    vae = load_trained(weights_folder("flux") / "vae", run.device)
    tokenizer = _tokenizer(run)
    models = _models(run)
    data = _room(run, vae)
    edits = int(np.load(run.data / "characters.npy").shape[0] * 2.4)
    data.source, data.target = (each.repeat(edits) for each in (data.source, data.target))
    data.instructions = data.instructions.repeat(edits, 1)
    sizes = Batches(run.batch, max(1, run.batch * 4 // 5), max(1, run.batch * 3 // 10))
    short = run.seconds < SHORT_SECONDS
    frozen = models.frozen_copy()
    siblings = Siblings(models, data.pad, run.device, compiles_blocks=not short)
    plan = BASE_PLAN if run.init is None or short else replace(BASE_PLAN, learning_rate=FURTHER_LEARNING_RATE)
    plan = replace(plan, max_steps=run.max_steps)
    base = Training(models.modules(), BaseLoss(siblings, data, sizes), plan, run.work / "siblings_base.pt")
    base.prepare()
    guided = None
    if not short:
        guided_plan = replace(GUIDED_PLAN, max_steps=run.max_steps)
        guided_loss = GuidedLoss(siblings, Siblings(frozen, data.pad, run.device), data, sizes)
        guided = Training(models.modules(), guided_loss, guided_plan, run.work / "siblings_guided.pt")
        guided.prepare()
    _fill(run, data, vae)
    _edits(run, data)
    base.say("data is there")

    base.resume()
    left = run.seconds_left() - SAVING_SECONDS
    if guided is not None:
        left = (left - MEASURING_SECONDS) * (1 - GUIDED_SHARE)
    progress = base.run(left, lambda: save(run.work / "siblings_base", models, data, vae, tokenizer))
    save(run.work / "siblings_base", models, data, vae, tokenizer)
    record: dict[str, object] = {
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
    write_json(run.work / "siblings.json", record)
    if guided is None:
        return
    frozen.load_from(models)
    guided.restart_average()
    guided.resume()
    left = run.seconds_left() - MEASURING_SECONDS
    progress = guided.run(left, lambda: save(run.work / "siblings", models, data, vae, tokenizer))
    save(run.work / "siblings", models, data, vae, tokenizer)
    record |= {
        "guided_steps": progress.steps,
        "guided_seconds": round(progress.train_seconds, 1),
        "guided_loss": progress.final_loss(),
    }
    write_json(run.work / "siblings.json", record)
    with torch.compiler.set_stance("force_eager"):
        found = measure(
            siblings, data, vae, tokenizer, pictures=3 if run.device.type == "cpu" else 256, world=run.world
        )
    write_json(run.work / "siblings_check.json", found)
    base.say(f"measured: {found}")
