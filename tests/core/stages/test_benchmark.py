"""The benchmark stage on the nano generator: drawn once, scored alike every time."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.evaluation.bleed import bleed_items
from flenwheel_core.evaluation.model_card import model_card_items
from flenwheel_core.evaluation.report import benchmark_markdown
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.benchmark import BenchmarkRequest
from flenwheel_core.stages.benchmark import benchmark
from flenwheel_core.store.pictures import load_picture
from tests.kit.stage_world import HERO, context, ingested, sources, tiny_vision_model

pytestmark = pytest.mark.filterwarnings("ignore:`torch_dtype` is deprecated:FutureWarning")
CELLS = ("front-neutral", "profile-left-sad", "t-pose")


def request_on(settings: Settings, model: str) -> BenchmarkRequest:
    stage = context(settings)
    known = ingested(stage, model, sources(stage))
    assert known.fingerprint is not None
    recipe = load_recipe("nano").model_copy(update={"benchmark": BenchmarkRecipe(seeds_per_cell=1)})
    return BenchmarkRequest(
        character=HERO,
        base="nano",
        challenger=None,
        fingerprint=known.fingerprint,
        verifier=model,
        items=tuple(item for item in model_card_items(HERO, recipe) if item.cell in CELLS),
        held_out=known.sources,
        bleed_items=bleed_items(HERO, load_recipe("nano"))[:2],
        recipe=recipe.benchmark,
        sampler=Sampler(steps=1, guidance=3.5, width=128, height=128),
    )


@pytest.mark.slow
def test_the_card_is_drawn_once_and_scored_alike(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_on(settings, str(tiny_vision_model(tmp_path / "dino")))
    stage = context(settings)
    first = benchmark(request, stage)
    card = first.challenger
    assert [cell.cell for cell in card.cells] == list(CELLS)
    assert card.lora is None and first.champion is None and first.comparison is None
    assert 1 < card.diversity <= 3
    assert card.pass_rate_low <= card.pass_rate <= card.pass_rate_high
    assert (
        card.real_likeness is not None and card.real_likeness.real is not None and -1 <= card.real_likeness.drawn <= 1
    )
    assert card.bleed is not None and (card.bleed.pictures, card.bleed.measured) == (2, 2)
    images = stage.store.get_images(first.images)
    assert [image.cell for image in images] == [*CELLS, "another", "another"]
    assert "somebody else gets its face" in benchmark_markdown(first)
    assert load_picture(stage.store, first.grid).width > 400

    def refuse(*_: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr("flenwheel_core.stages.generate.open_generator", refuse)
    assert benchmark(request, stage).to_bytes() == first.to_bytes()


def test_another_verifier_is_refused_before_anything_is_drawn(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_on(settings, str(tiny_vision_model(tmp_path / "dino")))
    other = request.fingerprint.model_copy(update={"verifier_version": "0" * 64})
    drawn: list[object] = []
    monkeypatch.setattr("flenwheel_core.stages.generate.open_generator", drawn.append)
    with pytest.raises(InputError, match="another verifier"):
        benchmark(request.model_copy(update={"fingerprint": other}), context(settings))
    assert drawn == []
