"""Plans aim at what is missing, and are deterministic."""

from itertools import product

import pytest

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, ImageKind, ImageRecord, Labels
from flenwheel_core.documents.prompts import CARD_CELLS, CELLS_BY_ID, cell_of
from flenwheel_core.documents.wording import fill
from flenwheel_core.library.characters import PoolEntry
from flenwheel_core.plans.pictures import coverage, missing_cells, plan_edits, plan_generation
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe

MIRA = CharacterRef(name="mira", trigger="ohwx_char", class_word="person", kind="subject")


def entry(number: int, labels: Labels, *, real: bool = True) -> PoolEntry:
    image = ImageRecord(
        digest=f"{number:064x}",
        width=128,
        height=128,
        kind=ImageKind.SOURCE,
        stage="ingest",
        request="0" * 64,
        item=f"{number}.png",
        labels=labels,
    )
    return PoolEntry(image=image, caption="photo of ohwx_char person", real=real, turn=1, gate=None)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("nano")


@pytest.fixture
def pool() -> list[PoolEntry]:
    return [entry(number, Labels(angle="front", expression="neutral", pose="portrait")) for number in range(12)]


def test_the_card_has_23_different_cells() -> None:
    assert len(CARD_CELLS) == 23 == len(CELLS_BY_ID)
    portraits = {(cell.angle, cell.expression) for cell in CARD_CELLS if cell.pose == "portrait"}
    assert portraits == set(product(ANGLES, EXPRESSIONS))
    assert all(cell_of(cell.labels()) == cell for cell in CARD_CELLS)


def test_edits_aim_at_the_missing_cells(recipe: Recipe, pool: list[PoolEntry]) -> None:
    items = plan_edits([line.image for line in pool], pool, recipe, turn=1)
    assert len(items) == recipe.enrich.target_images
    assert len({item.key for item in items}) == len(items)
    assert {item.cell for item in items} == {cell.id for cell in CARD_CELLS} - {"front-neutral"}
    for item in items:
        assert item.cell is not None and CELLS_BY_ID[item.cell].is_shown_by(item.labels)


def test_an_edit_asks_only_for_what_its_prompt_can_say(recipe: Recipe) -> None:
    """A portrait has no words of its own: it is never asked of a full-body picture."""
    bodies = [entry(number, Labels(angle="front", expression="sad", pose="standing")) for number in range(6)]
    portraits = [entry(9 + number, Labels(angle="front", expression="sad", pose="portrait")) for number in range(2)]
    pool = [*bodies, *portraits]
    full_body = {line.image.digest for line in bodies}
    items = plan_edits([line.image for line in pool], pool, recipe, turn=1)
    assert {item.labels.pose for item in items} > {"portrait"}
    assert not [item for item in items if item.labels.pose == "portrait" and item.source in full_body]


def test_no_edits_when_no_cell_is_missing(recipe: Recipe) -> None:
    full = [entry(number, cell.labels()) for number, cell in enumerate(CARD_CELLS * 2)]
    assert missing_cells(full) == ()
    assert plan_edits([full[0].image], full, recipe, turn=2) == ()


def test_plans_are_deterministic_and_differ_by_turn_and_round(recipe: Recipe, pool: list[PoolEntry]) -> None:
    sources = [line.image for line in pool]
    first = plan_edits(sources, pool, recipe, turn=1)
    assert first == plan_edits(sources, pool, recipe, turn=1)
    assert first == plan_edits(sources[::-1], pool, recipe, turn=1)
    assert {item.seed for item in first}.isdisjoint(
        item.seed for item in plan_edits(sources, pool, recipe, turn=1, round_=2)
    )
    assert {item.seed for item in first}.isdisjoint(item.seed for item in plan_edits(sources, pool, recipe, turn=2))


