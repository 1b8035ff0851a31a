"""The library: turns belong to flow runs, pools only grow, champions are remembered, nothing is entered twice."""

import json
import threading
from datetime import UTC, datetime

import pytest
from PIL import Image

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.framings import Box, Framing
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.scores import Scorecard
from flenwheel_core.library.characters import (
    Character,
    CharacterFacts,
    Library,
    PoolEntry,
    Promotion,
    SourceBatch,
    TurnEnded,
)
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture

ZERO = "0" * 64


@pytest.fixture
def library(settings: Settings) -> Library:
    library = Library(Store(settings.store_url))
    library.create_character(mira())
    return library


def mira(trigger: str = "ohwx_char") -> Character:
    return Character(name="mira", trigger=trigger, class_word="person", kind="subject", recipe="nano")


def entry(number: int) -> PoolEntry:
    image = ImageRecord(
        digest=f"{number:064x}",
        width=8,
        height=8,
        kind=ImageKind.SOURCE,
        stage="ingest",
        request=ZERO,
        item=f"{number}.png",
    )
    return PoolEntry(image=image, caption=f"picture {number}", real=True, turn=1, gate=None)


def promotion(turn: int, flow_run: str) -> Promotion:
    lora = LoraRecord(
        digest=f"{turn:064x}",
        name=f"mira-t{turn}",
        target="generator",
        base_model="nano@1",
        trigger="ohwx_char",
        class_word="person",
        rank=16,
        alpha=16,
        steps=10,
        images=12,
        dataset=ZERO,
        request=ZERO,
    )
    card = Scorecard(
        lora=lora.digest,
        cells=(),
        pass_rate=0.5,
        pass_rate_low=0.4,
        pass_rate_high=0.6,
        identity=0.9,
        identity_p05=0.8,
        diversity=3,
        verifier="subject",
        verifier_version="v",
    )
    return Promotion(at=datetime.now(UTC), lora=lora, scorecard=card, turn=turn, flow_run=flow_run)


def test_a_character_is_written_once(library: Library) -> None:
    library.create_character(mira())
    with pytest.raises(InputError, match="Choose another name"):
        library.create_character(mira(trigger="other"))
    assert library.characters() == ["mira"]
    with pytest.raises(NotFoundError, match="mira"):
        library.character("mia")


def test_sources_are_listed_once_in_order(library: Library) -> None:
    first, second = (SourceFile(name=f"{name}.png", digest=f"{number:064x}") for number, name in enumerate("ab"))
    library.add_sources("mira", (first,))
    library.add_sources("mira", (second, first))
    assert library.sources("mira") == (first, second)


def test_a_caption_given_later_wins_whatever_the_file_is_called_by_then(library: Library) -> None:
    digest, other = f"{1:064x}", f"{2:064x}"
    library.add_sources("mira", (SourceFile(name="a.png", digest=digest), SourceFile(name="b.png", digest=other)))
    library.add_sources("mira", (SourceFile(name="sub/a.png", digest=digest, caption="first"),))
    library.add_sources("mira", (SourceFile(name="c.png", digest=digest, caption="second"),))
    library.add_sources("mira", (SourceFile(name="c.png", digest=digest),))
    assert [(file.name, file.caption) for file in library.sources("mira")] == [("c.png", "second"), ("b.png", None)]


def test_a_mask_given_later_wins_and_stays_when_the_picture_is_given_without(library: Library) -> None:
    plain = SourceFile(name="a.png", digest=f"{1:064x}", caption="front view")
    masks = [plain.model_copy(update={"mask": f"{number:064x}"}) for number in (8, 9)]
    for file in (plain, *masks, plain):
        library.add_sources("mira", (file,))
    assert library.sources("mira") == (masks[1],)


def test_two_names_for_one_content_given_together_both_stay_for_ingest_to_tell(library: Library) -> None:
    files = tuple(SourceFile(name=name, digest=f"{1:064x}") for name in ("a.png", "b.png"))
    library.add_sources("mira", files)
    assert library.sources("mira") == files


