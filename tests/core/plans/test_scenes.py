"""What a style draws, and which paintings it is only measured against."""

import pytest

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.ids import derive_seed
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.plans.scenes import held_out, photos_in, plan_scenes, sample_scenes, style_card_items, trained_on
from flenwheel_core.plans.subjects import plan_of
from flenwheel_core.recipes.loading import load_recipe

MONET = CharacterRef(name="monet", trigger="ohwx_style", class_word="style", kind="style")
RECIPE = load_recipe("nano_style")


def source(name: str) -> ImageRecord:
    digest = f"{derive_seed(0, name) % 16**12:064x}"
    return ImageRecord(
        digest=digest, width=8, height=8, kind=ImageKind.SOURCE, stage="ingest", request="a" * 64, item=name
    )


def test_the_card_is_the_same_for_every_turn_and_shows_no_scene_that_is_trained_on() -> None:
    card = style_card_items(MONET, RECIPE)
    assert len(card) == 16 * RECIPE.benchmark.seeds_per_cell and len({item.seed for item in card}) == len(card)
    assert all(item.prompt.endswith(", ohwx_style style") for item in card)
    assert card[0].cell == "card-01" and card[0].labels.background is not None, "a reader can tell what was asked for"
    drawn = {item.prompt for item in plan_scenes(MONET, RECIPE, turn=1)}
    assert not drawn & {item.prompt for item in card}


def test_another_turn_draws_with_other_seeds() -> None:
    first, second = plan_scenes(MONET, RECIPE, turn=1), plan_scenes(MONET, RECIPE, turn=2)
    assert len(first) == len(second) == RECIPE.generate.target_images
    assert not {item.seed for item in first} & {item.seed for item in second}
    assert len({item.key for item in first}) == len(first)
    assert len(sample_scenes(MONET, RECIPE, 4)) == 4


def test_a_share_is_held_out_with_all_copies_of_a_painting() -> None:
    names = [f"{number:02d}{copy}.png" for number in range(10) for copy in ("", "-flipped", "-cut0")]
    sources = [source(name) for name in names]
    kept = held_out(sources, RECIPE)
    assert len(kept) == 2 and all("-" not in record.item for record in kept)
    assert held_out(list(reversed(sources)), RECIPE) == kept, "the order of the files does not matter"
    learned = [record.item for record in sources if record.digest in trained_on(sources, kept)]
    assert len(learned) == 24
    assert not {name[:2] for name in learned} & {record.item[:2] for record in kept}


def test_a_prepared_set_says_itself_what_is_held_out() -> None:
    sources = [source(f"{part}/{n:05d}.png") for part in ("train", "held_out_painting") for n in range(3)]
    kept = held_out(sources, RECIPE)
    assert {record.item.partition("/")[0] for record in kept} == {"held_out_painting"}
    assert set(trained_on(sources, kept)) == {record.digest for record in sources if record.item.startswith("train")}


def test_photographs_are_neither_trained_on_nor_held_out() -> None:
    paintings = [source(f"{number:02d}.png") for number in range(10)]
    photos = [source(f"Photos/{number}.jpg") for number in range(3)]
    kept = held_out([*paintings, *photos], RECIPE)
    assert kept == held_out(paintings, RECIPE) and photos_in([*paintings, *photos]) == tuple(photos)
    assert trained_on([*paintings, *photos], kept) == trained_on(paintings, kept)
    assert photos_in([*paintings, photos[0]]) == (), "one is no distribution"
    assert photos_in([source("photos.png"), source("my photos/1.png")]) == ()
    characters = plan_of("subject")
    assert characters.photos(photos) == () and len(characters.learned(photos, ())) == 3, (
        "a character's own photos are its sources"
    )


def test_a_recipe_for_characters_has_no_scenes() -> None:
    with pytest.raises(RecipeError, match="no \\[style\\] table"):
        plan_scenes(MONET, load_recipe("nano"), turn=1)
