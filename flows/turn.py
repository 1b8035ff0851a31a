"""One turn of the flywheel of a character or a style: what each step asks for, written down when it is first asked.

A suspended run is replayed from its top when it goes on, perhaps days later and with newer code. So every request is written down before
it is made, and a replay reads it back: the pool may have grown and the planner may have changed, the turn goes on as it was planned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import derive_seed
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.documents.images import ImageRecord, LoraUse
from flenwheel_core.documents.injections import InjectionOfTurn
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.documents.scores import Fingerprint, Scorecard
from flenwheel_core.evaluation.bleed import bleed_items
from flenwheel_core.evaluation.promotion.rule import winner
from flenwheel_core.gates.session import Reviews
from flenwheel_core.identity.given_captions import training_caption
from flenwheel_core.identity.writing import writing_finder
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.library.characters import (
    Character,
    CharacterFacts,
    Library,
    PoolEntry,
    Promotion,
    TurnEnded,
)
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.doubts import trained_on
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.library.studies import Studies
from flenwheel_core.plans.choice import choose_request, states_of
from flenwheel_core.plans.ingest_request import ingest_request
from flenwheel_core.plans.pictures import Weights
from flenwheel_core.plans.scenes import photos_note
from flenwheel_core.plans.subjects import SubjectPlan, plan_of
from flenwheel_core.plans.training_set import training_items
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.records.prompt_history import template_success
from flenwheel_core.reports.turn_report import TurnFacts
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.choose import ChooseRequest
from flenwheel_core.requests.export import ExportRequest
from flenwheel_core.requests.ingest import IngestRequest, IngestResult
from flenwheel_core.requests.screen import ScreenRequest
from flenwheel_core.requests.style_study import StyleStudyRequest
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.store import Store
from flows.frozen import Kind, frozen_document
from tasks.pinning import for_ingest
from tasks.progress_artifact import say


class ChampionAtStart(Document):
    """The LoRA a turn starts from; none in the first turn."""

    lora: LoraRecord | None


@dataclass(frozen=True)
class Turn:
    """A turn of a character, or a step on its own (its number is 0)."""

    store: Store
    character: Character
    recipe: Recipe
    number: int
    flow_run: str
    name: str
    """Such as mira-t1: names the LoRAs, gates and task runs."""
    folder: str
    """Where the steps' documents are written down."""

    @property
    def library(self) -> Library:
        return Library(self.store)

    @property
    def plan(self) -> SubjectPlan:
        """What differs between characters and styles."""
        return plan_of(self.character.kind)

    @property
    def reviews(self) -> Reviews:
        return Reviews(self.store)

    def frozen(self, step: str, kind: type[Kind], build: Callable[[], Kind]) -> Kind:
        """The document of a step: what was written down at the first call, whatever `build` would give now."""
        return frozen_document(self.store, f"{self.folder}/{step}", kind, build)

    def pool(self) -> list[PoolEntry]:
        """The training pool as it is now, without what a person left out of it. What depends on it belongs into `frozen`."""
        return trained_on(self.store, self.character.name)

    def whole_pool(self) -> list[PoolEntry]:
        """The training pool with what a person left out of it."""
        return self.library.pool(self.character.name)

    def fingerprint(self) -> Fingerprint:
        """The character's fingerprint, frozen with its first turn."""
        facts = self._facts()
        assert facts.fingerprint is not None
        return facts.fingerprint

    # sources

    def ingest_request(self) -> IngestRequest:
        """All files given so far, until they were enough for this turn. Raises InputError if there are none."""
        standing = self.store.get_document(f"{self.folder}/ingest", IngestRequest)
        if standing is not None:
            return standing
        files = self.library.sources(self.character.name)
        if not files:
            raise InputError(
                f"{self.character.name} has no pictures yet.",
                remedy=f"Give some: flenwheel ingest {self.character.name} FOLDER.",
            )
        return ingest_request(self.character, files, for_ingest(self.recipe, files), CaptionerLibrary(self.store))

    def take_in(self, request: IngestRequest, result: IngestResult) -> None:
        """The sources enter the pool; the facts are frozen with the first turn. Raises InputError that lists what is missing."""
        if result.missing or result.fingerprint is None:
            problems = [f"{problem.file}: {problem.message}" for problem in result.problems]
            raise InputError(
                f"{self.character.name} cannot start a turn yet: {'; '.join(result.missing) or 'no fingerprint'}.",
                why="\n  ".join(["what was found about the files:", *problems]) if problems else "",
                remedy=f"Add pictures: flenwheel ingest {self.character.name} FOLDER. Then retry the run.",
            )
        self.frozen("ingest", IngestRequest, lambda: request)
        records = self.store.get_images(result.sources)
        kept = self.plan.held_out(records, self.recipe)
        facts = self.library.freeze_facts(
            self.character.name,
            CharacterFacts(
                sources=result.sources,
                fingerprint=result.fingerprint,
                held_out=self.store.put_images(kept) if kept else None,
            ),
        )
        photos = self.plan.photos(records)
        Studies(self.store).keep_photos(self.character.name, self.store.put_images(photos) if photos else None)
        kept = self.store.get_images(facts.held_out) if facts.held_out else ()
        if photos:
            say(photos_note(photos))
        learned = self.plan.learned(records, kept)
        entries = [self.entry(record, record.caption, gate=None) for record in records if record.digest in learned]
        self.library.add_sources_to_pool(self.character.name, entries)

    def entry(self, record: ImageRecord, caption: str | None, *, gate: str | None) -> PoolEntry:
        """A picture on its way into the pool. A caption that a person typed at a gate is learned as a given one is."""
        character = self.character.ref()
        words = caption or self.plan.caption(record, character, self.recipe)
        if caption and gate is not None:
            words = training_caption(caption, character, self.recipe.train.text_tokens).text
        return PoolEntry(image=record, caption=words, real=gate is None, turn=self.number, gate=gate)

    def add_to_pool(self, entries: Sequence[PoolEntry]) -> None:
        self.library.add_to_pool(self.character.name, list(entries))

    def editor_loras(self) -> tuple[LoraUse, ...]:
        """The recipe's LoRAs of the editor, then the editor's own, if one was promoted."""
        return EditorLibrary(self.store).worn(self.recipe)

    def planned_edits(self, pool: Sequence[PoolEntry], round_: int) -> tuple[EditItem, ...]:
        """Edits of the sources towards the cells that `pool` lacks; none if it lacks none."""
        sources = [entry.image for entry in pool if entry.real]
        return self.plan.edits(sources, pool, self.recipe, self.number, round_, self.template_weights())

    def planned_pictures(self, pool: Sequence[PoolEntry], round_: int) -> tuple[GenerateItem, ...]:
        """The synthetic pictures of a round."""
        subject, weights = self.character.ref(), self.template_weights()
        return self.plan.pictures(subject, pool, self.recipe, self.number, round_, weights)

    def template_weights(self) -> Weights:
        """How well each template worked in earlier turns of the character."""
        return template_success(self.store, self.character.name, before_turn=self.number)

    # screening and training

    def screen_request(self, step: str, images: str, *, strict: bool, kept: Sequence[PoolEntry] = ()) -> ScreenRequest:
        """Candidates against the fingerprint, the pool, and what earlier rounds kept for it."""

        def build() -> ScreenRequest:
            return ScreenRequest(
                character=self.character.ref(),
                images=images,
                references=self.sources(),
                pool=self.store.put_images([entry.image for entry in (*self.pool(), *kept)]),
                fingerprint=self.fingerprint(),
                verifier=self.recipe.models.verifier,
                reader=self.recipe.models.reader,
                writing_finder=writing_finder(self.recipe.models.verifier, self.recipe.screening.writing_unsure_above),
                recipe=self.recipe.screening,
                strict=strict,
            )

        return self.frozen(f"screen-{step}", ScreenRequest, build)

    def sources(self) -> str:
        """The image set of the real sources that the fingerprint was taken from."""
        return self._facts().sources

    def _facts(self) -> CharacterFacts:
        facts = self.library.facts(self.character.name)
        if facts is None:
            raise InputError(
                f"{self.character.name} has no fingerprint yet.",
                why="it is taken when the first turn begins.",
                remedy=f"Start one: flenwheel run {self.character.name}.",
            )
        return facts

    def champion(self) -> LoraRecord | None:
        """The champion as the turn began."""

        def build() -> ChampionAtStart:
            standing = self.library.champion(self.character.name, before_turn=self.number or None)
            return ChampionAtStart(lora=standing.lora if standing else None)

        return self.frozen("champion", ChampionAtStart, build).lora

    def train_request(self, step: str) -> TrainRequest:
        """A LoRA on the whole pool, from the base model. Raises InputError if the pool is empty."""

        def build() -> TrainRequest:
            recipe, character = self.recipe, self.character.ref()
            if not self.pool():
                raise InputError(
                    f"{self.character.name} has no training pool yet.",
                    why="pictures enter it in a turn.",
                    remedy=f"Start one: flenwheel run {self.character.name}.",
                )
            items = training_items(self.pool(), recipe.pool.real_share, bodies_from=recipe.train.bodies_from)
            train = recipe.train.for_pictures(len(items))
            return TrainRequest(
                character=character,
                name=f"{self.name}-{step}",
                items=items,
                base=recipe.models.base,
                recipe=train,
                seed=derive_seed(recipe.generate.seed, "train", self.number) % 2**31,
                sample_prompts=self.plan.samples(character, recipe, recipe.train.sampling.prompts),
                sampler=recipe.generate.sampler,
                fingerprint=self.fingerprint(),
                verifier=recipe.models.verifier,
                keep_at=recipe.choice.kept_steps(train.steps),
                look_at=recipe.doubts.steps(train.steps),
            )

        return self.frozen(f"train-{step}", TrainRequest, build)

    # benchmark, promotion, export

    def benchmark_request(self, champion: LoraRecord | None, challenger: LoraRecord) -> BenchmarkRequest:
        """Champion against challenger, the same prompts and seeds. Raises InputError if the character was never ingested."""

        def build() -> BenchmarkRequest:
            return BenchmarkRequest(
                character=self.character.ref(),
                base=self.recipe.models.base,
                challenger=challenger.digest,
                champion=champion.digest if champion else None,
                lora_weight=self.recipe.generate.lora_weight,
                fingerprint=self.fingerprint(),
                first_turn=self._first_scorecard(),
                verifier=self.recipe.models.verifier,
                reader=self.recipe.models.reader,
                items=self.plan.card(self.character.ref(), self.recipe),
                bleed_items=bleed_items(self.character.ref(), self.recipe),
                held_out=self._facts().held_out if self.character.kind != "style" else None,
                screening=self.recipe.screening,
                recipe=self.recipe.benchmark,
                sampler=self.recipe.generate.sampler,
                style=self.plan.measure(self.store, self.character.name, self.recipe),
            )

        return self.frozen("benchmark", BenchmarkRequest, build)

    def choose_request(self, step: str, trained: TrainResult) -> ChooseRequest | None:
        """How the states of a training are tried; None where there is nothing to choose from."""
        if self.character.kind == "style" or len(states_of(trained, self.recipe)) < 2:
            return None

        def build() -> ChooseRequest:
            held_out = self._facts().held_out
            return choose_request(self.character.ref(), self.recipe, trained, self.fingerprint(), held_out)

        return self.frozen(f"choose-{step}", ChooseRequest, build)

    def _first_scorecard(self) -> Scorecard | None:
        champions = self.library.champions(self.character.name)
        return champions[0].scorecard if champions and champions[0].turn < self.number else None

    def promote(self, champion: LoraRecord, challenger: LoraRecord, score: BenchmarkResult) -> Promotion | None:
        """Promotes whom the rule says; None if the champion stays."""
        comparison = score.comparison
        promoted = winner(comparison, first_turn=self.champion() is None)
        if promoted is None:
            return None
        better = promoted == "challenger"
        card = score.challenger if better else score.champion
        assert card is not None

        def build() -> Promotion:
            return Promotion(
                at=datetime.now(UTC),
                lora=challenger if better else champion,
                scorecard=card,
                turn=self.number,
                flow_run=self.flow_run,
                reasons=comparison.reasons if comparison else (),
            )

        promotion = self.frozen("promotion", Promotion, build)
        self.library.promote(self.character.name, promotion)
        return promotion

    def study_request(self, lora: LoraRecord) -> StyleStudyRequest | None:
        """How the new champion is tried at several strengths; None for a character."""
        request = self.plan.study(self.store, self.character.ref(), self.recipe, lora, self.fingerprint())
        return None if request is None else self.frozen("style_study", StyleStudyRequest, lambda: request)

    def keep_study(self, request: StyleStudyRequest) -> None:
        """Makes a finished study known, for pages."""
        Studies(self.store).add(self.character.name, self.name, request)

    def export_request(
        self, promotion: Promotion, trained: TrainResult, score: BenchmarkResult, strength: float | None = None
    ) -> ExportRequest:
        """The new champion with all that is known of it."""

        def build() -> ExportRequest:
            return ExportRequest(
                character=self.character.ref(),
                lora=promotion.lora,
                scorecard=promotion.scorecard,
                comparison=score.comparison,
                grid=score.grid,
                samples=trained.samples,
                sources=self.sources(),
                pool=self.store.put_images([entry.image for entry in self.pool()]),
                turn=self.number,
                sampler=self.recipe.generate.sampler,
                strength=strength,
                choice=Choices(self.store, self.character.name).of(promotion.lora),
                consent=self.library.consent(self.character.name),
            )

        return self.frozen("export", ExportRequest, build)

    def facts(self, outcome: str, sources: str, gates: Sequence[ClosedGate]) -> TurnFacts:
        """What the turn's report is made from."""
        injection = self.store.get_document(f"{self.folder}/injection", InjectionOfTurn)
        return TurnFacts(
            name=self.name,
            character=self.character.name,
            number=self.number,
            outcome=outcome,
            recipe=self.recipe.content_digest(),
            sources=sources,
            gates=tuple(gates),
            target_pass_rate=self.recipe.benchmark.target_pass_rate,
            injection="" if injection is None else injection.said,
        )

    def end(self, outcome: Literal["promoted", "kept", "stopped"], score: BenchmarkResult | None, report: str) -> None:
        """Records how the turn ended."""
        ended = TurnEnded(
            at=datetime.now(UTC),
            number=self.number,
            flow_run=self.flow_run,
            outcome=outcome,
            challenger=score.challenger if score else None,
            report=self.store.put_blob(report.encode()),
        )
        self.library.end_turn(self.character.name, ended)


def uses(lora: LoraRecord, weight: float) -> tuple[LoraUse, ...]:
    """A LoRA at a weight, for a request."""
    return (LoraUse(digest=lora.digest, weight=weight),)
