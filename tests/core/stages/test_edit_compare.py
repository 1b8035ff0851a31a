"""The stage `edit_compare` on the nano editor: what it measures, and that the request's margin reaches the rule."""

import threading
from pathlib import Path

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ANGLES, Labels, Sampler
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.identity.fingerprint import make_fingerprint
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.nano.world import HELD_OUT_FROM, Character, View, make_character, render
from flenwheel_core.requests.edit_compare import ComparedEdit, EditCompareRequest, EditCompareResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.edit_compare import edit_compare
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

SAMPLER = Sampler(steps=8, guidance=1.0, true_cfg=1.0, width=128, height=128)


def fingerprint_of(character: Character, settings: Settings) -> Fingerprint:
    views = [View(angle=angle, background="studio", lighting="day", seed=seed) for seed, angle in enumerate(ANGLES)]
    with open_verifier("nano", settings) as verifier:
        embedded = verifier.embed([render(character, view) for view in views])
        return make_fingerprint(
            [str(index) * 64 for index in range(len(views))],
            [found.embedding or () for found in embedded],
            verifier.threshold_rule,
            verifier=verifier.name,
            verifier_version=verifier.version,
        )


def test_edits_are_judged_by_the_reader_and_by_the_margin_of_the_request(tmp_path: Path) -> None:
    store, settings = Store((tmp_path / "store").as_uri()), Settings(workspace=tmp_path, gpu="cpu")
    hero, stranger = make_character(HELD_OUT_FROM + 41), make_character(HELD_OUT_FROM + 42)
    source, forest, beach, other_face = (
        store.put_blob(encode_png(render(who, View(angle="front", background=place, lighting="day", seed=3)), {}))
        for who, place in ((hero, "studio"), (hero, "forest"), (hero, "beach"), (stranger, "forest"))
    )
    items = tuple(
        ComparedEdit(
            key=f"held-out-{number}",
            source=source,
            prompt="same person, forest background",
            target=target,
            corrected=corrected,
            rejected=source if corrected else None,
            character="hero",
            labels=Labels(background=asked),
            seed=7,
        )
        for number, (asked, target, corrected) in enumerate(
            (
                ("forest", forest, True),
                ("beach", beach, False),
                ("beach", forest, False),
                ("forest", other_face, False),
            )
        )
    )

    fingerprint = fingerprint_of(hero, settings)

    def compare(margin: float | None) -> EditCompareResult:
        scratch = tmp_path / f"margin-{margin}"
        scratch.mkdir()
        context = StageContext(store, settings, scratch, Progress("edit_compare", lambda _: None), 0, threading.Event())
        request = EditCompareRequest(
            items=items,
            editor="nano",
            challenger=(),
            fingerprints={"hero": fingerprint},
            verifier="nano",
            reader="nano",
            sampler=SAMPLER,
            kept_margin_db=margin,
        )
        return edit_compare(request, context)

    found = compare(1.5)
    followed, other, unreadable, misjudged = found.champion.edits
    assert followed.identity_kept is True
    assert misjudged.identity_kept is None, "the verifier does not know the right answer either"
    assert misjudged.identity == followed.identity
    assert followed.passed and not other.passed
    assert unreadable.passed and unreadable.followed is None, "the reader misreads the right answer too"
    assert followed.target_error is not None and 0 < followed.target_error < 40
    assert followed.nearness is not None and followed.nearness > 20, "far from the source, which was rejected"
    assert other.target_error is None and other.nearness is None
    assert followed.kept_psnr_db is not None and followed.kept_psnr_db > 20
    assert found.challenger == found.champion and not found.comparison.promote
    assert "down to -1.5 is fine" in found.comparison.reasons[-1]
    assert "down to -0.5 is fine" in compare(None).comparison.reasons[-1]
