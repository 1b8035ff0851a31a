"""A study over several bases: each draws alone, with the style named, and with the LoRAs that were trained on it."""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.library.studies import Studies
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.plans.style_study import Studied, style_study
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.reports.study_page import write_study_page
from flenwheel_core.requests.style_study import StyleStudyRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages import style_study as stage
from flenwheel_core.store import Store
from tests.kit.lora_files import lora_on
from tests.kit.stage_world import context
from tests.kit.style_world import MONET, studied_style, verdict
from tests.kit.tiny_klein import save_tiny

TO_V = "transformer_blocks.0.attn.to_v"


def small(recipe: Recipe) -> Recipe:
    """How the pictures look is no matter here."""
    assert recipe.style is not None
    return recipe.model_copy(
        update={
            "style": recipe.style.model_copy(update={"card": recipe.style.card[:4], "named": ("watercolor",)}),
            "generate": recipe.generate.model_copy(update={"sampler": Sampler(steps=1, width=64, height=64)}),
            "benchmark": recipe.benchmark.model_copy(update={"seeds_per_cell": 1}),
            "models": recipe.models.model_copy(update={"reader": None}),
        }
    )


def lora(store: Store, base: Path, reference: str, name: str) -> LoraRecord:
    return LoraRecord(
        digest=store.put_blob(lora_on(base, TO_V)), name=name, target="generator", base_model=reference,
        trigger=MONET.trigger, class_word=MONET.class_word, rank=2, alpha=2.0, steps=1, images=4, dataset="d" * 64,
        request="e" * 64,
    )  # fmt: skip


@pytest.fixture
def here(settings: Settings) -> StageContext:
    return context(settings)


def planned(here: StageContext, loras: list[LoraRecord]) -> StyleStudyRequest:
    known = studied_style(here.store)
    tried = [Studied(one, (1.0,)) for one in loras]
    return style_study(
        MONET.ref(), small(load_recipe("nano_style")), here.store, tried, known.against, known.fingerprint
    )


def test_two_bases_of_two_families_are_drawn_measured_and_shown(here: StageContext, tmp_path: Path) -> None:
    klein = save_tiny(tmp_path / "my-klein")
    first = lora(here.store, weights_folder("flux"), "nano", "monet-flux")
    request = planned(here, [first, lora(here.store, klein, str(klein), "monet-klein")])
    names = [way.name for way in request.ways]
    assert names == [
        "base on nano", "“watercolor” on nano", "monet-flux at 1 on nano",
        "base on my-klein", "“watercolor” on my-klein", "monet-klein at 1 on my-klein",
    ]  # fmt: skip
    result = stage.style_study(request, here)
    here.store.put_request(request)
    here.store.put_result(request, result)
    assert [one.way.name for one in result.ways] == names and result.photos is not None
    drawn = [here.store.get_images(one.images) for one in result.ways]
    assert len({record.digest for records in drawn for record in records}) == 6 * 4, "no two pictures are the same"
    assert {record.model for record in drawn[0]} != {record.model for record in drawn[3]}
    assert result.named in names and result.strength is None, "nobody asked for a strength"
    assert all(one.gain is not None for one in result.ways if one.way.name != result.named)

    studies = Studies(here.store)
    studies.add("monet", "two bases", request)
    for pair in studies.pairs(request.key(), ("base on nano", "monet-klein at 1 on my-klein")):
        studies.judge(request.key(), verdict(pair, "first"))
    made = next(line for line in studies.of("monet") if line.name == "two bases")
    page = write_study_page(tmp_path / "page", here.store, made, result, studies.wins(made.request)).read_text()
    assert all(name in page for name in names) and "photographs (given, not drawn)" in page
    assert str(tmp_path) not in page, "where a base lies is nobody's business"


def test_bases_of_one_name_are_told_apart(here: StageContext, tmp_path: Path) -> None:
    """Two revisions of one model, and two folders that are called alike."""
    folder = weights_folder("flux")
    hub = [f"ana/model@{letter * 40}" for letter in "ab"]
    revised = [lora(here.store, folder, base, f"lora-{number}") for number, base in enumerate(hub)]
    names = [way.name for way in planned(here, revised).ways]
    assert "base on model@aaaaaaa" in names and "lora-1 at 1 on model@bbbbbbb" in names
    for end, first, second in (("", "model (1)", "model (2)"), ("@1", "model@1 (1)", "model@1 (2)")):
        alike = [lora(here.store, folder, f"{tmp_path}/{place}/model{end}", f"lora-{place}") for place in ("x", "y")]
        names = [way.name for way in planned(here, alike).ways]
        assert f"base on {first}" in names and f"lora-y at 1 on {second}" in names
        assert not any(str(tmp_path) in name for name in names), "where a base lies is nobody's business"
