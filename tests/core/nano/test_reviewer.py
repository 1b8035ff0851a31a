"""The simulated reviewer of demos and benchmarks: it judges by the renderer's truth and mends what is wrong, nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.nano.reviewer import Judged, Truth, judge
from flenwheel_core.nano.world import HELD_OUT_FROM, View, make_character, render
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png, load_picture

HERO, STRANGER = HELD_OUT_FROM + 31, HELD_OUT_FROM + 32
SOURCE = View(angle="front", expression="neutral", background="studio", lighting="day", seed=5)
PROMPT = "same person, smiling, front view, beach background"
ASKED = Labels(expression="smiling", angle="front", background="beach")
SMALL_FACED = HELD_OUT_FROM + 55
"""Seated and from the side, this face is so small that the reader sees a smile whatever it shows."""


def made(expression: str, *, character: int = HERO, background: str = "beach", seed: int = 11) -> Image.Image:
    view = View(angle="front", expression=expression, background=background, lighting="day", seed=seed)
    return render(make_character(character), view)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


def judged(
    store: Store,
    *edits: Image.Image,
    hero: int = HERO,
    source_view: View = SOURCE,
    prompt: str = PROMPT,
    labels: Labels = ASKED,
) -> list[Judged]:
    source = store.put_blob(encode_png(render(make_character(hero), source_view), {"flenwheel.item": "a.png"}))
    records = [
        ImageRecord(
            digest=store.put_blob(encode_png(edit, {})),
            width=128,
            height=128,
            kind=ImageKind.ENRICHED,
            parents=(source,),
            prompt=prompt,
            seed=7,
            stage="enrich",
            request="0" * 64,
            item=str(number),
            labels=labels,
        )
        for number, edit in enumerate(edits)
    ]
    return judge(store, Settings(gpu="cpu"), records, Truth(hero, {"a.png": source_view}))


def test_right_edits_are_good_strangers_rejected_and_missed_instructions_corrected(store: Store) -> None:
    right, stranger, sad, forest = judged(
        store, made("smiling"), made("smiling", character=STRANGER), made("sad"), made("smiling", background="forest")
    )
    assert (right.verdict, right.correction) == (Verdict.GOOD, None)
    assert (stranger.verdict, stranger.reasons, stranger.correction) == (Verdict.REJECT, ("identity",), None)
    assert (sad.verdict, sad.reasons) == (Verdict.NEEDS_CORRECTION, ("expression",))
    assert (forest.verdict, forest.reasons) == (Verdict.NEEDS_CORRECTION, ("background",))


def test_a_correction_is_right_and_keeps_the_framing_of_the_edit(store: Store) -> None:
    edits = [made("sad", seed=seed) for seed in (11, 12, 13, 14)]
    found = judged(store, *edits)
    answers = [load_picture(store, item.correction or "") for item in found]
    assert all(item.verdict is Verdict.GOOD for item in judged(store, *answers))

    def gap(first: Image.Image, second: Image.Image) -> float:
        return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())

    own = np.mean([gap(edit, answer) for edit, answer in zip(edits, answers, strict=True)])
    others = np.mean([gap(edit, answer) for edit in edits for answer in answers])
    assert own < 0.8 * others
    assert [item.correction for item in judged(store, *edits)] == [item.correction for item in found]


def test_a_wrong_expression_is_painted_over_and_the_rest_stays(store: Store) -> None:
    edit = made("sad", seed=11)
    (found,) = judged(store, edit)
    gap = np.abs(np.asarray(load_picture(store, found.correction or ""), dtype=float) - np.asarray(edit, dtype=float))
    assert 0.002 < (gap.max(axis=2) > 0).mean() < 0.15


def test_what_the_right_answer_does_not_show_either_is_not_held_against_an_edit(store: Store) -> None:
    seated = replace(SOURCE, pose="sitting", angle="half-left")
    shown = replace(seated, angle="profile-left", background="beach", seed=3)
    edit = render(make_character(SMALL_FACED), replace(shown, expression="smiling"))
    asked = Labels(expression="neutral", angle="profile-left", background="beach", pose="sitting")
    (found,) = judged(
        store,
        edit,
        hero=SMALL_FACED,
        source_view=seated,
        prompt="same person, neutral expression, profile-left view, beach background",
        labels=asked,
    )
    assert (found.verdict, found.reasons, found.correction) == (Verdict.GOOD, (), None)
    forest = render(make_character(SMALL_FACED), replace(shown, expression="smiling", background="forest"))
    (wrong,) = judged(
        store,
        forest,
        hero=SMALL_FACED,
        source_view=seated,
        prompt="same person, neutral expression, profile-left view, beach background",
        labels=asked,
    )
    assert (wrong.verdict, wrong.reasons) == (Verdict.NEEDS_CORRECTION, ("background",))
