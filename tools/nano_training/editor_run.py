"""Runs the editor's training: waits for pictures, latents and the vision-language model, trains, writes the pipeline folder."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from flenwheel_core.nano.models.editor import build_transformer, normalise, save_pipeline
from flenwheel_core.nano.models.flux import pack
from flenwheel_core.nano.models.vlm import WIDTH
from tools.nano_training.autoencoder import to_model
from tools.nano_training.conditions import CONDITION_TOKENS, encode_edits
from tools.nano_training.editor import EditLoss, EditorData, EditorModel, GuidedLoss
from tools.nano_training.loop import Plan, Training
from tools.nano_training.qwen_vae import QwenCodec, load_trained
from tools.nano_training.workspace import Run, fill, machine_facts, wait_for, write_json

PLAN = Plan(learning_rate=1e-3, ema_step=0.001)
FURTHER_LEARNING_RATE = 5e-4
GUIDED_PLAN = Plan(learning_rate=2e-4, warmup_steps=100, ema_step=0.002)
GUIDED_SHARE = 0.2


def _save(run: Run, model: EditorModel, vae: AutoencoderKLQwenImage, vlm: Qwen2_5_VLForConditionalGeneration) -> None:
    processor = AutoProcessor.from_pretrained(run.work / "vlm")
    transformer = build_transformer(vlm.config.text_config.hidden_size)
    transformer.load_state_dict(model.transformer.state_dict())
    save_pipeline(run.work / "editor", deepcopy(vae), transformer, deepcopy(vlm), processor.tokenizer, processor)


def run(run: Run) -> None:
    """Writes `editor/` with a record `editor.json` into the work folder."""
    torch.manual_seed(run.seed)
    wait_for(run.data / "done")
    pictures = np.load(run.data / "pictures.npy", mmap_mode="r")
    edits = torch.from_numpy(np.load(run.data / "edits.npy").astype(np.int64))
    instructions = (run.data / "edits.txt").read_text().split("\n")[: len(edits)]
    # Noise in the final shapes, so that the step is recorded while the vision-language model is still being trained.
    room = (len(edits), CONDITION_TOKENS, WIDTH)
    data = EditorData(
        latents=torch.randn(len(pictures), 64, 64, dtype=torch.float16, device=run.device),
        source=edits[:, 0].to(run.device),
        target=edits[:, 1].to(run.device),
        condition=torch.randn(room, dtype=torch.bfloat16, device=run.device),
        lengths=torch.full((len(edits),), CONDITION_TOKENS, device=run.device),
        empty=torch.randn((len(pictures), *room[1:]), dtype=torch.bfloat16, device=run.device),
        empty_length=torch.full((1,), CONDITION_TOKENS, device=run.device),
    )
    plan = replace(PLAN, max_steps=run.max_steps)
    if run.init is None:
        transformer = build_transformer(WIDTH)
    else:
        transformer = QwenImageTransformer2DModel.from_pretrained(
            run.init / "transformer", torch_dtype=torch.float32, use_safetensors=True
        )
        plan = replace(plan, learning_rate=FURTHER_LEARNING_RATE)
    model = EditorModel(transformer.to(run.device).train(), CONDITION_TOKENS, run.device)
    training = Training(
        {"transformer": model.transformer}, EditLoss(model, data, run.batch), plan, run.work / "editor.pt"
    )
    training.prepare()
    copy = deepcopy(model.transformer).requires_grad_(False)
    teacher = EditorModel(copy, CONDITION_TOKENS, run.device)
    guiding = Training(
        {"transformer": model.transformer},
        GuidedLoss(model, teacher, data, run.batch),
        replace(GUIDED_PLAN, max_steps=run.max_steps),
        run.work / "editor_guided.pt",
    )
    guiding.prepare()

    wait_for(run.work / "vlm.json")
    vlm = (
        Qwen2_5_VLForConditionalGeneration.from_pretrained(run.work / "vlm", dtype=torch.float32, use_safetensors=True)
        .to(run.device)
        .eval()
    )
    condition, lengths = encode_edits(run, vlm, pictures, edits[:, 0], instructions)
    data.condition.copy_(condition)
    data.lengths.copy_(lengths)
    everything = torch.arange(len(pictures))
    empty, empty_lengths = encode_edits(run, vlm, pictures, everything, [""] * len(pictures), empty_share=1.0)
    data.empty.copy_(empty)
    data.empty_length.copy_(empty_lengths[:1])
    del condition, empty
    if run.init is None:
        vae = load_trained(wait_for(run.work / "qwen_vae_latents.npy").parent / "qwen_vae", run.device)
        latents = np.load(run.work / "qwen_vae_latents.npy", mmap_mode="r")
        fill(data.latents, latents, convert=lambda part: pack(normalise(vae, part.float())))
    else:
        vae = load_trained(run.init / "vae", run.device)
        codec = QwenCodec(deepcopy(vae))
        with torch.no_grad():
            fill(
                data.latents,
                pictures,
                chunk=512,
                convert=lambda part: pack(normalise(vae, codec.moments(to_model(part))[0])),
            )
    training.resume()
    progress = training.run(run.seconds_left() * (1 - GUIDED_SHARE), lambda: _save(run, model, vae, vlm))
    _save(run, model, vae, vlm)
    copy.load_state_dict(model.transformer.state_dict())
    guiding.restart_average()
    guiding.resume()
    guided = guiding.run(run.seconds_left(), lambda: _save(run, model, vae, vlm))
    _save(run, model, vae, vlm)
    record = {
        "edits": len(edits),
        "batch": run.batch,
        "steps": progress.steps,
        "seconds": round(progress.train_seconds, 1),
        "final_loss": progress.final_loss(),
        "guided_steps": guided.steps,
        "guided_seconds": round(guided.train_seconds, 1),
        "guided_loss": guided.final_loss(),
        "seed": run.seed,
        "made_with": machine_facts(run.device),
    }
    write_json(run.work / "editor.json", record)
