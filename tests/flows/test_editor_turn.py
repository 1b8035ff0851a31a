"""A turn of Flywheel 2 asks for what its recipe says."""

from datetime import UTC, datetime
from pathlib import Path

from flenwheel_core.documents.images import LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.library.characters import Character, Library, Promotion
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.store import Store
from flenwheel_core.store.triplets import put_triplets
from flows.editor_turn import ChosenLessons, EditorTurn
from tests.kit.scorecards import card

CHAMPION = "9" * 64


def lessons(*sources: str, refused: str | None = None) -> list[Triplet]:
    return [
        Triplet(
            source=letter * 64,
            prompt="smiling",
            target="c" * 64,
            kind="corrected",
            rejected=refused,
            character="vera",
            turn=1,
            gate="g",
            author="a",
        )
        for letter in sources
    ]


def test_training_takes_the_choices_of_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("nano")
    train = recipe.editor.train.model_copy(update={"steps": 40, "batch_size": 2, "min_epochs": 60.0})
    editor = recipe.editor.model_copy(
        update={
            "anchor": 0.25,
            "corrections_weight": 3.0,
            "seed": 9,
            "train": train,
            "corrections_teach": "both",
            "comparison_strength": 40.0,
        }
    )
    recipe = recipe.model_copy(update={"editor": editor})
    store = Store((tmp_path / "store").as_uri())
    trained = put_triplets(store, lessons("a", "b"))
    request = EditorTurn(store, recipe, None, "0123456789", 1).train_request(
        ChosenLessons(trained=trained, held_out=put_triplets(store, lessons("d")))
    )
    assert (request.triplets, request.editor) == (trained, recipe.models.editor)
    assert request.recipe == train.model_copy(update={"steps": 60}), "as many epochs of two lessons"
    assert (request.distilled_guidance, request.anchor, request.mistake_weight) == (2.5, 0.25, 32.0)
    assert (request.corrections_weight, request.seed) == (3.0, 9)
    assert (request.corrections_teach, request.comparison_strength) == ("both", 40.0)


def test_held_out_edits_are_repeated_with_seeds_of_their_own(tmp_path: Path) -> None:
    recipe = load_recipe("nano")
    recipe = recipe.model_copy(
        update={
            "editor": recipe.editor.model_copy(
                update={"compared_seeds": 3, "kept_margin_db": 3.0, "identity_margin": 0.1, "significance": 0.01}
            )
        }
    )
    store = Store((tmp_path / "store").as_uri())
    triplets = lessons("a", "b", refused="e" * 64)
    turn = EditorTurn(store, recipe, None, "0123456789", 1)
    chosen = ChosenLessons(trained=put_triplets(store, triplets), held_out=put_triplets(store, triplets))
    lora = LoraRecord.model_construct(digest="d" * 64)
    request = turn.compare_request(chosen, lora)
    assert (request.kept_margin_db, request.identity_margin, request.significance) == (3.0, 0.1, 0.01)
    items = request.items
    assert {item.rejected for item in items} == {"e" * 64}
    assert [item.key for item in items[:3]] == ["held-out-0000", "held-out-0000.1", "held-out-0000.2"]
    assert len({item.seed for item in items}) == len(items) == 6


def test_a_champion_on_the_editors_own_model_is_worn_beside_the_challenger(tmp_path: Path) -> None:
    recipe, store = load_recipe("nano"), Store((tmp_path / "store").as_uri())
    library = Library(store)
    held = [
        lesson.model_copy(update={"character": name, "references": ("f" * 64,)})
        for name, lesson in zip(("vera", "ann", "ben"), lessons("a", "b", "d"), strict=True)
    ]
    for name, base in (("vera", recipe.models.editor), ("ann", "another@1")):
        library.create_character(
            Character(name=name, trigger="ohwx", class_word="person", kind="person", recipe="nano")
        )
        lora = LoraRecord(
            digest=CHAMPION,
            name=f"{name}-v1",
            target="generator",
            base_model=base,
            trigger="ohwx",
            class_word="person",
            rank=4,
            alpha=4.0,
            steps=1,
            images=1,
            dataset="0" * 64,
            request="0" * 64,
        )
        library.promote(name, Promotion(at=datetime.now(UTC), lora=lora, scorecard=card(), turn=1, flow_run="r"))
    chosen = ChosenLessons(trained=put_triplets(store, held), held_out=put_triplets(store, held))
    request = EditorTurn(store, recipe, None, "0123456789", 1).compare_request(
        chosen, LoraRecord.model_construct(digest="d" * 64)
    )
    assert request.together == {"vera": LoraUse(digest=CHAMPION, weight=recipe.generate.lora_weight)}
    assert {item.references for item in request.items} == {("f" * 64,)}
