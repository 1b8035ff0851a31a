"""The critic's rung `vision`: a vision-language model learns simulated reviewers' verdicts, and is asked about turns it did not learn.

    python -m benchmarks.quality.critic_vision --bank FILE        # FILE from benchmarks.quality.critic_world; minutes on a CPU

The stages of a turn of the critic: `critic_look_train` trains a LoRA a fold on pictures of the bank, drawn anew, and asks each about the
turns left out; `critic_train` puts what it says on the ladder.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.quality.critic_reviewers import TASTES, TURNS, eyes_of, gates, lessons, reviewer
from benchmarks.quality.critic_world import Known as Banked
from benchmarks.quality.critic_world import candidate, read_bank, reference_names, references
from benchmarks.result_file import Row, write_part
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.critic.ladder import train_critic
from flenwheel_core.documents.critics import CriticLesson, CriticLessons, Looks
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.critic_look import CriticLookTrainRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.critic_look import critic_look_train
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png


def in_store(store: Store, bank: Sequence[Banked], places: Sequence[int]) -> dict[int, Banked]:
    """The pictures at these places with their real digests and those of their references, all in the store."""
    shown: dict[int, list[str]] = {}
    found = {}
    for place in places:
        number, image = candidate(place)
        if number not in shown:
            shown[number] = [store.put_blob(encode_png(one, {})) for one in references(number)]
        known = bank[place].picture
        row = known.screening
        assert row is not None
        beside = shown[number][0]
        if row.nearest_reference is not None:
            beside = shown[number][reference_names(number).index(row.nearest_reference)]
        digest = store.put_blob(encode_png(image, {}))
        screening = row.model_copy(update={"image": digest, "nearest_reference": beside})
        picture = known.model_copy(update={"image": digest, "screening": screening})
        found[place] = Banked(picture, bank[place].embedding, bank[place].truth)
    return found


def rows_of(bank: Sequence[Banked], taste: str, steps: int, size: int, folder: Path) -> Iterator[Row]:
    """A row a rung of the ladder, with a vision-language model on it."""
    store = Store((folder / "store").as_uri())
    random = np.random.default_rng(17)
    drawn = gates(bank, TURNS, size, random)[:TURNS]
    who = reviewer(taste, "wavering", bank)
    kept = in_store(store, bank, [place for turn in drawn for gate in turn for place in gate])
    moved = [kept.get(place, one) for place, one in enumerate(bank)]
    learned = with_mood_of(bank, moved, drawn, who, random)
    recipe = load_recipe("nano").captioner.train.model_copy(update={"steps": steps, "min_epochs": None})
    request = CriticLookTrainRequest(
        lessons=store.put_blob(CriticLessons(lessons=tuple(learned)).to_bytes()), model="nano", recipe=recipe, seed=0
    )
    began = time.monotonic()
    context = StageContext(store, Settings(), folder / "scratch", Progress("critic", lambda _: None))
    looked = critic_look_train(request, context)
    seconds = time.monotonic() - began
    said = Looks.from_bytes(store.get_blob(looked.looks), where="looks").by_image()
    seen = [one.model_copy(update={"vision": said[one.image]}) for one in learned]
    critic = train_critic(
        seen, eyes_of(moved), record=request.lessons, verifier=("subject", "nano"), looker=looked.looker
    ).critic
    for score in critic.ladder:
        yield {
            "case": f"with vision, {taste}, {score.rung.replace('_', ' ')}", "reviewer": taste, "rung": score.rung, "lessons": len(seen),
            "ladder_log_loss": score.log_loss, "auc": score.auc, "gain": score.gain, "p_value": score.p_value, "used": score.used,
            "steps": steps, "look_seconds": seconds,
        }  # fmt: skip


def with_mood_of(
    bank: Sequence[Banked],
    moved: Sequence[Banked],
    drawn: Sequence[Sequence[Sequence[int]]],
    who: object,
    random: np.random.Generator,
) -> list[CriticLesson]:
    """The verdicts on the bank's own pictures, whose digests make the mood, told of the pictures in the store."""
    told = lessons(bank, drawn, who, random)  # type: ignore[arg-type]
    places = [place for turn in drawn for gate in turn for place in gate]
    return [
        one.model_copy(update={"image": moved[place].picture.image, "screening": moved[place].picture.screening})
        for one, place in zip(told, places, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--size", type=int, default=50, help="pictures of a character and turn")
    parser.add_argument("--taste", action="append", choices=tuple(TASTES), help="all if left out")
    chosen = parser.parse_args()
    bank = read_bank(chosen.bank)
    for taste in chosen.taste or TASTES:
        with tempfile.TemporaryDirectory() as folder:
            write_part("critic", list(rows_of(bank, taste, chosen.steps, chosen.size, Path(folder))))


if __name__ == "__main__":
    main()
