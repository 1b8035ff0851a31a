"""Rounds of a gate: make pictures, screen them, let a person decide; again with new seeds or better prompts as long as they ask for it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.decisions import ClosedGate, DecisionSet, FinalDecision
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.gates.kinds import ENRICHED, SYNTHETIC, KindOfGate
from flenwheel_core.gates.session import ReviewSession
from flenwheel_core.gates.settle import usable_pictures
from flenwheel_core.identity.given_captions import training_caption
from flenwheel_core.library.characters import PoolEntry
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.runner.stage import ENRICH, GENERATE, SCREEN
from flows.critic_steps import Candidates, learn_from, put_in_order
from flows.injected_cells import injected_pictures
from flows.trainings import evidence, standing
from flows.turn import Turn, uses
from flows.turn_runner import TurnRunner


@dataclass
class Rounds(ABC):
    """A gate of a turn with all its rounds. `run` gives True if the turn goes on, False if a person stopped it.

    What was good in one round stays good: a redo asks only for what is still missing. If nothing is, there is no further round: the turn
    goes on with what was good, even where that is less than the gate asks for. Nothing enters the pool before the turn goes on.
    """

    turn: Turn
    runner: TurnRunner
    kept: list[PoolEntry] = field(default_factory=list)
    closed: list[ClosedGate] = field(default_factory=list)

    kind: ClassVar[KindOfGate]

    @abstractmethod
    def make(self, round_: int, repeats: tuple[EditItem, ...]) -> str | None:
        """The image set of a round's candidates; None if there is nothing to make."""

    @property
    def shown_lora(self) -> LoraRecord | None:
        """The LoRA of whose training the gate tells; None: of none."""
        return self.turn.champion()

    @property
    @abstractmethod
    def minimum(self) -> int:
        """Good pictures the gate asks for in all."""

    def run(self) -> bool:
        """All rounds of the gate. Asking for a redo in the last round the recipe allows ends the turn, and nothing enters the pool."""
        repeats: tuple[EditItem, ...] = ()
        for round_ in range(1, self.turn.recipe.gates.rounds + 1):
            images = self.make(round_, repeats)
            if images is None:
                return self._goes_on()
            closed = self._review(round_, images, minimum=0 if repeats else max(0, self.minimum - len(self.kept)))
            self.closed.append(closed)
            learn_from(self.turn, self.runner, f"{self.kind.step}-r{round_}", closed)
            if closed.verdict == "stop":
                return False
            decisions = self.turn.reviews.decisions(closed)
            records = {record.digest: record for record in self.turn.store.get_images(images)}
            self.kept += self._good(closed.gate, decisions, records)
            repeats = self._better_prompts(decisions, records) if closed.verdict == "approve" else ()
            if closed.verdict == "approve" and not repeats:
                break
        return self.closed[-1].verdict == "approve" and self._goes_on()

    def _goes_on(self) -> Literal[True]:
        """What was good in all rounds enters the pool, at a gate that feeds it."""
        if self.kind.feeds_pool:
            self.turn.add_to_pool(self.kept)
        return True

    def _review(self, round_: int, images: str, minimum: int) -> ClosedGate:
        turn, step = self.turn, f"{self.kind.step}-r{round_}"
        request = turn.screen_request(step, images, strict=self.kind.strict, kept=self.kept)
        screened = self.runner.stage(SCREEN, request, f"screen {turn.name} {step}")
        gate = f"{turn.name}-{step}"
        session = ReviewSession(
            gate=gate,
            kind=self.kind.name,
            character=turn.character.name,
            turn=turn.number,
            round=round_,
            images=images,
            screenings=screened.screenings,
            references=turn.sources(),
            minimum=minimum,
            flow_run=turn.flow_run,
            critic=put_in_order(turn, self.runner, step, Candidates(gate, self.kind, images, screened.screenings)),
            evidence=evidence(turn, self.shown_lora),
        )
        return self.runner.gate(turn.reviews, session)

    def _good(self, gate: str, decisions: DecisionSet, records: dict[str, ImageRecord]) -> list[PoolEntry]:
        pictures = usable_pictures(decisions.decisions, records, self.turn.reviews.corrections(gate), gate)
        return [self.turn.entry(record, decision.caption, gate=gate) for decision, record in pictures]

    def _better_prompts(self, decisions: DecisionSet, records: dict[str, ImageRecord]) -> tuple[EditItem, ...]:
        """Edits that are made again with the prompt a person wrote."""
        return tuple(
            _again(decision, records[decision.image], len(self.closed))
            for decision in decisions.decisions
            if decision.again_with is not None
        )


