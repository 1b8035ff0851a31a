"""What an injection asks for, and what is refused in a sentence before anything loads."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import FlenwheelError, InputError, NotFoundError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.injections import marks
from flenwheel_core.documents.wording import mention
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.plans.injection import (
    known_by,
    numbers,
    preview,
    require_drawing,
    require_head,
    require_vision,
    sampler_for,
    strengths,
    training,
    whole_seeds,
)
from flenwheel_core.plans.injection_photos import folder_identities, split
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.requests.inject import InjectionPhoto, InjectTrainRequest
from flenwheel_core.store import Store
from tests.kit.injection_world import FACTS, add_blank_head, drawn_identity, photo_folder
from tests.kit.tiny_editor import save_tiny_base


@pytest.mark.parametrize("given", [["0.5,1.0,1.5"], ["0.5", "1.0", "1.5"], ["0.5 1.0,", "1.5,1.0"]])
def test_numbers_by_commas_or_spaces(given: list[str]) -> None:
    assert strengths(given) == (0.5, 1.0, 1.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["strong"], "'strong' is no number"),
        (["nan"], "no number that can be drawn"),
        (["-1"], "between 0 and 10"),
        ([","], "names nothing"),
    ],
)
def test_alphas_that_are_none_are_refused(given: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        strengths(given)


def test_seeds_are_whole() -> None:
    assert whole_seeds(["1234,5678", "9999"]) == (1234, 5678, 9999) and numbers(["1e3"], "x") == (1000.0,)
    with pytest.raises(InputError, match="whole number"):
        whole_seeds(["1.5"])


def test_the_documents_default_models_are_answered() -> None:
    with pytest.raises(RecipeError, match="Qwen2-VL-7B-Instruct cannot be used to see"):
        require_vision("Qwen/Qwen2-VL-7B-Instruct")
    with pytest.raises(RecipeError, match=r"Qwen2.5-7B-Instruct draws nothing"):
        require_drawing("Qwen/Qwen2.5-7B-Instruct@main")


def test_guidance_is_what_it_can_be_for_a_model(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, gpu="cpu")
    qwen = str(save_tiny_base(tmp_path / "qwen"))
    asked = {"steps": 28, "guidance": 4.5, "width": 512, "height": 768}
    assert sampler_for(qwen, settings, **asked).true_cfg == 4.5
    assert (flux := sampler_for("nano", settings, **asked)).true_cfg == 1.0 and flux.guidance == 4.5


def test_a_phrase_is_learned_from_captions_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From a random start pictures do not find one: without captions the place is another, and that is said."""
    store, settings = Store((tmp_path / "store").as_uri()), Settings(workspace=tmp_path, gpu="cpu")
    given = {
        "features": "nano",
        "base": "nano",
        "head": HeadRecipe(),
        "width": 128,
        "height": 128,
        "settings": settings,
    }
    identities = (drawn_identity(store, 1),)
    with caplog.at_level("INFO", "flenwheel_core"):
        made = training(identities, learning=LearningRecipe(stages=("flow",)), **given)  # type: ignore[arg-type]
    assert made.head.place == "both" and "pictures alone do not find a phrase" in caplog.text
    assert training(identities, learning=LearningRecipe(), **given).head.place == "phrase"  # type: ignore[arg-type]


def test_a_head_that_names_no_lead_is_written_as_before_there_were_phrases() -> None:
    assert "lead" not in HeadRecipe(place="both").model_dump() and HeadRecipe(lead=2).model_dump()["lead"] == 2


def test_folders_become_identities(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    one, other = photo_folder(tmp_path / "seed_1", 1, 5, described=True), photo_folder(tmp_path / "seed_2", 2, 2)
    first, second = folder_identities([str(one), str(other)], store, words="person")
    assert (first.name, len(first.photos), len(first.held_out)) == ("seed_1", 4, 1)
    assert first.photos[0].described.startswith("a person with ") and not second.photos[0].described
    assert not second.held_out
    assert first.held_out[0] not in {photo.image for photo in first.photos}


def test_folders_that_cannot_be_used_are_refused_in_a_sentence(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "b" / "x").mkdir(parents=True)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "photo_view_1.png").write_bytes(b"no picture")
    cases: list[tuple[list[str], str]] = [
        ([], "No folder"),
        ([str(tmp_path / "nowhere")], "There is no folder"),
        ([str(tmp_path / "a")], "holds no photo_view"),
        ([str(tmp_path / "a" / "x"), str(tmp_path / "b" / "x")], "Two folders are called x"),
        ([str(broken)], "photo_view_1.png"),
    ]
    for folders, said in cases:
        with pytest.raises(FlenwheelError, match=said) as refused:
            folder_identities(folders, store, words="person")
        assert len(refused.value.what.splitlines()) == 1


