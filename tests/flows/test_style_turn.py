"""A turn of a style: the steps of a character's, without edits, measured against paintings that were kept back."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
import torch

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.studies import BlindPair, Choice, PairVerdict, Studies
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.nano.paintings import content, painting, scene
from flenwheel_core.nano.world.render import render
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.plans.subjects import plan_of, usable_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.records.turns import Turns
from flenwheel_core.reports.turn_report import TurnFacts, turn_report
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.benchmark import BenchmarkResult
from flenwheel_core.requests.export import ExportResult
from flenwheel_core.requests.style_study import StyleStudyResult
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.stage import Stage
from flenwheel_core.runner.worker import run_stage
from flenwheel_core.store import Store
from flows.flywheel1 import run_turn
from flows.turn import Turn
from flows.turn_runner import Request, Result
from tests.kit.tiny_eyes import WIDTH, tiny_clip, tiny_csd, tower


class Runner:
    """The turn's stages in this process; a person who takes what screening did not fail."""

    def __init__(self, turn: Turn, settings: Settings) -> None:
        self.turn, self.settings = turn, settings
        self.asked: list[tuple[str, StageRequest]] = []
        self.made: dict[str, StageResult] = {}
        self.sessions: list[ReviewSession] = []
        self.facts: TurnFacts | None = None

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        self.asked.append((label, request))
        any_stage = cast("Stage[StageRequest, StageResult]", stage)
        progress = Progress(stage.name, lambda event: None)
        result = run_stage(any_stage, request, self.settings, progress, memory_level=0, stop=threading.Event())
        self.made[stage.name] = result
        return cast("Result", result)

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        self.sessions.append(reviews.open(session))
        return reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")

    def turn_report(self, facts: TurnFacts) -> str:
        self.facts = facts
        return turn_report(self.turn.store, facts)


def small(recipe: Recipe) -> Recipe:
    """How the pictures look is no matter here."""
    assert recipe.style is not None
    train = recipe.train.model_copy(update={"steps": 2, "min_epochs": None, "warmup_steps": 0, "batch_size": 2})
    train = train.model_copy(update={"sampling": train.sampling.model_copy(update={"every_steps": 2, "prompts": 1})})
    sampler = recipe.generate.sampler.model_copy(update={"steps": 2})
    generate = recipe.generate.model_copy(update={"target_images": 4, "sampler": sampler})
    screening = recipe.screening.model_copy(update={"identity_threshold": 1.9, "unsure_above": 2.0})
    return recipe.model_copy(
        update={
            "train": train,
            "generate": generate,
            "screening": screening,
            "style": recipe.style.model_copy(update={"card": recipe.style.card[:4], "strengths": (0.5, 1.0)}),
            "benchmark": recipe.benchmark.model_copy(update={"seeds_per_cell": 1}),
            "gates": recipe.gates.model_copy(update={"minimum_pristine": 1}),
        }
    )


