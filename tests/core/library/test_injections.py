"""Heads and previews that stand in a store: which is the newest, and what an earlier version wrote."""

import json
from pathlib import Path

from flenwheel_core.documents.injections import EARLIER_PIXELS
from flenwheel_core.library.injections import Injections
from flenwheel_core.requests.inject import InjectRequest, InjectResult, InjectTrainRequest, InjectTrainResult
from flenwheel_core.store import Store
from tests.kit.injection_world import FACTS, FAST, PROMPT, drawn_identity

HEAD, OTHER = "1" * 64, "2" * 64


def preview_of(store: Store, seed: int) -> InjectRequest:
    """A preview that was drawn, of nothing."""
    request = InjectRequest(
        identities=(drawn_identity(store, 1),),
        features="nano",
        base="nano",
        head=HEAD,
        prompts=(PROMPT,),
        alphas=(1.0,),
        seeds=(seed,),
        sampler=FAST,
    )
    store.put_request(request)
    store.put_result(request, InjectResult(images=OTHER, cells=(), figures=(), grids=(), verdict=f"seed {seed}"))
    Injections(store).add_preview("mira", request)
    return request


def test_a_head_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    facts = FACTS.model_dump(mode="json")
    del facts["pixels"]
    journal = tmp_path / "store" / "journals" / "injection" / "heads.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text(json.dumps({"at": "2026-11-29T10:00:00Z", "head": HEAD, "facts": facts}) + "\n")
    (made,) = Injections(store).heads()
    assert made.facts.pixels == EARLIER_PIXELS and made.facts.learned_from is None and not made.brought


def test_a_preview_of_an_earlier_version_is_passed_over(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    preview_of(store, 1)
    newest = preview_of(store, 2)
    file = tmp_path / "store" / store.stage_folder(newest) / "request.json"
    file.chmod(0o600)
    file.write_text(json.dumps({**json.loads(file.read_text()), "pixels": 448 * 448}))
    found = Injections(store).preview("mira")
    assert found is not None and found[1].verdict == "seed 1"


def test_characters_are_drawn_with_heads_that_were_trained_here(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    known = Injections(store)
    brought = known.bring_head(b"a head", FACTS)
    assert known.head_for(FACTS.feature_model, FACTS.base) is None
    request = InjectTrainRequest(
        identities=(drawn_identity(store, 1),), features="nano", base="nano", width=128, height=128
    )
    known.add_head(request, InjectTrainResult(head=HEAD, facts=FACTS, curves=()))
    known.bring_head(b"a head", FACTS)
    known.bring_head(b"another head", FACTS)
    newest = known.head_for(FACTS.feature_model, FACTS.base)
    assert newest is not None and newest.head == HEAD
    known.add_head(request, InjectTrainResult(head=brought, facts=FACTS, curves=()))
    newest = known.head_for(FACTS.feature_model, FACTS.base)
    assert newest is not None and newest.head == brought, "trained here as well"
    assert len(known.heads()) == 4