def test_a_turn_belongs_to_its_flow_run(library: Library) -> None:
    assert library.open_turn("mira", "run-a", ZERO).number == 1
    assert library.open_turn("mira", "run-b", ZERO).number == 2
    assert library.open_turn("mira", "run-a", ZERO).number == 1
    assert [turn.flow_run for turn in library.turns("mira")] == ["run-a", "run-b"]


def test_turns_opened_at_once_get_different_numbers(library: Library) -> None:
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda name=name: numbers.append(library.open_turn("mira", name, ZERO).number))
        for name in "abcdef"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


def test_the_pool_only_grows_and_holds_each_picture_once(library: Library) -> None:
    library.add_to_pool("mira", [entry(1), entry(2)])
    library.add_to_pool("mira", [entry(2), entry(3), entry(3)])
    assert [line.image.item for line in library.pool("mira")] == ["1.png", "2.png", "3.png"]


def test_a_source_that_is_read_again_stays_the_one_it_was_with_its_newest_caption_and_mask(library: Library) -> None:
    """Files that were added since make another request, which the stored pictures name in their text."""

    def read(request: str, *captions: str) -> list[PoolEntry]:
        found = []
        for number, caption in enumerate(captions):
            record = entry(number).image.model_copy(update={"request": request * 64})
            kept = save_picture(library.store, Image.new("RGB", (8, 8), (number, 0, 0)), record)
            found.append(PoolEntry(image=kept, caption=caption, real=True, turn=1, gate=None))
        return found

    first, second = read("a", "zero", "one", "two"), read("b", "zero", "one", "two, better", "three")
    masked = second[0].image.model_copy(update={"mask": "f" * 64})
    second[0] = second[0].model_copy(update={"image": masked})
    library.add_sources_to_pool("mira", first)
    for _ in range(2):  # a replay adds nothing
        library.add_sources_to_pool("mira", second)
    wanted = {
        first[0].image.digest: ("zero", "f" * 64),
        first[1].image.digest: ("one", None),
        first[2].image.digest: ("two, better", None),
        second[3].image.digest: ("three", None),
    }
    assert {line.image.digest: (line.caption, line.image.mask) for line in library.pool("mira")} == wanted
    assert len(list(library.store.journal("characters/mira/pool", PoolEntry).read())) == 6
    library.add_sources_to_pool("mira", first)  # the first files again: caption and mask are as they were
    assert [(line.caption, line.image.mask) for line in library.pool("mira")[:3]] == [
        ("zero", None),
        ("one", None),
        ("two", None),
    ]


def test_the_champion_of_a_turn_is_the_one_before_it(library: Library) -> None:
    assert library.champion("mira") is None
    library.promote("mira", promotion(1, "run-a"))
    library.promote("mira", promotion(1, "run-a"))
    library.promote("mira", promotion(3, "run-c"))
    assert len(library.champions("mira")) == 2
    champion = library.champion("mira")
    before = library.champion("mira", before_turn=3)
    assert champion is not None and champion.turn == 3
    assert before is not None and before.turn == 1
    assert library.champion("mira", before_turn=1) is None


def test_a_turn_ends_once(library: Library) -> None:
    for outcome in ("promoted", "stopped"):
        library.end_turn(
            "mira",
            TurnEnded(at=datetime.now(UTC), number=1, flow_run="run-a", outcome=outcome),  # type: ignore[arg-type]
        )
    assert [line.outcome for line in library.ended_turns("mira")] == ["promoted"]


def test_a_mistyped_character_can_be_changed_until_its_first_turn(library: Library) -> None:
    library.change_character(mira(trigger="other_char"))
    assert library.character("mira").trigger == "other_char"
    library.change_character(mira())
    library.create_character(mira())
    library.open_turn("mira", "run-1", f"{1:064x}")
    library.change_character(mira())
    with pytest.raises(InputError, match="fixed with its first turn"):
        library.change_character(mira(trigger="other"))
    assert library.character("mira") == mira()


