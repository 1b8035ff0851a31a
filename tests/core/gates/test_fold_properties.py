"""Random journals: decisions, bulk, undos, settlements by several authors, repeated requests, crashes."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.fold import GateState, fold
from flenwheel_core.store import Store
from tests.kit.gate_world import NOW

IMAGES = [letter * 64 for letter in "abcd"]
AUTHORS = ["ana", "tom"]
QUICK = settings(max_examples=60, deadline=None)


@dataclass
class Writer:
    """Writes the journal as the studio does: undo takes back the author's own last action."""

    lines: list[Decision] = field(default_factory=list)
    state: GateState = field(default_factory=GateState)

    def write(self, *lines: Decision) -> None:
        for line in lines:
            self.lines.append(line)
            self.state.add(line)

    def decide(self, author: str, image: str, verdict: Verdict | None, *, settle: bool) -> None:
        others = [o.id for o in self.state.picture(image).opinions if o.author != author] if settle else []
        self.write(self._line(author, image, verdict, over=tuple(others)))

    def bulk(self, author: str, images: list[str], verdict: Verdict | None) -> None:
        batch = f"batch-{len(self.lines)}"
        self.write(*[self._line(author, image, verdict, number, batch=batch) for number, image in enumerate(images)])

    def undo(self, author: str) -> None:
        last = self.state.last_action(author)
        if last is not None:
            self.write(self._line(author, last.image, None, undo_of=last.batch or last.id))

    def _line(self, author: str, image: str, verdict: Verdict | None, extra: int = 0, **more: object) -> Decision:
        fields = {"id": f"line-{len(self.lines)}-{extra}", "at": NOW, "author": author, "image": image}
        return Decision.model_validate({**fields, "verdict": verdict, **more})


verdicts = st.sampled_from([*Verdict, None])
authors = st.sampled_from(AUTHORS)
images = st.sampled_from(IMAGES)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("decide"), authors, images, verdicts, st.booleans()),
        st.tuples(st.just("bulk"), authors, st.lists(images, min_size=1, max_size=4, unique=True), verdicts),
        st.tuples(st.just("undo"), authors),
    ),
    max_size=25,
)


def perform(steps: "list[tuple[object, ...]]") -> Writer:
    writer = Writer()
    for name, *arguments in steps:
        if name == "decide":
            author, image, verdict, settle = arguments
            writer.decide(author, image, verdict, settle=settle)  # type: ignore[arg-type]
        else:
            getattr(writer, str(name))(*arguments)
    return writer


def naive(lines: list[Decision]) -> dict[str, Verdict | str | None]:
    """The rules once more, written down without any bookkeeping: verdict, 'conflict', or nothing."""
    undone = {line.undo_of for line in lines if line.undo_of is not None}
    valid = [line for line in lines if line.undo_of is None and line.id not in undone and line.batch not in undone]
    found: dict[str, Verdict | str | None] = {}
    for image in IMAGES:
        own = [line for line in valid if line.image == image]
        replaced = {id_ for line in own for id_ in line.over}
        opinions = [[line for line in own if line.author == author][-1:] for author in AUTHORS]
        said = {line.verdict for lines_ in opinions for line in lines_ if line.id not in replaced} - {None}
        found[image] = "conflict" if len(said) > 1 else next(iter(said), None)
    return found


def seen(state: GateState) -> dict[str, Verdict | str | None]:
    pictures = {image: state.picture(image) for image in IMAGES}
    return {image: "conflict" if picture.conflict else picture.verdict for image, picture in pictures.items()}


@QUICK
@given(actions)
def test_the_fold_follows_the_rules(steps: "list[tuple[object, ...]]") -> None:
    writer = perform(steps)
    assert seen(writer.state) == naive(writer.lines)


@QUICK
@given(actions, st.data())
def test_reading_in_parts_or_twice_gives_the_same_state(steps: "list[tuple[object, ...]]", data: st.DataObject) -> None:
    lines = perform(steps).lines
    again = GateState()
    for line in lines:
        again.add(line)
        if data.draw(st.booleans()):
            again.add(data.draw(st.sampled_from(lines[: lines.index(line) + 1])))
    assert seen(again) == naive(lines)
    assert again.standing() == fold(lines)


@QUICK
@given(actions)
def test_the_counts_are_those_of_the_pictures(steps: "list[tuple[object, ...]]") -> None:
    state = perform(steps).state
    found = list(seen(state).values())
    counts = state.counts(len(IMAGES))
    assert counts == {
        "good": found.count("good"),
        "needs_correction": found.count("needs_correction"),
        "reject": found.count("reject"),
        "conflicts": found.count("conflict"),
        "undecided": found.count(None),
    }


@QUICK
@given(actions, actions)
def test_undo_brings_back_every_earlier_state(
    before: "list[tuple[object, ...]]", after: "list[tuple[object, ...]]"
) -> None:
    writer = perform(before)
    stood = seen(writer.state)
    added = 0
    for step in after:
        if step[0] != "undo":
            name, _, *arguments = step
            if name == "decide":
                writer.decide("ana", arguments[0], arguments[1], settle=bool(arguments[2]))  # type: ignore[arg-type]
            else:
                writer.bulk("ana", *arguments)  # type: ignore[arg-type]
            added += 1
    for _ in range(added):
        writer.undo("ana")
    assert seen(writer.state) == stood


@QUICK
@given(actions, images, verdicts, verdicts)
def test_a_later_author_never_wins_silently(
    steps: "list[tuple[object, ...]]", image: str, first: Verdict | None, second: Verdict | None
) -> None:
    writer = perform(steps)
    writer.decide("ana", image, first, settle=True)
    writer.decide("tom", image, second, settle=False)
    state = writer.state.picture(image)
    if first is not None and second is not None and first != second:
        assert state.conflict and state.verdict is None
        assert {opinion.author for opinion in state.opinions} == {"ana", "tom"}
    else:
        assert state.verdict == (second or first)


@settings(max_examples=25, deadline=None)
@given(actions, st.data())
def test_a_crash_anywhere_loses_at_most_the_line_that_was_being_written(
    steps: "list[tuple[object, ...]]", data: st.DataObject
) -> None:
    lines = perform(steps).lines
    with tempfile.TemporaryDirectory() as folder:
        journal = Store(Path(folder).as_uri()).journal("reviews/g/decisions", Decision)
        journal.extend(lines)
        path = Path(folder) / "journals/reviews/g/decisions.jsonl"
        size = path.stat().st_size if lines else 0
        cut = data.draw(st.integers(0, size))
        if lines:
            with path.open("r+b") as file:
                file.truncate(cut)
        whole = path.read_bytes().count(b"\n") if lines else 0
        survived, position = journal.read_after(0)
        assert survived == lines[:whole]
        following = perform([("decide", "tom", IMAGES[0], Verdict.GOOD, False)]).lines[0]
        following = following.model_copy(update={"id": "after-the-crash"})
        journal.append(following)
        assert journal.read_after(position)[0] == [following]
        assert list(journal.read()) == [*survived, following]
