"""The dress rehearsal's klein folder, made small, is one that the family opens, draws and edits with."""

from pathlib import Path

from benchmarks.speed.rehearsal_klein import KleinSizes, Qwen3Sizes, klein_folder
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.flux2.artist import open_artist
from flenwheel_core.models.protocols import EditJob, GenerateJob
from flenwheel_core.models.references import ModelRole
from flenwheel_core.models.registry import require_kind
from tests.kit.tiny_editor import picture

SMALL = KleinSizes(1, 1, 1, Qwen3Sizes(28, 8, 8, 2, 1, 4, 960), (4, 4, 4, 4), 4)


def test_the_small_folder_draws_and_edits(settings: Settings, tmp_path: Path) -> None:
    folder = klein_folder(tmp_path / "klein", SMALL)
    assert klein_folder(folder, SMALL) == folder
    for role in (ModelRole.GENERATOR, ModelRole.EDITOR):
        require_kind(folder, role)
    sampler = Sampler(steps=1, guidance=1.0, true_cfg=2.0, width=64, height=64)
    with open_artist(folder, "small", settings) as artist:
        (drawn,) = artist.generate([GenerateJob("a", "a cat", 1, sampler)])
        (edited,) = artist.edit([EditJob("b", "a dog", 1, sampler, (picture(64, 64, 1),))])
    assert drawn.image.size == edited.image.size == (64, 64)