def test_sources_taken_back_count_no_more_until_they_are_given_again(library: Library) -> None:
    first, second = (SourceFile(name=f"{name}.png", digest=f"{number:064x}") for number, name in enumerate("ab"))
    library.add_sources("mira", (first, second))
    library.take_back("mira", (first.digest,))
    assert library.sources("mira") == (second,)
    with pytest.raises(NotFoundError, match="no source"):
        library.take_back("mira", (first.digest,))
    library.add_sources("mira", (first,))
    assert library.sources("mira") == (second, first)
    lines = list(library.store.journal("characters/mira/sources", SourceBatch).read())
    assert [(len(line.files), line.taken_back) for line in lines] == [(2, ()), (0, (first.digest,)), (1, ())]


def test_a_source_in_the_pool_cannot_be_taken_back(library: Library) -> None:
    used, unread = (SourceFile(name=name, digest=f"{number:064x}") for number, name in enumerate(("a.png", "b.png")))
    request = IngestRequest(character=mira().ref(), files=(used, unread), recipe=IngestRecipe(), verifier="nano")
    library.store.put_request(request)
    library.add_sources("mira", (used, unread))
    image = ImageRecord(
        digest="c" * 64,
        width=1,
        height=1,
        kind=ImageKind.SOURCE,
        stage="ingest",
        request=request.key(),
        item="a.png",
    )
    library.add_to_pool("mira", [PoolEntry(image=image, caption="", real=True, turn=1, gate=None)])
    library.take_back("mira", (unread.digest,))
    with pytest.raises(InputError, match=r"a\.png cannot be taken back"):
        library.take_back("mira", (used.digest,))
    assert library.sources("mira") == (used,)


def test_a_character_without_turns_can_be_removed_and_made_anew(library: Library) -> None:
    library.add_sources("mira", (SourceFile(name="a.png", digest="a" * 64),))
    library.remove_character("mira")
    assert library.characters() == []
    with pytest.raises(NotFoundError):
        library.character("mira")
    with pytest.raises(NotFoundError):
        library.remove_character("mira")
    again = mira(trigger="other_char")
    library.create_character(again)
    assert (library.characters(), library.character("mira"), library.sources("mira")) == (["mira"], again, ())
    library.open_turn("mira", "run-1", f"{1:064x}")
    with pytest.raises(InputError, match="has had a turn"):
        library.remove_character("mira")


def test_facts_of_earlier_versions_can_be_read() -> None:
    facts = CharacterFacts(sources="a" * 64, fingerprint=None)
    before = json.loads(facts.to_bytes()) | {"first_scorecard": None}
    assert CharacterFacts.from_bytes(json.dumps(before).encode(), where="the facts") == facts
    assert "first_scorecard" not in facts.model_dump()


def test_what_a_person_says_of_a_picture_stands_until_it_is_taken_back(library: Library) -> None:
    file = SourceFile(name="a.png", digest="a" * 64, caption="us two")
    half = Framing(crop=Box(left=0, top=0, right=0.5, bottom=1))
    library.add_sources("mira", (file,))
    library.frame_source("mira", file.digest, half)
    library.add_sources("mira", (file,))
    assert library.sources("mira") == (file.model_copy(update={"framing": half}),)
    library.frame_source("mira", file.digest, None)
    assert library.sources("mira") == (file,)
    with pytest.raises(NotFoundError, match="no source"):
        library.frame_source("mira", "b" * 64, half)


def test_a_picture_in_the_pool_gets_masks_but_no_other_cut(library: Library) -> None:
    file = SourceFile(name="a.png", digest="a" * 64)
    library.add_sources("mira", (file,))
    request = IngestRequest(
        character=mira().ref(), files=(file,), recipe=IngestRecipe(duplicate_bits=0), verifier="nano"
    )
    library.store.put_request(request)
    image = entry(1).image.model_copy(update={"request": request.key(), "item": "a.png"})
    library.add_to_pool("mira", [entry(1).model_copy(update={"image": image})])
    half = Box(left=0, top=0, right=0.5, bottom=1)
    with pytest.raises(InputError, match="cannot be cut otherwise"):
        library.frame_source("mira", file.digest, Framing(crop=half))
    library.frame_source("mira", file.digest, Framing(hidden=(half,)))
    assert library.sources("mira")[0].framing == Framing(hidden=(half,))