@pytest.mark.slow
def test_a_style_goes_through_the_flywheel_of_characters(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, gpu="cpu", threads=1)
    store = Store(settings.store_url)
    folder = tmp_path / "paintings"
    folder.mkdir()
    for seed in range(14):
        painting(601, seed).save(folder / f"{seed:02d}.png")
        (folder / f"{seed:02d}.txt").write_text(content(seed))
    (folder / "photos").mkdir()
    for seed in range(3):
        render(*scene(300 + seed)).save(folder / "photos" / f"{seed}.png")
    library = Library(store)
    monet = Character(name="monet", trigger="ohwx_style", class_word="style", kind="style", recipe="nano_style")
    library.create_character(monet)
    library.add_sources("monet", keep_files(store, find_sources(folder)).files)
    chosen = usable_recipe("nano_style", "style")
    csd = tiny_csd(tmp_path / "csd", tower(), torch.randn(WIDTH, 16))
    eyes = {"content": str(tiny_clip(tmp_path / "clip")), "csd": str(csd)}
    chosen = chosen.model_copy(update={"models": chosen.models.model_copy(update=eyes)})
    recipe = small(pin_recipe(chosen, settings, plan_of("style").models))
    opened = library.open_turn("monet", "run-1", store.put_blob(recipe.to_bytes()))
    turn = Turn(store, monet, recipe, opened.number, "run-1", "monet-t1", "turns/monet/0001")

    runner = Runner(turn, settings)
    outcome = run_turn(turn, runner)

    steps = [label.partition(" ")[0] for label, _ in runner.asked]
    assert steps == ["ingest", "train", "generate", "screen", "train", "benchmark", "study", "export"]
    assert [session.kind for session in runner.sessions] == ["synthetic"], "nothing is edited, so gate A is passed by"
    assert outcome.startswith(("promoted", "kept")) and runner.facts is not None

    facts, first = library.facts("monet"), next(one for _, one in runner.asked if isinstance(one, TrainRequest))
    assert facts is not None and facts.held_out is not None
    kept = {record.digest for record in store.get_images(facts.held_out)}
    trained = {item.image for item in first.items}
    assert len(kept) == 3 and len(trained) == 11 and not kept & trained, "what is measured against is never trained on"
    assert all(item.caption.endswith(", ohwx_style style") for item in first.items)
    assert first.sample_prompts[0].endswith(", ohwx_style style")

    score = runner.made["benchmark"]
    assert isinstance(score, BenchmarkResult) and score.comparison is not None and score.champion is not None
    for card in (score.challenger, score.champion):
        assert card.style is not None and card.style.low <= card.style.distance <= card.style.high
        assert [cell.cell for cell in card.cells] == ["card-01", "card-02", "card-03", "card-04"]
        assert card.style.content is not None and 0 <= card.style.content <= 1
    assert "style" in score.comparison.reasons[0] and score.comparison.style_gain is not None

    report = store.get_blob(library.ended_turns("monet")[0].report or "").decode()
    assert "distance to held-out paintings" in report and "identity" not in report
    study = runner.made["style_study"]
    assert isinstance(study, StyleStudyResult) and study.strength in (0.5, 1.0)
    names = [one.way.name for one in study.ways]
    assert names[0] == "base" and names[-1].endswith(" at 1") and study.named in names[1:3]
    assert all({near.painting for near in one.nearest} <= trained for one in study.ways)
    assert study.csd_own is not None and study.ways[0].csd is None, (
        "the bare base is what the others are ranked against"
    )
    assert all(one.csd is not None and 0 <= one.csd <= 1 for one in study.ways[1:])
    assert all(one.kid is not None and one.clip_t is not None for one in study.ways)
    photos = study.photos
    assert photos is not None and photos.low <= photos.distance <= photos.high and photos.kid is not None
    shown_there = store.get_images(photos.images)
    assert [record.item for record in shown_there] == ["photos/0.png", "photos/1.png", "photos/2.png"]
    assert not {record.digest for record in shown_there} & (kept | trained), (
        "photographs are measured, and nothing else"
    )
    assert not set(facts.fingerprint.images if facts.fingerprint else ()) & {one.digest for one in shown_there}
    exported = runner.made["export"]
    assert isinstance(exported, ExportResult)
    files = {file.name: file.digest for file in exported.files}
    readme = store.get_blob(files["README.md"]).decode()
    assert f"Use it at a strength of **{study.strength:g}**" in readme
    assert "A style LoRA for" in readme and "distance to held-out paintings" in readme

    shown = [step.name for step in Turns(store, settings, turn.reviews).get("monet", 1).steps]
    assert "style_study" in shown and "enrich-r1" not in shown
    studies = Studies(store)
    made = studies.of("monet")
    assert [line.name for line in made] == ["monet-t1"]
    pairs = studies.pairs(made[0].request)
    assert len(pairs) == 4 * 10, "four scenes, every two of five ways"
    assert studies.pairs(made[0].request) == pairs
    only = studies.pairs(made[0].request, ("base", names[-1]))
    assert len(only) == 4 and {pair.id for pair in only} < {pair.id for pair in pairs}
    for number, pair in enumerate(only):
        studies.judge(made[0].request, verdict(pair, "first" if number else "neither"))
    base = {record.digest for record in store.get_images(study.ways[0].images)}
    won = sum(pair.first in base for pair in only[1:])
    assert [(one.way, one.against, one.won, one.lost, one.neither) for one in studies.wins(made[0].request)] == [
        ("base", names[-1], won, 3 - won, 1)
    ]
    studies.judge(made[0].request, verdict(only[0], None))
    assert sum(one.neither for one in studies.wins(made[0].request)) == 0, "the last verdict was taken back"
    with pytest.raises(InputError, match="no pair of this study"):
        studies.judge(made[0].request, verdict(only[0].model_copy(update={"second": only[1].second}), "first"))


def verdict(pair: BlindPair, choice: Choice | None) -> PairVerdict:
    """Ana's."""
    return PairVerdict(
        at=datetime.now(UTC), author="ana", pair=pair.id, first=pair.first, second=pair.second, choice=choice
    )