class EnrichedRounds(Rounds):
    """Gate A: edits of the sources, aimed at the cells that are missing. Of a style nothing is edited, and the gate is passed by."""

    kind = ENRICHED

    @property
    def minimum(self) -> int:
        return self.turn.recipe.gates.minimum_enriched

    def make(self, round_: int, repeats: tuple[EditItem, ...]) -> str | None:
        turn = self.turn

        def build() -> EnrichRequest:
            sources = [entry.image for entry in turn.pool() if entry.real]
            items = repeats or turn.planned_edits([*turn.pool(), *self.kept], round_)
            return EnrichRequest(
                character=turn.character.ref(),
                sources=turn.store.put_images(sources),
                items=items,
                editor=turn.recipe.models.editor,
                loras=turn.editor_loras(),
                sampler=turn.recipe.enrich.sampler,
                turn=turn.number,
                shift=turn.recipe.enrich.shift,
                storage=turn.recipe.editor.storage,
            )

        request = turn.frozen(f"enrich-r{round_}", EnrichRequest, build)
        if not request.items:
            return None
        edits = self.runner.stage(ENRICH, request, f"enrich {turn.name} r{round_}").images
        injected = injected_pictures(turn, self.runner) if round_ == 1 else ()
        return turn.store.put_images([*turn.store.get_images(edits), *injected]) if injected else edits


@dataclass
class SyntheticRounds(Rounds):
    """Gate B: synthetic pictures of the champion, for the pristine set. Stricter."""

    lora: LoraRecord | None = None

    kind = SYNTHETIC

    @property
    def shown_lora(self) -> LoraRecord | None:
        return self.lora

    @property
    def minimum(self) -> int:
        return self.turn.recipe.gates.minimum_pristine

    def make(self, round_: int, repeats: tuple[EditItem, ...]) -> str | None:
        turn, recipe = self.turn, self.turn.recipe
        assert self.lora is not None
        lora = standing(turn, f"generate-r{round_}", self.lora)

        def build() -> GenerateRequest:
            character, pool = turn.character.ref(), [*turn.pool(), *self.kept]
            items = tuple(_drawn(item, character, recipe.train.text_tokens) for item in repeats)
            return GenerateRequest(
                character=character,
                items=items or turn.planned_pictures(pool, round_),
                base=recipe.models.base,
                loras=uses(lora, recipe.generate.lora_weight),
                sampler=recipe.generate.sampler,
                turn=turn.number,
            )

        request = turn.frozen(f"generate-r{round_}", GenerateRequest, build)
        if not request.items:
            return None
        return self.runner.stage(GENERATE, request, f"generate {turn.name} r{round_}").images


def _drawn(item: EditItem, character: CharacterRef, tokens: int) -> GenerateItem:
    """A prompt that a person wrote, drawn: it names the character as a caption does, else the LoRA would draw somebody else."""
    prompt = training_caption(item.prompt, character, tokens).text
    return GenerateItem.model_validate(item.model_dump(exclude={"source", "references"}) | {"prompt": prompt})


def _again(decision: FinalDecision, record: ImageRecord, round_: int) -> EditItem:
    return EditItem(
        key=f"again-{record.item}",
        source=record.parents[0] if record.parents else record.digest,
        prompt=decision.again_with or "",
        seed=derive_seed(record.seed or 0, "again", round_) % 2**31,
        template=record.template,
        cell=record.cell,
        labels=record.labels,
        references=record.parents[1:] if record.kind is ImageKind.ENRICHED else (),
    )
