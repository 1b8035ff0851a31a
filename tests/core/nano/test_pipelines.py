"""The shipped FLUX and editor folders load with the network off, draw what is asked for and keep who it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLQwenImage, FluxPipeline, QwenImageEditPipeline
from transformers import CLIPTokenizer, T5TokenizerFast

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import EXPRESSIONS, Sampler
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.protocols import EditJob
from flenwheel_core.models.qwen_image.editor import open_editor
from flenwheel_core.nano.measure import NanoEmbedder, NanoReader
from flenwheel_core.nano.models.flux import PICTURE_SIZE, TEXT_TOKENS, image_ids
from flenwheel_core.nano.world import (
    HELD_OUT_FROM,
    View,
    caption,
    instruction,
    make_character,
    make_view,
    rare_name,
    render,
)
from tools.nano_training.autoencoder import psnr_db
from tools.nano_training.qwen_vae import QwenCodec
from tools.nano_training.qwen_vae import reconstruct as qwen_reconstruct
from tools.nano_training.vae import FluxCodec
from tools.nano_training.vae import reconstruct as flux_reconstruct

FIRST = HELD_OUT_FROM + 77_000


def renders(count: int) -> torch.Tensor:
    """(count, rows, columns, 3) of uint8, each of another held-out character."""
    return torch.stack(
        [torch.from_numpy(np.array(render(make_character(FIRST + i), make_view(FIRST + i)))) for i in range(count)]
    )


def test_flux_autoencoder_keeps_renders() -> None:
    vae = AutoencoderKL.from_pretrained(weights_folder("flux") / "vae", torch_dtype=torch.float32)
    codec = FluxCodec(vae)
    assert psnr_db(renders(6), lambda pixels: flux_reconstruct(codec, pixels)) > 34


def test_editor_autoencoder_keeps_renders() -> None:
    vae = AutoencoderKLQwenImage.from_pretrained(weights_folder("editor") / "vae", torch_dtype=torch.float32)
    codec = QwenCodec(vae)
    assert psnr_db(renders(6), lambda pixels: qwen_reconstruct(codec, pixels)) > 31


def test_names_and_triggers_are_few_known_tokens() -> None:
    folder = weights_folder("flux")
    clip = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    t5 = T5TokenizerFast.from_pretrained(folder / "tokenizer_2")
    for name in ("ohwx_char", "alice_char", "sks", rare_name(make_character(FIRST))):
        pieces = t5.convert_ids_to_tokens(t5(name).input_ids)
        assert "<unk>" not in pieces
        assert len(pieces) <= 7, pieces
        assert clip.decode(clip(name).input_ids[1:-1]).replace(" ", "") == name


def test_full_captions_fit_the_text_encoders() -> None:
    folder = weights_folder("flux")
    for tokenizer in (
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        T5TokenizerFast.from_pretrained(folder / "tokenizer_2"),
    ):
        longest = max(
            len(tokenizer(caption(make_character(FIRST + i), make_view(FIRST + i))).input_ids) for i in range(300)
        )
        assert longest <= TEXT_TOKENS


def test_flux_follows_captions() -> None:
    pipeline = FluxPipeline.from_pretrained(weights_folder("flux"), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    views = [
        View("half-left", "smiling", background="forest", lighting="day"),
        View("profile-right", "neutral", background="beach", lighting="sunset"),
        View("front", "angry", "standing", "night city", "night"),
        View("front", "sad", background="studio", lighting="studio"),
    ]
    asked = [caption(make_character(FIRST + i), view) for i, view in enumerate(views)]
    images = pipeline(
        asked,
        height=PICTURE_SIZE,
        width=PICTURE_SIZE,
        num_inference_steps=10,
        guidance_scale=3.5,
        max_sequence_length=TEXT_TOKENS,
        generator=[torch.Generator().manual_seed(i) for i in range(len(views))],
    ).images
    seen = NanoReader().read(images)
    assert [read["background"] for read in seen] == [view.background for view in views]
    assert [read["pose"] for read in seen] == [view.pose for view in views]
    assert sum(read["angle"] == view.angle for read, view in zip(seen, views, strict=True)) >= 3


def test_flux_reads_names() -> None:
    """A model that reads past names cannot bind a trigger: every LoRA would make everybody the character."""
    pipeline = FluxPipeline.from_pretrained(weights_folder("flux"), dtype=torch.float32)
    view = View("front", "smiling", background="forest")
    noise = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def prediction(name: str | None) -> torch.Tensor:
        text = caption(make_character(FIRST), view, name=name, describe=False)
        sequence, pooled, text_ids = pipeline.encode_prompt(text, None, max_sequence_length=TEXT_TOKENS)
        return pipeline.transformer(
            hidden_states=noise,
            encoder_hidden_states=sequence.expand(2, -1, -1),
            pooled_projections=pooled.expand(2, -1),
            timestep=torch.full((2,), 0.9),
            guidance=torch.full((2,), 3.5),
            img_ids=image_ids(8, 8, "cpu"),
            txt_ids=text_ids,
            return_dict=False,
        )[0]

    plain = prediction(None)
    for name in ("ohwx_char person", "ohwx_char", f"{rare_name(make_character(FIRST))} person"):
        assert (prediction(name) - plain).norm() > 0.3 * plain.norm(), name


def test_editor_changes_what_is_asked_and_keeps_who_it_is() -> None:
    characters = [make_character(FIRST + 10 + i) for i in range(3)]
    wanted = ("beach background", "forest background, night lighting", "profile-left view, desert background")
    settings = Settings(gpu="cpu")
    sampler = Sampler(steps=8, guidance=1.0, true_cfg=1.0, width=PICTURE_SIZE, height=PICTURE_SIZE)
    sources = [render(character, View(background="studio")) for character in characters]
    jobs = [
        EditJob(str(i), f"same person, {text}", i, sampler, (source,))
        for i, (text, source) in enumerate(zip(wanted, sources, strict=True))
    ]
    with open_editor(weights_folder("editor"), "nano", settings) as editor:
        made = {edit.key: edit.image for edit in editor.edit(jobs)}
    images = [made[str(i)] for i in range(3)]
    seen = NanoReader().read(images)
    assert [read["background"] for read in seen] == ["beach", "forest", "desert"]
    assert seen[2]["angle"] == "profile-left"
    embedder = NanoEmbedder()
    assert float((embedder.embed(images) * embedder.embed(sources)).sum(1).min()) > 0.6


def test_editor_follows_expressions() -> None:
    views = [View(expression=expression, background="forest") for expression in EXPRESSIONS]
    targets = [replace(view, expression=EXPRESSIONS[(i + 1) % 4]) for i, view in enumerate(views)]
    sampler = Sampler(steps=8, guidance=1.0, true_cfg=1.0, width=PICTURE_SIZE, height=PICTURE_SIZE)
    jobs = [
        EditJob(str(i), instruction(view, target), i, sampler, (render(make_character(FIRST + 20 + i), view),))
        for i, (view, target) in enumerate(zip(views, targets, strict=True))
    ]
    with open_editor(weights_folder("editor"), "nano", Settings(gpu="cpu")) as editor:
        made = {edit.key: edit.image for edit in editor.edit(jobs)}
    seen = NanoReader().read([made[str(i)] for i in range(4)])
    assert sum(read["expression"] == target.expression for read, target in zip(seen, targets, strict=True)) >= 3


@pytest.mark.parametrize(("part", "pipeline"), [("flux", FluxPipeline), ("editor", QwenImageEditPipeline)])
def test_folders_are_ordinary_pipelines(part: str, pipeline: type) -> None:
    loaded = pipeline.from_pretrained(weights_folder(part), local_files_only=True)  # type: ignore[arg-type, attr-defined]
    assert type(loaded) is pipeline
