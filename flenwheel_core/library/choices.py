"""Choices inside trainings: what stages found, and what people took instead."""

from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.choices import StateChoice
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.library.characters import Library
from flenwheel_core.requests.choose import ChooseRequest, ChooseResult
from flenwheel_core.store import Journal, Store


class ChoiceMade(Document):
    """A line about a choice that a stage made."""

    at: AwareDatetime
    name: str
    request: Digest = Field(description="key of the stage's request")


class StateTaken(Document):
    """What a person took instead. The last line about a training counts."""

    at: AwareDatetime
    by: str
    training: Digest = Field(description="key of the training's request")
    step: int
    strength: float
    lora: LoraRecord
    why: str = ""


class Choices:
    """The choices inside the trainings of one character."""

    def __init__(self, store: Store, character: str) -> None:
        self._store, self._character = store, character

    def add(self, request: ChooseRequest) -> None:
        """Makes a finished choice known; a second time changes nothing."""
        if all(line.request != request.key() for line in self._made().read()):
            self._made().append(ChoiceMade(at=datetime.now(UTC), name=request.lora.name, request=request.key()))

    def names(self) -> list[str]:
        """The LoRAs that were chosen inside their training, oldest first."""
        return list(dict.fromkeys(line.name for line in self._made().read()))

    def find(self, name: str | None = None) -> tuple[ChooseRequest, ChooseResult]:
        """The choice of the LoRA of that name, or the newest one. Raises NotFoundError."""
        lines = [line for line in self._made().read() if name in (None, line.name)]
        request = self._store.get_request(ChooseRequest, lines[-1].request) if lines else None
        result = None if request is None else self._store.get_result(request, ChooseResult)
        if request is None or result is None:
            known = ", ".join(self.names()) or "none yet"
            raise NotFoundError(
                f"Nothing was chosen inside a training of {name or self._character}.",
                why=f"LoRAs of {self._character} of which states were tried: {known}.",
                remedy="Set choice.states in the recipe; the next training then tries its states.",
            )
        return request, result

    def of(self, lora: LoraRecord | None) -> StateChoice | None:
        """The choice inside the training that a LoRA came from; None where there was none."""
        for line in reversed(list(self._made().read()) if lora is not None else []):
            request = self._store.get_request(ChooseRequest, line.request)
            if request is not None and lora is not None and request.lora.request == lora.request:
                result = self._store.get_result(request, ChooseResult)
                return None if result is None else result.choice
        return None

    def taken(self, lora: LoraRecord) -> StateTaken | None:
        """What a person took of the training that a LoRA came from; None where nobody said anything."""
        lines = [line for line in self._taken().read() if line.training == lora.request]
        return lines[-1] if lines else None

    def standing(self, lora: LoraRecord) -> LoraRecord:
        """What stands for a LoRA: the state that a person took in its place, or it itself."""
        taken = self.taken(lora)
        return lora if taken is None else taken.lora

    def overrule(
        self, name: str | None, step: int | None, strength: float | None, *, by: str, why: str = ""
    ) -> StateTaken:
        """A person takes another state. A turn that waits goes on with it; where it stands for the champion, it becomes the champion.

        Raises NotFoundError where nothing was chosen, and InputError that names the states for one that was not tried.
        """
        from flenwheel_core.adapters.strength import lora_at  # imports torch: only who takes one waits for it

        request, result = self.find(name)
        tried = result.choice.find(step, strength)
        if tried is None:
            states = ", ".join(one.state.name for one in result.choice.tried)
            raise InputError(
                f"No state of {request.lora.name} was tried at step {step or 'of the end'} and strength {strength or 1:g}.",
                why=f"tried were: {states}.",
                remedy="Take one of these.",
            )
        lora = lora_at(request.lora, tried.state, self._store)
        line = StateTaken(
            at=datetime.now(UTC),
            by=by,
            training=lora.request,
            step=tried.state.step,
            strength=tried.state.strength,
            lora=lora,
            why=why,
        )
        self._taken().append(line)
        self.follow()
        return line

    def follow(self) -> None:
        """Makes the state that a person took of the champion's training the champion, where it is not already."""
        library = Library(self._store)
        champion = library.champion(self._character)
        choice = None if champion is None else self.of(champion.lora)
        line = None if champion is None else self.taken(champion.lora)
        if champion is None or choice is None or line is None or line.lora == champion.lora:
            return
        tried = choice.find(line.step, line.strength)
        assert tried is not None  # only what was tried is ever taken
        before = f"{champion.lora.steps} steps at strength {champion.lora.strength:g}"
        said = f"{line.by or 'Somebody'} took {tried.state.name} in place of {before}."
        reasons = (said, line.why) if line.why else (said,)
        changed = {
            "at": max(line.at, champion.at),
            "lora": line.lora,
            "scorecard": tried.card,
            "reasons": reasons,
        }
        library.promote(self._character, champion.model_copy(update=changed), again=True)

    def all_taken(self) -> list[StateTaken]:
        """Everything that people took, oldest first."""
        return list(self._taken().read())

    def _made(self) -> Journal[ChoiceMade]:
        return self._store.journal(f"characters/{self._character}/choices", ChoiceMade)

    def _taken(self) -> Journal[StateTaken]:
        return self._store.journal(f"characters/{self._character}/states-taken", StateTaken)
