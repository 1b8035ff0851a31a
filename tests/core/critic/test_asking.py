"""Who may set pictures aside: the critic that was let through at gate D, and only where it can be read."""

from pathlib import Path

import pytest

from flenwheel_core.critic.asking import OTHER_EYES, ask_critics, knows_nothing
from flenwheel_core.critic.ladder import train_critic
from flenwheel_core.documents.critics import Critic, CriticView
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.requests.critic_score import CriticScoreRequest
from flenwheel_core.store import Store
from tests.kit.critic_world import THRESHOLD, lessons, pictures


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


@pytest.fixture(scope="module")
def learned() -> Critic:
    return train_critic(lessons(240), {}, record="0" * 64).critic


def asked(store: Store, critic: Critic | None, guard: Critic | None) -> CriticScoreRequest:
    """What a gate of sixty pictures asks, where the recipe lets the promoted critic set pictures aside."""
    shown = pictures(60, 7)
    records = [
        ImageRecord(
            digest=one.image, width=8, height=8, kind=ImageKind.ENRICHED, stage="enrich", request="1" * 64, item="edit",
            parents=(one.source or "a" * 64,), model="nano",
        )
        for one in shown
    ]  # fmt: skip
    kept = [None if one is None else store.put_blob(one.to_bytes()) for one in (critic, guard)]
    return CriticScoreRequest(
        gate="mira-t5-gate-a-r1", kind="enriched", character="mira", images=store.put_images(records),
        screenings=store.put_screenings([one.screening for one in shown if one.screening is not None]),
        threshold=THRESHOLD, verifier="subject", critic=kept[0], guard=kept[1], random_share=0.15, audit_share=0.1,
        most_lost=0.05, confidence=0.95, rejects=True,
    )  # fmt: skip


def set_aside(view: CriticView) -> int:
    return sum(row.set_aside for row in view.pictures)


def test_the_promoted_critic_sets_pictures_aside(store: Store, learned: Critic) -> None:
    view = ask_critics(store, asked(store, learned, learned))
    assert view.rejects and set_aside(view) > 0


def test_the_newest_critic_does_not_stand_in_for_a_promoted_one_that_cannot_be_read(
    store: Store, learned: Critic
) -> None:
    """Nobody let the newest one through at gate D: it may say what it would do, and no more."""
    other = learned.model_copy(update={"verifier": "subject", "verifier_version": "of another year"})
    view = ask_critics(store, asked(store, learned, other), lambda images, verifier: ({}, "of this year"))
    assert not view.rejects and set_aside(view) == 0
    assert any(row.says_reject for row in view.pictures) and OTHER_EYES in view.said


def test_what_knows_nothing_needs_no_process(store: Store, learned: Critic) -> None:
    alike = train_critic(lessons(4), {}, record="0" * 64).critic
    assert alike.rung == "base_rate"
    known = [(None, None), (alike, None), (learned, None), (None, learned), (alike, alike)]
    assert [knows_nothing(store, asked(store, *two)) for two in known] == [True, True, False, False, False]