def test_few_photos_are_all_learned_from() -> None:
    photos = [InjectionPhoto(image=f"{number}" * 64) for number in range(9)]
    assert not split("x", photos[:3]).held_out
    assert split("x", photos).held_out == (photos[3].image, photos[7].image)


def test_a_preview_takes_the_newest_head_for_the_characters_models(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, gpu="cpu")
    store = Store(settings.store_url)
    library = Library(store)
    facts = {"trigger": "ohwx_char", "class_word": "person", "kind": "subject", "recipe": "nano"}
    for name, seed in (("mira", 1), ("other", 2)):
        library.create_character(Character(name=name, **facts))
        files = sorted(photo_folder(tmp_path / name, seed, 4).glob("*.png"))
        library.add_sources(
            name,
            tuple(
                SourceFile(
                    name=file.name, digest=store.put_blob(file.read_bytes()), caption="photo of ohwx_char person, sad"
                )
                for file in files
            ),
        )
    with pytest.raises(NotFoundError, match="no head yet"):
        preview("mira", store, settings)
    nano = load_recipe("nano")
    blind = nano.model_copy(update={"models": nano.models.model_copy(update={"captioner": None})})
    with pytest.raises(RecipeError, match="names no captioner"):
        require_head(store, blind, settings)
    digest = add_blank_head(store, settings, HeadRecipe(place="words"), (drawn_identity(store, 3),))
    request = preview("mira", store, settings)
    assert request.head == digest and [one.name for one in request.strangers] == ["other"]
    (identity,) = request.identities
    assert identity.photos[0].caption == "photo of a person, sad" and len(identity.held_out) == 1 and not identity.known
    assert request.prompts[1].labels.angle == "half-left" and "person" in request.prompts[1].text
    assert "half-left view" in request.prompts[1].text and "smiling" in request.prompts[1].text
    with pytest.raises(NotFoundError):
        preview("nobody", store, settings)
    add_blank_head(store, settings, HeadRecipe(place="words"), (identity.model_copy(update={"name": "another"}),))
    assert preview("mira", store, settings).identities[0].known, "by its photos, whatever it was called"


def test_a_previews_prompts_say_the_class_word_whatever_the_template_has(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, gpu="cpu")
    store = Store(settings.store_url)
    file = tmp_path / "bare.toml"
    file.write_text('extends = "nano"\nname = "bare"\ncaption_template = "{shot} {trigger}, {shown}"\n')
    library = Library(store)
    library.create_character(
        Character(name="mira", trigger="ohwx_char", class_word="person", kind="subject", recipe=str(file))
    )
    picture = next(photo_folder(tmp_path / "mira", 1, 1).glob("*.png"))
    library.add_sources("mira", (SourceFile(name=picture.name, digest=store.put_blob(picture.read_bytes())),))
    add_blank_head(store, settings, HeadRecipe(place="words"), (drawn_identity(store, 3),))
    for prompt in preview("mira", store, settings).prompts:
        assert mention(prompt.text, "person") and "ohwx_char" not in prompt.text


def test_who_is_known_is_told_by_photos(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    one, other, namesake = drawn_identity(store, 1), drawn_identity(store, 2), drawn_identity(store, 3)
    namesake = namesake.model_copy(update={"name": one.name})
    taught = FACTS.model_copy(update={"learned_from": tuple(marks(photo.image for photo in one.photos))})
    assert [who.known for who in known_by(taught, (one, other, namesake), store)] == [True, False, False]
    assert [who.known for who in known_by(FACTS, (one, other), store)] == [None, None], "an earlier head says nothing"
    request = InjectTrainRequest(identities=(other,), features="nano", base="nano", width=128, height=128)
    store.put_request(request)
    earlier = FACTS.model_copy(update={"request": request.key()})
    assert [who.known for who in known_by(earlier, (one, other), store)] == [False, True], "but its training does"


def test_a_description_that_has_the_words_inside_others_does_not_say_them(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    folder = photo_folder(tmp_path / "seed_1", 1, 3, described=True)
    for number, said in enumerate(("a woman in red", "the Man, smiling", "red hair")):
        (folder / f"photo_view_{number}.txt").write_text(said)
    (found,) = folder_identities([str(folder)], store, words="man")
    said = [photo.described for photo in found.photos]
    assert said == ["a man with a woman in red", "the Man, smiling", "a man with red hair"]