def test_a_template_that_failed_before_is_used_less(recipe: Recipe, pool: list[PoolEntry]) -> None:
    sources = [line.image for line in pool]
    weights = {"view-background": 0.05, "view-light": 1.0}
    items = plan_edits(sources, pool, recipe, turn=1, weights=weights)
    used = [item.template for item in items]
    assert used.count("view-light") > 3 * used.count("view-background")


def test_generation_draws_every_cell_with_several_seeds(recipe: Recipe, pool: list[PoolEntry]) -> None:
    items = plan_generation(MIRA, pool, recipe, turn=1)
    assert len(items) == recipe.generate.target_images
    assert {item.cell for item in items} == {cell.id for cell in CARD_CELLS}
    assert len({item.seed for item in items}) == len(items)
    assert all("ohwx_char person" in item.prompt for item in items)
    bodies = [item for item in items if item.cell == "t-pose"]
    assert bodies and all(item.prompt.startswith("full body photo of") for item in bodies)


def test_coverage_counts_only_full_matches() -> None:
    counts = coverage([entry(1, Labels(angle="front")), entry(2, Labels(pose="sitting", angle="front"))])
    assert counts["sitting"] == 1 and sum(counts.values()) == 1


def test_unknown_template_field_is_named() -> None:
    with pytest.raises(RecipeError, match="backgroud"):
        fill("{backgroud} please", Labels(), {})


def test_left_out_fields_leave_no_commas() -> None:
    assert fill("same person, {pose}, {angle}, {lighting}", Labels(angle="front"), {"angle": "{} view"}) == (
        "same person, front view"
    )


def with_references(recipe: Recipe, number: int) -> Recipe:
    return recipe.model_copy(
        update={"enrich": recipe.enrich.model_copy(update={"references": number, "edits_per_source": 10})}
    )


def sides() -> list[ImageRecord]:
    """Sources that show four sides, two of each."""
    angles = ("front", "half-left", "half-right", "profile-left") * 2
    return [entry(n, Labels(angle=angle, expression="neutral")).image for n, angle in enumerate(angles)]  # type: ignore[arg-type]


def test_one_reference_is_the_source_alone_and_leaves_plans_as_they_were(recipe: Recipe, pool: list[PoolEntry]) -> None:
    items = plan_edits(sides(), [], with_references(recipe, 1), turn=1)
    assert recipe.enrich.references == 1 and all(item.references == () for item in items)
    assert "references" not in recipe.model_dump(mode="json")["enrich"]
    more = plan_edits(sides(), [], with_references(recipe, 3), turn=1)
    assert [item.model_copy(update={"references": ()}) for item in more] == list(items)


def test_further_references_show_the_angle_that_is_asked_for_and_then_other_sides(recipe: Recipe) -> None:
    sources = {record.digest: record for record in sides()}
    items = plan_edits(list(sources.values()), [], with_references(recipe, 3), turn=1)
    for item in items:
        assert item.cell is not None and len({item.source, *item.references}) == 3
        shown = [sources[digest].labels.angle for digest in (item.source, *item.references)]
        assert len(set(shown)) == 3
        wanted = CELLS_BY_ID[item.cell].angle
        assert wanted in shown or wanted == "profile-right"  # which no source shows
    assert len({item.references[0] for item in items}) > 4
    assert items == plan_edits(list(sources.values())[::-1], [], with_references(recipe, 3), turn=1)


def test_a_body_is_referred_to_where_a_body_is_asked_for(recipe: Recipe) -> None:
    body = entry(20, Labels(angle="front", pose="sitting")).image
    sources = [*(record for record in sides() if record.labels.angle == "front"), body]
    items = [item for item in plan_edits(sources, [], with_references(recipe, 2), turn=1) if item.cell == "sitting"]
    assert items and all(body.digest in (item.source, *item.references) for item in items)


def test_as_many_references_as_there_are_sources(recipe: Recipe) -> None:
    items = plan_edits(sides()[:2], [], with_references(recipe, 4), turn=1)
    assert all(len(item.references) == 1 for item in items)
