"""One turn of the editor: what each step asks for, written down when it is first asked, as in `flows.turn`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.documents.images import ImageRecord, LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.gates.kinds import TRIPLETS
from flenwheel_core.gates.session import ReviewSession
from flenwheel_core.lessons.collect import compared, split
from flenwheel_core.lessons.gather import Lessons, approved_lessons, characters_of
from flenwheel_core.library.characters import Library
from flenwheel_core.library.editors import EditorLibrary, EditorOutcome, EditorPromotion
from flenwheel_core.requests.edit_compare import REPEAT, ComparedEdit, EditCompareRequest, EditCompareResult
from flenwheel_core.requests.edit_train import EditTrainRequest
from flenwheel_core.store.triplets import get_triplets, put_triplets
from flows.frozen import SharedTurn


class ChosenLessons(Document):
    """The lessons of gate C, split."""

    trained: Digest
    held_out: Digest


@dataclass(frozen=True)
class EditorTurn(SharedTurn):
    """A turn of Flywheel 2."""

    learner = "editor"

    @property
    def library(self) -> EditorLibrary:
        return EditorLibrary(self.store)

    # gate C

    def lessons(self, round_: int, gather: Callable[[str | None], Lessons]) -> Lessons:
        """What was collected and checked for a round of the gate; `gather` does it, for a character or for all."""
        return self.frozen(f"lessons-r{round_}", Lessons, lambda: gather(self.character))

    def gate_c(self, lessons: Lessons, round_: int) -> ReviewSession:
        """The session in which a person approves the lessons."""
        triplets = get_triplets(self.store, lessons.usable).triplets
        return ReviewSession(
            gate=f"{self.name}-{TRIPLETS.step}-r{round_}",
            kind=TRIPLETS.name,
            character=characters_of(triplets)[0],
            turn=self.number,
            round=round_,
            images=lessons.images,
            screenings=lessons.screenings,
            references=self._sources(triplets),
            minimum=self.recipe.editor.minimum_triplets,
            flow_run=self.flow_run,
        )

    def chosen(self, lessons: Lessons, closed: ClosedGate) -> ChosenLessons:
        """The approved lessons: those to train on, and the held-out ones for the comparison."""

        def build() -> ChosenLessons:
            approved = approved_lessons(self.store, lessons, self.reviews.decisions(closed))
            trained, held = split(approved, self.recipe.editor.holdout_share)
            return ChosenLessons(
                trained=put_triplets(self.store, trained),
                held_out=put_triplets(self.store, compared(held, self.recipe.editor.compared_edits)),
            )

        return self.frozen("chosen", ChosenLessons, build)

    # training and comparison

    def train_request(self, chosen: ChosenLessons) -> EditTrainRequest:
        """The editor's LoRA on the chosen lessons, always from the bare editor."""
        editor = self.recipe.editor
        lessons = len(get_triplets(self.store, chosen.trained).triplets)
        return EditTrainRequest(
            name=self.name,
            triplets=chosen.trained,
            editor=self.recipe.models.editor,
            recipe=editor.train.for_pictures(lessons),
            changed_weight=editor.changed_weight,
            kept_weight=editor.kept_weight,
            corrections_weight=editor.corrections_weight,
            mistake_weight=editor.mistake_weight,
            distilled_guidance=editor.distilled_guidance,
            anchor=editor.anchor,
            corrections_teach=editor.corrections_teach,
            comparison_strength=editor.comparison_strength,
            storage=editor.storage,
            seed=editor.seed,
        )

    def compare_request(self, chosen: ChosenLessons, challenger: LoraRecord) -> EditCompareRequest:
        """The present editor and the new one on the held-out edits."""

        def build() -> EditCompareRequest:
            held = get_triplets(self.store, chosen.held_out).triplets
            return EditCompareRequest(
                items=tuple(
                    self._compared(triplet, index, repeat)
                    for index, triplet in enumerate(held)
                    for repeat in range(self.recipe.editor.compared_seeds)
                ),
                editor=self.recipe.models.editor,
                champion=self.library.worn(self.recipe),
                challenger=(
                    *self.library.community(self.recipe),
                    LoraUse(digest=challenger.digest, weight=self.recipe.editor.lora_weight),
                ),
                together=self._loras_on_the_editor(held),
                fingerprints=self._fingerprints(held),
                verifier=self.recipe.models.verifier,
                reader=self.recipe.models.reader,
                sampler=self.recipe.enrich.sampler,
                shift=self.recipe.enrich.shift,
                storage=self.recipe.editor.storage,
                kept_margin_db=self.recipe.editor.kept_margin_db,
                identity_margin=self.recipe.editor.identity_margin,
                significance=self.recipe.editor.significance,
            )

        return self.frozen("compare", EditCompareRequest, build)

    def promote(self, lora: LoraRecord, score: EditCompareResult) -> None:
        """The next turn of Flywheel 1 edits with this LoRA."""
        self.library.promote(
            EditorPromotion(
                at=datetime.now(UTC),
                lora=lora,
                weight=self.recipe.editor.lora_weight,
                scorecard=score.challenger,
                flow_run=self.flow_run,
                reasons=score.comparison.reasons,
            )
        )

    def end(self, outcome: EditorOutcome, lessons: Lessons) -> None:
        """Records how the run ended."""
        self.library.end_run(self.flow_run, outcome, lessons.collected, lessons.total)

    def _compared(self, triplet: Triplet, index: int, repeat: int) -> ComparedEdit:
        again = (repeat,) if repeat else ()
        seed = derive_seed(self.recipe.editor.seed, "compare", triplet.source, triplet.prompt, *again) % 2**31
        return ComparedEdit(
            key=REPEAT.join((f"held-out-{index:04d}", *map(str, again))),
            source=triplet.source,
            prompt=triplet.prompt,
            target=triplet.target,
            corrected=triplet.kind == "corrected",
            rejected=triplet.rejected,
            character=triplet.character,
            labels=triplet.labels,
            seed=seed,
            references=triplet.references,
        )

    def _fingerprints(self, triplets: Sequence[Triplet]) -> dict[str, Fingerprint]:
        found = {name: Library(self.store).facts(name) for name in characters_of(triplets)}
        return {
            name: facts.fingerprint
            for name, facts in found.items()
            if facts is not None and facts.fingerprint is not None
        }

    def _loras_on_the_editor(self, triplets: Sequence[Triplet]) -> dict[str, LoraUse]:
        """Champions of characters whose base is the very model that edits: both LoRAs could be worn at once."""
        champions = {name: Library(self.store).champion(name) for name in characters_of(triplets)}
        return {
            name: LoraUse(digest=champion.lora.digest, weight=self.recipe.generate.lora_weight)
            for name, champion in champions.items()
            if champion is not None and champion.lora.base_model == self.recipe.models.editor
        }

    def _sources(self, triplets: Sequence[Triplet]) -> str | None:
        """Image set of the sources that belong to a character's library; imported ones have no record there."""
        known: dict[str, ImageRecord] = {}
        for name in characters_of(triplets):
            facts = Library(self.store).facts(name)
            if facts is not None:
                known |= {record.digest: record for record in self.store.get_images(facts.sources)}
        wanted = dict.fromkeys(triplet.source for triplet in triplets)
        return self.store.put_images([known[digest] for digest in wanted if digest in known]) if known else None
