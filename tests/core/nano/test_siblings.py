"""Nano klein and nano Z-Image are ordinary folders of their families: pipelines draw what the program draws, and it is what was asked."""

from pathlib import Path

import pytest
import torch
from diffusers import Flux2KleinPipeline, ZImagePipeline
from PIL import Image

from flenwheel_core.base.errors import InterruptedStageError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.trainer import train_lora as train_klein
from flenwheel_core.models.protocols import EditJob, GenerateJob
from flenwheel_core.models.registry import open_editor, open_generator
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.trainer import train_lora as train_z_image
from flenwheel_core.nano.measure import NanoEmbedder, NanoReader
from flenwheel_core.nano.models.flux import PICTURE_SIZE
from flenwheel_core.nano.models.qwen3 import TEXT_TOKENS, chat, load_tokenizer
from flenwheel_core.nano.world import HELD_OUT_FROM, View, caption, make_character, make_view, render
from tests.kit.character_runs import RECIPE, character_job, hooks, largest_difference
from tools.nano_training.names import named_captions

FIRST = HELD_OUT_FROM + 77_000
PROMPT = "photo of a person, smiling, half-left view, forest background"
VIEWS = [
    View("half-left", "smiling", background="forest", lighting="day"),
    View("profile-right", "neutral", background="beach", lighting="sunset"),
    View("front", "angry", "standing", "night city", "night"),
    View("front", "sad", background="studio", lighting="studio"),
]


pytestmark = pytest.mark.usefixtures("siblings")


@pytest.fixture
def trained(siblings: bool) -> None:
    """Skips what random weights cannot do."""
    if not siblings:
        pytest.skip("the trained weights of nano klein and nano Z-Image are not in this checkout")


def sampler(steps: int, true_cfg: float = 1.0) -> Sampler:
    return Sampler(steps=steps, guidance=1.0, true_cfg=true_cfg, width=PICTURE_SIZE, height=PICTURE_SIZE)


def drawn(
    reference: str, prompts: list[str], settings: Settings, steps: int, true_cfg: float = 1.0
) -> list[Image.Image]:
    with open_generator(reference, settings) as generator:
        jobs = [GenerateJob(str(i), prompt, i, sampler(steps, true_cfg)) for i, prompt in enumerate(prompts)]
        made = {one.key: one.image for one in generator.generate(jobs)}
    return [made[str(i)] for i in range(len(prompts))]


def test_klein_draws_what_its_pipeline_draws(settings: Settings) -> None:
    pipeline = Flux2KleinPipeline.from_pretrained(weights_folder("klein"), dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt=PROMPT,
        height=PICTURE_SIZE,
        width=PICTURE_SIZE,
        num_inference_steps=3,
        guidance_scale=2.0,
        max_sequence_length=TEXT_TOKENS,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    (ours,) = drawn("nano_klein", [PROMPT], settings, 3, true_cfg=2.0)
    assert largest_difference(ours, theirs) <= 1


def test_z_image_draws_what_its_pipeline_draws(settings: Settings) -> None:
    pipeline = ZImagePipeline.from_pretrained(weights_folder("zimage"), dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        PROMPT,
        height=PICTURE_SIZE,
        width=PICTURE_SIZE,
        num_inference_steps=3,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    (ours,) = drawn("nano_zimage", [PROMPT], settings, 3, true_cfg=2.0)
    assert largest_difference(ours, theirs) <= 1


@pytest.mark.parametrize("reference", ["nano_klein", "nano_zimage"])
def test_captions_are_followed(settings: Settings, trained: None, reference: str) -> None:
    asked = [caption(make_character(FIRST + i), view) for i, view in enumerate(VIEWS)]
    seen = NanoReader().read(drawn(reference, asked, settings, 12))
    assert [read["background"] for read in seen] == [view.background for view in VIEWS]
    assert [read["pose"] for read in seen] == [view.pose for view in VIEWS]
    assert sum(read["angle"] == view.angle for read, view in zip(seen, VIEWS, strict=True)) >= 3


def test_klein_edits_with_one_reference_and_with_two(settings: Settings, trained: None) -> None:
    characters = [make_character(FIRST + 10 + i) for i in range(3)]
    wanted = ("beach background", "forest background, night lighting", "profile-left view, desert background")
    sources = [render(character, View(background="studio")) for character in characters]
    further = [render(character, View("half-right", background="urban")) for character in characters]
    given = [(source,) for source in sources] + list(zip(sources, further, strict=True))
    jobs = [
        EditJob(str(i), f"same person, {wanted[i % 3]}", i, sampler(12), pictures) for i, pictures in enumerate(given)
    ]
    with open_editor("nano_klein", settings) as editor:
        made = {edit.key: edit.image for edit in editor.edit(jobs)}
    images = [made[str(i)] for i in range(6)]
    seen = NanoReader().read(images)
    assert [read["background"] for read in seen] == ["beach", "forest", "desert"] * 2
    embedder = NanoEmbedder()
    alike = (embedder.embed(images) * embedder.embed([*sources, *sources])).sum(1)
    assert float(alike.mean()) > 0.6
    assert largest_difference(images[0], images[3]) > 8


def test_longest_captions_fit_the_text_encoder() -> None:
    tokenizer = load_tokenizer(weights_folder("klein") / "tokenizer")
    views = [(make_character(i), make_view(FIRST + i)) for i in range(150)]
    texts = [caption(*pair) for pair in views] + [
        text for i, pair in enumerate(views) for text in named_captions(*pair, i)
    ]
    assert max(len(ids) for ids in tokenizer([chat(text) for text in texts]).input_ids) <= TEXT_TOKENS


@pytest.mark.slow
@pytest.mark.parametrize("part", ["klein", "zimage"])
def test_a_stopped_training_goes_on_to_the_same_bytes(settings: Settings, tmp_path: Path, part: str) -> None:
    recipe = RECIPE.model_copy(
        update={
            "steps": 3,
            "resolution": PICTURE_SIZE,
            "sampling": RECIPE.sampling.model_copy(update={"every_steps": 0}),
        }
    )
    cache = TensorCache(tmp_path / "cache")

    def train(folder: str, stop_after: int = 0) -> bytes:
        job = character_job(tmp_path / folder, sampler(2), "photo of ohwx_char person", "ohwx_char", recipe)
        if part == "klein":
            return train_klein(
                Flux2Model.find(weights_folder("klein"), "nano_klein", settings), job, hooks(stop_after), cache
            ).lora
        return train_z_image(
            ZImageModel.find(weights_folder("zimage"), "nano_zimage", settings), job, hooks(stop_after), cache
        ).lora

    whole = train("a")
    with pytest.raises(InterruptedStageError):
        train("b", stop_after=2)
    assert train("b") == whole
