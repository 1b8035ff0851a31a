"""The demo draws what the program draws, on every family that a LoRA can be published of: diffusers' real pipelines, tiny."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.pipeline_call import pipeline_call
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from flenwheel_core.models.registry import families, family_of, open_generator
from flenwheel_core.publishing.space import APP
from tests.kit import tiny_editor, tiny_klein, tiny_z_image
from tests.kit.character_runs import largest_difference
from tests.kit.lora_files import lora_on

PROMPT, SEED = "photo of ohwx_mira person, smiling", 7


def nano(folder: Path) -> Path:
    return Path(shutil.copytree(weights_folder("flux"), folder))


BASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "FLUX.1": (nano, "transformer_blocks.0.attn.to_v"),
    "FLUX.2": (tiny_klein.save_tiny, "transformer_blocks.0.attn.to_v"),
    "Qwen-Image": (tiny_editor.save_tiny_base, "transformer_blocks.0.attn.to_v"),
    "Z-Image": (tiny_z_image.save_tiny, "layers.0.attention.to_v"),
}
"""How a base is made, and a linear that a LoRA sits on."""


def app_of(space: Path) -> Any:
    """The module `app.py` of a demo's folder."""
    spec = importlib.util.spec_from_file_location("space_app_of_a_demo", space / "app.py")
    assert spec is not None and spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    return app


def test_every_family_that_can_be_published_is_tried() -> None:
    shipped = [family for family in families() if family.trainer.startswith("flenwheel_core.")]
    assert set(BASES) == {family.name for family in shipped if family.generator}


@pytest.mark.parametrize("name", BASES)
def test_a_demo_draws_what_the_program_draws(name: str, settings: Settings, tmp_path: Path) -> None:
    make, linear = BASES[name]
    space = tmp_path / "space"
    space.mkdir()
    base = make(space / "base")
    shutil.copy(APP, space / "app.py")
    lora = space / "mira.safetensors"
    lora.write_bytes(lora_on(base, linear))
    app, facts = app_of(space), {"base": "base", "lora": lora.name}
    pipeline = app.load(facts)
    pipeline.set_progress_bar_config(disable=True)
    made = {}
    for true_cfg in (1.0, 3.0):
        sampler = Sampler(steps=2, guidance=2.0, true_cfg=true_cfg, width=64, height=64)
        call = json.loads(json.dumps(pipeline_call(family_of(base), sampler, base)))  # as space.json holds it
        draw = app.drawer(pipeline, facts | {"call": call})
        with open_generator(str(base), settings, ModelSetup(loras=(LoraFile(lora, 1.0),))) as generator:
            (expected,) = generator.generate([GenerateJob("a", PROMPT, SEED, sampler)])
        made[true_cfg] = draw(PROMPT, SEED, 1.0)
        assert largest_difference(made[true_cfg], expected.image) <= 1
        assert largest_difference(draw(PROMPT, SEED, 0.0), made[true_cfg]) > 1  # the LoRA is on
    assert largest_difference(made[1.0], made[3.0]) > 1  # and so is guidance
