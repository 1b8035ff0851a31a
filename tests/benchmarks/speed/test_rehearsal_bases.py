"""The dress rehearsal's folders of bases, made small, are those that their families open and draw with."""

import shutil
from pathlib import Path

from benchmarks.speed.rehearsal_bases import ZImageSizes, qwen_image_folder, z_image_folder
from benchmarks.speed.rehearsal_klein import Qwen3Sizes
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.protocols import GenerateJob
from flenwheel_core.models.references import ModelRole
from flenwheel_core.models.registry import family_of, load_entry, require_kind

SMALL = ZImageSizes(32, 2, 1, 2, (4, 6, 6), Qwen3Sizes(3, 8, 8, 2, 1, 4, 960), (4, 4, 4, 4))


def draws(folder: Path, settings: Settings) -> None:
    require_kind(folder, ModelRole.GENERATOR)
    sampler = Sampler(steps=1, guidance=1.0, true_cfg=2.0, width=64, height=64)
    with load_entry(family_of(folder).generator)(folder, "small", settings) as generator:
        (drawn,) = generator.generate([GenerateJob("a", "a cat", 1, sampler)])
    assert drawn.image.size == (64, 64)


def test_a_small_z_image_draws(settings: Settings, tmp_path: Path) -> None:
    folder = z_image_folder(tmp_path / "z-image", SMALL)
    assert z_image_folder(folder, SMALL) == folder
    draws(folder, settings)


def test_the_editor_without_its_eyes_is_a_base_that_draws(settings: Settings, tmp_path: Path) -> None:
    editor = Path(shutil.copytree(weights_folder("editor"), tmp_path / "editor"))
    folder = qwen_image_folder(tmp_path / "qwen-image", editor)
    assert qwen_image_folder(folder, editor) == folder and not (folder / "processor").exists()
    weights = next((folder / "transformer").glob("*.safetensors"))
    assert weights.samefile(editor / "transformer" / weights.name)
    draws(folder, settings)
