"""The dress rehearsal's Kontext folder is one that the family opens as an editor and edits with."""

import shutil
from pathlib import Path

from benchmarks.speed.rehearsal_kontext import kontext_folder
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux1.editor import open_editor
from flenwheel_core.models.protocols import EditJob
from flenwheel_core.models.references import ModelRole
from flenwheel_core.models.registry import require_kind
from tests.kit.tiny_editor import picture


def test_flux_under_another_class_edits(settings: Settings, tmp_path: Path) -> None:
    flux = Path(shutil.copytree(weights_folder("flux"), tmp_path / "flux"))
    folder = kontext_folder(tmp_path / "kontext", flux)
    assert kontext_folder(folder, flux) == folder
    require_kind(folder, ModelRole.EDITOR)
    require_kind(flux, ModelRole.GENERATOR)
    weights = next((folder / "transformer").glob("*.safetensors"))
    assert weights.samefile(flux / "transformer" / weights.name)
    sampler = Sampler(steps=1, guidance=2.5, true_cfg=1.0, width=64, height=64)
    with open_editor(folder, "small", settings) as editor:
        (edited,) = editor.edit([EditJob("a", "a dog", 1, sampler, (picture(64, 64, 1),))])
    assert edited.image.size == (64, 64)
