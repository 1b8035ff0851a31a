"""The siblings' training data on the device: room for it at once, so that steps can be recorded, and its content when it is there."""

import hashlib
import json

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import PreTrainedTokenizerBase

from flenwheel_core.base.errors import InputError
from flenwheel_core.nano.models import qwen3
from flenwheel_core.nano.models.flux import pack
from tools.nano_training.autoencoder import to_model
from tools.nano_training.data import CAPTIONS, PICTURES_PER_CHARACTER
from tools.nano_training.names import FOLDER
from tools.nano_training.sibling_words import Words, prompt_ids, state_of
from tools.nano_training.siblings import SiblingData
from tools.nano_training.vae import FluxCodec
from tools.nano_training.workspace import Run, fill, wait_for, write_array, write_json

LATENTS, MADE_FROM = "siblings_latents.npy", "siblings_latents.json"
EDITS_PER_PICTURE = 2.4
STATISTICS_PICTURES = 8000


def room(run: Run, vae: AutoencoderKL, tokenizer: PreTrainedTokenizerBase) -> SiblingData:
    """Everything in its final size, with noise for pictures: the data itself may still be being made."""
    plain = len(np.load(wait_for(run.data / "characters.npy")))
    names = run.data / FOLDER / "characters.npy"
    asked = min(run.named, plain // PICTURES_PER_CHARACTER) * run.named_pictures
    count = plain + (len(np.load(names)) if names.exists() else asked)
    edits = int(plain * EDITS_PER_PICTURE)
    device, tokens = run.device, qwen3.TEXT_TOKENS
    return SiblingData(
        latents=torch.randn(count, 64, 64, dtype=torch.float16, device=device),
        mean=torch.zeros(64, device=device),
        deviation=torch.ones(64, device=device),
        shift=torch.tensor(vae.config.shift_factor, device=device),
        scale=torch.tensor(vae.config.scaling_factor, device=device),
        captions=torch.ones(count, CAPTIONS, tokens, dtype=torch.int16, device=device),
        named_from=plain,
        source=torch.zeros(edits, dtype=torch.int64, device=device),
        target=torch.ones(edits, dtype=torch.int64, device=device),
        instructions=torch.ones(edits, tokens, dtype=torch.int16, device=device),
        empty=torch.from_numpy(prompt_ids(tokenizer, [""])[0]).to(device),
        pad=int(tokenizer.pad_token_id),
    )


def bring(run: Run, data: SiblingData, vae: AutoencoderKL, words: Words) -> None:
    """Captions, latents and as many edits as there is room for; the statistics of the latents become klein's batch norm."""
    captions, instructions = words.ready()
    if len(captions) != len(data.captions):
        raise InputError(
            f"The data holds {len(captions)} pictures, and room was made for {len(data.captions)}.",
            remedy="Give --named and --named-pictures as they were given to the part data.",
        )
    fill(data.captions, captions)
    _latents(run, data, vae)
    sampled = data.latents[:: max(1, len(data.latents) // STATISTICS_PICTURES)].float().flatten(0, 1)
    data.mean.copy_(sampled.mean(0))
    data.deviation.copy_(sampled.std(0))
    edits = torch.from_numpy(np.load(run.data / "edits.npy").astype(np.int64))
    order = torch.randperm(len(edits), generator=torch.Generator().manual_seed(run.seed))
    some = order[torch.arange(len(data.source)) % len(edits)]
    data.source.copy_(edits[some, 0])
    data.target.copy_(edits[some, 1])
    data.instructions.copy_(torch.from_numpy(np.array(instructions))[some])


def state_digest(module: torch.nn.Module) -> str:
    """Tells the weights of one model from those of another."""
    total = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _latents(run: Run, data: SiblingData, vae: AutoencoderKL) -> None:
    """Encoded once, and kept beside the checkpoints: a run that goes on reads a tenth of what pictures take."""
    made_from = {"data": json.loads(json.dumps(state_of(run.data))), "vae": state_digest(vae)}
    kept, note = run.work / LATENTS, run.work / MADE_FROM
    if note.exists() and json.loads(note.read_text()) == made_from:
        fill(data.latents, np.load(kept, mmap_mode="r"))
        return
    codec, start = FluxCodec(vae), 0
    for folder in (run.data, run.data / FOLDER):
        pictures = np.load(folder / "pictures.npy", mmap_mode="r")
        rows = slice(start, start + len(pictures))
        with torch.no_grad():
            fill(data.latents[rows], pictures, chunk=512, convert=lambda part: pack(codec.moments(to_model(part))[0]))
        start += len(pictures)
    write_array(kept, data.latents.cpu().numpy())
    write_json(note, made_from)
