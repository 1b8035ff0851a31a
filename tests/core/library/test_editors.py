"""What the editor wears: the recipe's LoRAs and its newest champion for this very model."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.images import ImageKind, ImageRecord, LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.lessons.waiting import waiting_triplets
from flenwheel_core.library.editors import EditorLibrary, EditorOutcome, EditorPromotion
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import EditorLora, Recipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.requests.edit_compare import EditorScorecard
from flenwheel_core.requests.edit_train import EditTrainRequest, EditTrainResult
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture
from flenwheel_core.store.triplets import imported_triplets, put_triplets


@pytest.fixture
def library(tmp_path: Path) -> EditorLibrary:
    return EditorLibrary(Store((tmp_path / "store").as_uri()))


def promotion(digest: str, run: str, base: str = "nano") -> EditorPromotion:
    lora = LoraRecord(
        digest=digest * 64,
        name=f"editor-{run}",
        target="editor",
        base_model=base,
        trigger=None,
        class_word=None,
        rank=4,
        alpha=4,
        steps=10,
        images=12,
        dataset="d" * 64,
        request="e" * 64,
    )
    card = EditorScorecard(
        loras=(),
        edits=(),
        pass_rate=0.5,
        pass_rate_low=0.1,
        pass_rate_high=0.9,
        identity=None,
        followed_rate=None,
        target_error=None,
        kept_psnr_db=None,
        kept_ssim=None,
    )
    return EditorPromotion(at=datetime.now(UTC), lora=lora, weight=0.8, scorecard=card, flow_run=run)


def with_loras(*files: Path) -> Recipe:
    recipe = load_recipe("nano")
    loras = tuple(EditorLora(file=str(file), weight=0.5) for file in files)
    return recipe.model_copy(update={"enrich": recipe.enrich.model_copy(update={"loras": loras})})


def test_the_newest_champion_of_this_model_is_worn_after_the_recipes_loras(
    library: EditorLibrary, tmp_path: Path
) -> None:
    library.promote(promotion("a", "one"))
    library.promote(promotion("b", "two"))
    library.promote(promotion("c", "three", base="another"))
    library.promote(promotion("f", "two"))
    assert library.loras("nano") == (LoraUse(digest="b" * 64, weight=0.8),)
    file = tmp_path / "relight.safetensors"
    file.write_bytes(lora := tensor_bytes({"a.lora_A.weight": torch.ones(1, 2), "a.lora_B.weight": torch.ones(2, 1)}))
    worn = library.worn(with_loras(file))
    assert [use.weight for use in worn] == [0.5, 0.8] and library.store.get_blob(worn[0].digest) == lora
    assert library.loras("none") == ()


def test_a_missing_lora_is_refused(library: EditorLibrary, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.safetensors"):
        library.worn(with_loras(tmp_path / "gone.safetensors"))
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(InputError, match=r"page\.safetensors cannot be used as a LoRA"):
        library.worn(with_loras(tmp_path / "page.safetensors"))


def lesson(number: int, character: str = "ann") -> Triplet:
    return Triplet(
        source="a" * 64,
        prompt=f"smile {number}",
        target="c" * 64,
        kind="approved",
        character=character,
        turn=1,
        gate="g",
        author="me",
    )


def end(library: EditorLibrary, run: str, outcome: EditorOutcome, *lessons: Triplet) -> None:
    library.end_run(run, outcome, put_triplets(library.store, lessons), len(lessons))


def test_a_run_ends_once(library: EditorLibrary) -> None:
    end(library, "one", "kept", lesson(1))
    end(library, "one", "promoted")
    assert [run.outcome for run in library.ended_runs()] == ["kept"]


def test_lessons_wait_until_a_person_answered_for_them(library: EditorLibrary) -> None:
    imported_triplets(library.store).extend([lesson(1), lesson(2), lesson(3, "ben")])
    assert waiting_triplets(library.store) == 3
    for run, outcome in {"one": "too few", "two": "ended"}.items():
        end(library, run, outcome, lesson(1), lesson(2), lesson(3, "ben"))  # type: ignore[arg-type]
    assert waiting_triplets(library.store) == 3 and not library.was_stopped()
    end(library, "three", "kept", lesson(3, "ben"))
    assert (
        waiting_triplets(library.store),
        waiting_triplets(library.store, "ben"),
        waiting_triplets(library.store, "ann"),
    ) == (2, 0, 2)
    end(library, "four", "stopped", lesson(1), lesson(2))
    end(library, "five", "too few", lesson(1))
    assert waiting_triplets(library.store) == 0 and library.was_stopped()
    imported_triplets(library.store).append(lesson(4))
    assert waiting_triplets(library.store) == 1
    corrected = lesson(1).model_copy(update={"target": "d" * 64, "rejected": "c" * 64, "kind": "corrected"})
    imported_triplets(library.store).append(corrected)
    assert waiting_triplets(library.store) == 1, "the same lesson with a better target"


def test_lineage_of_an_editors_lora_leads_to_its_triplets(library: EditorLibrary) -> None:
    store = library.store
    blank = ImageRecord(
        digest="0" * 64, width=1, height=1, kind=ImageKind.SOURCE, stage="ingest", request="1" * 64, item="a.png"
    )
    source = save_picture(store, Image.new("RGB", (8, 8)), blank)
    store.put_images([source])
    triplet = Triplet(
        source=source.digest,
        prompt="smile",
        target=source.digest,
        kind="corrected",
        character="ann",
        turn=1,
        gate="g",
        author="me",
    )
    dataset = put_triplets(store, [triplet])
    request = EditTrainRequest(name="editor-one", triplets=dataset, editor="nano", recipe=TrainingRecipe(), seed=0)
    made = promotion("a", "one")
    lora = made.lora.model_copy(update={"dataset": dataset, "request": request.key()})
    store.put_request(request)
    store.put_result(request, EditTrainResult(lora=lora, losses=()))
    library.promote(made.model_copy(update={"lora": lora}))
    lineage = Provenance(store).lineage("aaaa")
    assert ("worn by the editor", "held-out edits passed 50%") in lineage.facts
    assert [parent.digest for parent in lineage.parents] == [source.digest]
