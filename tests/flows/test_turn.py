"""What a turn asks for is written down once: a replay days later asks for the same."""

import dataclasses
from pathlib import Path

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.decisions import DecisionSet, FinalDecision, Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.prompts import EditItem
from flenwheel_core.documents.scores import Comparison, Fingerprint, Scorecard
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.benchmark import BenchmarkResult
from flenwheel_core.requests.ingest import IngestResult, SourceFile
from flenwheel_core.store import Store
from flows.rounds import EnrichedRounds, _drawn
from flows.turn import Turn
from flows.turn_runner import PrefectRunner

SOME = "a" * 64


def digest(number: int) -> str:
    return f"{number:064x}"


def record(number: int, kind: ImageKind = ImageKind.SOURCE) -> ImageRecord:
    labels = Labels(angle="front", expression="neutral", pose="portrait")
    return ImageRecord(
        digest=digest(number),
        width=8,
        height=8,
        kind=kind,
        stage="ingest",
        request=SOME,
        item=str(number),
        labels=labels,
    )


def lora(number: int, name: str) -> LoraRecord:
    return LoraRecord(
        digest=digest(number),
        name=name,
        target="generator",
        base_model="nano",
        trigger="ohwx_char",
        class_word="person",
        rank=4,
        alpha=4,
        steps=1,
        images=1,
        dataset=SOME,
        request=SOME,
    )


def card(rate: float) -> Scorecard:
    return Scorecard(
        lora=None,
        cells=(),
        pass_rate=rate,
        pass_rate_low=0,
        pass_rate_high=1,
        identity=0.9,
        identity_p05=0.8,
        diversity=3,
        verifier="tiny",
        verifier_version="1",
    )


def score(*, promote: bool) -> BenchmarkResult:
    comparison = Comparison(promote=promote, reasons=("so",), pass_rate_gain=0, identity_gain=0, diversity_gain=0)
    return BenchmarkResult(challenger=card(0.7), champion=card(0.6), comparison=comparison, images=SOME, grid=SOME)


