"""The present state of a gate: a fold over its journal, line by line, in any number of steps.

The rules, in one place:
* A line that was taken back, alone or with its batch, counts for nothing.
* Of each author the last line about a picture is that author's opinion of it.
* Opinions that contradict each other are a conflict: the picture has no verdict until one opinion is withdrawn or changed,
  or somebody who saw them settles it (`Decision.over` names the lines that are replaced).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.decisions import Decision, Verdict


class PictureState(Document):
    """What is decided about one picture at present."""

    image: Digest
    decision: Decision | None = None
    """The standing decision; None while nobody decided, or while authors disagree."""
    opinions: tuple[Decision, ...] = ()
    """The last line of each author, in the order written."""
    conflict: bool = False

    @property
    def verdict(self) -> Verdict | None:
        return None if self.decision is None else self.decision.verdict


class GateState:
    """The fold of one gate's journal. Adding lines one by one or all at once gives the same state."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._undone: set[str] = set()
        self._lines: defaultdict[Digest, list[Decision]] = defaultdict(list)
        self._images_of: defaultdict[str, set[Digest]] = defaultdict(set)
        self._actions: defaultdict[str, list[Decision]] = defaultdict(list)
        self._states: dict[Digest, PictureState] = {}
        self._tally: Counter[str] = Counter()
        self.changes: list[Digest] = []
        """Pictures in the order in which their state changed: its length is the revision that clients poll with."""

    def add(self, line: Decision) -> None:
        """Takes in the next line of the journal. A line whose id was seen before is the same request again."""
        if line.id in self._ids:
            return
        self._ids.add(line.id)
        if line.undo_of is not None:
            self._undone.add(line.undo_of)
            touched = self._images_of.get(line.undo_of, set())
        else:
            self._lines[line.image].append(line)
            self._images_of[line.id].add(line.image)
            if line.batch is not None:
                self._images_of[line.batch].add(line.image)
            self._remember(line)
            touched = {line.image}
        for image in sorted(touched):
            self._tally[_kind(self.picture(image))] -= 1
            self._states[image] = self._work_out(image)
            self._tally[_kind(self._states[image])] += 1
            self.changes.append(image)

    def picture(self, image: Digest) -> PictureState:
        """The state of a picture; undecided if no line is about it."""
        return self._states.get(image) or PictureState(image=image)

    def touched(self) -> dict[Digest, PictureState]:
        """The state of every picture that any line is about."""
        return dict(self._states)

    def standing(self) -> dict[Digest, Decision]:
        """The standing decision about each decided picture."""
        return {
            image: state.decision
            for image, state in self._states.items()
            if state.decision is not None and state.decision.verdict is not None
        }

    def conflicts(self) -> tuple[Digest, ...]:
        """The pictures that authors disagree about."""
        return tuple(image for image, state in self._states.items() if state.conflict)

    def counts(self, total: int) -> dict[str, int]:
        """How many of a gate's `total` pictures are good, need correction, are rejected, in conflict, or undecided."""
        kinds = ("good", "needs_correction", "reject", "conflicts")
        found = {kind: self._tally[kind] for kind in kinds}
        return {**found, "undecided": total - sum(found.values())}

    def knows(self, id_: str) -> bool:
        """True if a line of this id was taken in."""
        return id_ in self._ids

    def last_action(self, author: str) -> Decision | None:
        """The author's last line that was not taken back: what undo takes back next, with its whole batch."""
        actions = self._actions[author]
        while actions and self._is_undone(actions[-1]):
            actions.pop()
        return actions[-1] if actions else None

    def _remember(self, line: Decision) -> None:
        actions = self._actions[line.author]
        if line.batch is None or not actions or actions[-1].batch != line.batch:
            actions.append(line)

    def _is_undone(self, line: Decision) -> bool:
        return line.id in self._undone or (line.batch is not None and line.batch in self._undone)

    def _work_out(self, image: Digest) -> PictureState:
        lines = [line for line in self._lines[image] if not self._is_undone(line)]
        replaced = {id_ for line in lines for id_ in line.over}
        last = {line.author: line for line in lines}
        opinions = tuple(line for line in lines if line is last[line.author] and line.id not in replaced)
        if _contradict(opinions):
            return PictureState(image=image, opinions=opinions, conflict=True)
        return PictureState(image=image, decision=_merged(opinions), opinions=opinions)


def fold(lines: Iterable[Decision]) -> dict[Digest, Decision]:
    """The standing decision about each decided picture."""
    state = GateState()
    for line in lines:
        state.add(line)
    return state.standing()


_SAID = ("caption", "correction", "better_prompt")


def _kind(state: PictureState) -> str:
    if state.conflict:
        return "conflicts"
    return "undecided" if state.verdict is None else state.verdict.value


def _contradict(opinions: tuple[Decision, ...]) -> bool:
    """True if two opinions cannot both hold: other verdicts, or other captions, corrections or prompts."""
    return any(len({getattr(line, name) for line in opinions} - {None}) > 1 for name in ("verdict", *_SAID))


def _merged(opinions: tuple[Decision, ...]) -> Decision | None:
    """The last of several opinions that agree, with what the others said besides."""
    if len(opinions) < 2:
        return opinions[0] if opinions else None
    last = next((line for line in reversed(opinions) if line.verdict is not None), opinions[-1])
    said = {name: getattr(line, name) for line in opinions for name in _SAID if getattr(line, name) is not None}
    reasons = tuple(dict.fromkeys(reason for line in opinions for reason in line.reasons))
    return last.model_copy(update={**said, "reasons": reasons})