@pytest.fixture
def turn(tmp_path: Path) -> Turn:
    store = Store((tmp_path / "store").as_uri())
    mira = Character(name="mira", trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    Library(store).create_character(mira)
    Library(store).add_sources("mira", tuple(SourceFile(name=f"{n}.png", digest=digest(n)) for n in range(3)))
    return Turn(store, mira, load_recipe("nano"), number=1, flow_run="run-1", name="mira-t1", folder="turns/mira/0001")


def ingested(turn: Turn) -> IngestResult:
    records = [record(number) for number in range(3)]
    fingerprint = Fingerprint(
        verifier="tiny",
        verifier_version="1",
        images=tuple(item.digest for item in records),
        embeddings=((1.0,),) * 3,
        centroid=(1.0,),
        distance="cosine",
        leave_one_out=(0.0,) * 3,
        threshold=0.5,
        unsure_above=0.6,
    )
    return IngestResult(
        sources=turn.store.put_images(records), count=3, fingerprint=fingerprint, problems=(), missing=()
    )


def later(turn: Turn) -> Turn:
    """The next turn of the same character."""
    return dataclasses.replace(turn, number=2, flow_run="run-2", name="mira-t2", folder="turns/mira/0002")


def test_a_replay_trains_on_what_the_turn_was_planned_with(turn: Turn) -> None:
    turn.take_in(turn.ingest_request(), ingested(turn))
    first = turn.train_request("v1")
    assert {item.image for item in first.items} == {digest(0), digest(1), digest(2)}
    turn.add_to_pool([turn.entry(record(7, ImageKind.ENRICHED), None, gate="mira-t1-gate-a-r1")])
    assert turn.train_request("v1") == first
    assert len(turn.train_request("challenger").items) == 4


def test_training_takes_as_many_epochs_of_the_grown_pool_as_the_recipe_asks_for(turn: Turn) -> None:
    recipe = turn.recipe.model_copy(
        update={"train": turn.recipe.train.model_copy(update={"steps": 40, "batch_size": 1, "min_epochs": 12.5})}
    )
    turn = dataclasses.replace(turn, recipe=recipe)
    turn.take_in(turn.ingest_request(), ingested(turn))
    assert turn.train_request("v1").recipe.steps == 40
    turn.add_to_pool([turn.entry(record(7, ImageKind.ENRICHED), None, gate="mira-t1-gate-a-r1")])
    assert turn.train_request("challenger").recipe.steps == 50


def test_too_few_pictures_are_asked_for_and_new_ones_count_at_the_retry(turn: Turn) -> None:
    asked = turn.ingest_request()
    short = ingested(turn).model_copy(update={"missing": ("7 more pictures",)})
    with pytest.raises(InputError, match="7 more pictures") as caught:
        turn.take_in(asked, short)
    assert "flenwheel ingest mira" in caught.value.remedy
    assert turn.library.pool("mira") == []
    turn.library.add_sources("mira", (SourceFile(name="new.png", digest=digest(9)),))
    assert len(turn.ingest_request().files) == 4


def test_once_taken_in_later_files_belong_to_the_next_turn(turn: Turn) -> None:
    asked = turn.ingest_request()
    turn.take_in(asked, ingested(turn))
    turn.library.add_sources("mira", (SourceFile(name="new.png", digest=digest(9)),))
    assert turn.ingest_request() == asked
    assert len(later(turn).ingest_request().files) == 4


def test_first_turn_has_a_champion_in_any_case(turn: Turn) -> None:
    v1, challenger = lora(1, "mira-t1-v1"), lora(2, "mira-t1-challenger")
    promotion = turn.promote(v1, challenger, score(promote=False))
    assert promotion is not None and promotion.lora == v1 and promotion.scorecard.pass_rate == 0.6
    assert turn.promote(v1, challenger, score(promote=False)) == promotion
    assert len(turn.library.champions("mira")) == 1


def test_later_turn_keeps_its_champion_unless_the_challenger_is_better(turn: Turn) -> None:
    v1 = lora(1, "mira-t1-v1")
    turn.promote(v1, lora(2, "mira-t1-challenger"), score(promote=False))
    second = later(turn)
    assert second.champion() == v1
    assert second.promote(v1, lora(3, "mira-t2-challenger"), score(promote=False)) is None
    assert turn.library.champion("mira").lora == v1  # type: ignore[union-attr]
    better = second.promote(v1, lora(3, "mira-t2-challenger"), score(promote=True))
    assert better is not None and better.lora.name == "mira-t2-challenger"
    assert second.champion() == v1, "the champion as the turn began"


def test_a_turn_ends_once(turn: Turn) -> None:
    turn.end("stopped", None, "report")
    turn.end("promoted", None, "another")
    assert [ended.outcome for ended in turn.library.ended_turns("mira")] == ["stopped"]


def test_only_usable_pictures_enter_the_pool(turn: Turn) -> None:
    records = {digest(number): record(number, ImageKind.ENRICHED) for number in (4, 5, 6, 7)}
    verdicts = [(4, Verdict.GOOD, None), (5, Verdict.NEEDS_CORRECTION, digest(9)), (6, Verdict.REJECT, digest(9))]
    decisions = DecisionSet(
        gate="g",
        decisions=tuple(
            FinalDecision(image=digest(n), verdict=verdict, correction=correction, author="me")
            for n, verdict, correction in [*verdicts, (7, Verdict.NEEDS_CORRECTION, None)]
        ),
    )
    entries = EnrichedRounds(turn, PrefectRunner())._good("g", decisions, records)
    assert [entry.image.digest for entry in entries] == [digest(4), digest(9)]


@pytest.mark.parametrize(
    ("typed", "learned"),
    [
        ("[trigger] in the\nrain", "ohwx_char in the rain"),
        ("smiling, OHWX_CHAR", "smiling, ohwx_char"),
        ("in the rain", "photo of ohwx_char person, in the rain"),
    ],
)
def test_a_caption_typed_at_a_gate_is_learned_with_the_trigger(turn: Turn, typed: str, learned: str) -> None:
    assert turn.entry(record(1), typed, gate="gate").caption == learned
    assert turn.entry(record(1), "as ingest made it", gate=None).caption == "as ingest made it"


@pytest.mark.parametrize(
    ("typed", "drawn"),
    [
        ("from the left", "photo of ohwx_char person, from the left"),
        ("ohwx_char person, smiling", "ohwx_char person, smiling"),
    ],
)
def test_a_better_prompt_for_a_synthetic_picture_names_the_character(turn: Turn, typed: str, drawn: str) -> None:
    item = EditItem(key="again-1", source="a" * 64, prompt=typed, seed=3, cell="left-neutral")
    found = _drawn(item, turn.character.ref(), turn.recipe.train.text_tokens)
    assert (found.prompt, found.seed, found.cell) == (drawn, 3, "left-neutral")
