"""Simulated reviewers of the critic's benchmark: their tastes, their noise, their verdicts, and the turns that they review."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.critic_world import KNOWN_CHARACTERS
from benchmarks.quality.critic_world import Known as Banked
from flenwheel_core.critic.ladder import train_critic
from flenwheel_core.critic.rungs import LADDER, RUNGS, Rung
from flenwheel_core.documents.critics import Critic, CriticLesson
from flenwheel_core.documents.decisions import Verdict

Array = NDArray[np.float64]
Eyes = dict[str, tuple[float, ...]]
Noise = Literal["wavering", "slips"]

TASTES: dict[str, dict[str, float]] = {
    "likeness": {"drift": 4.0, "smeared": 1.0, "expression": 0.3, "angle": 0.3},
    "as_asked": {"drift": 1.5, "expression": 1.2, "angle": 1.2, "background": 0.8, "smeared": 0.8},
    "looks": {
        "drift": 1.5,
        "night": 1.2,
        "drawn": 1.0,
        "other_clothes": 0.6,
        "blur": 0.5,
        "exposure": 0.9,
        "smeared": 1.0,
    },
}
"""What each reviewer holds against a picture."""
GOOD_SHARE, CORRECT_SHARE, NOISE = 0.25, 0.1, 0.1
GATE, TURNS = 50, 3
RECORD = "0" * 64


@dataclass(frozen=True)
class Reviewer:
    """A taste, with where its verdicts change and how much it wavers."""

    taste: str
    noise: Noise
    good_above: float
    correct_above: float
    wavers: float

    def likings(self, bank: Sequence[Banked]) -> Array:
        return likings(self.taste, bank)

    def verdicts(self, liking: Array, random: np.random.Generator) -> list[Verdict]:
        """What the reviewer says, noise and all."""
        felt = liking + (random.logistic(0, self.wavers, len(liking)) if self.noise == "wavering" else 0)
        said = [self._verdict(value) for value in felt.tolist()]
        if self.noise == "slips":
            for index in np.flatnonzero(random.random(len(said)) < NOISE):
                others = [one for one in Verdict if (one is Verdict.GOOD) != (said[index] is Verdict.GOOD)]
                said[index] = others[int(random.integers(len(others)))]
        return said

    def chance_of_good(self, liking: Array) -> Array:
        """How often each picture is called good."""
        if self.noise == "slips":
            return np.where(liking > self.good_above, 1 - NOISE, NOISE)
        return 1 / (1 + np.exp(-(liking - self.good_above) / self.wavers))

    def _verdict(self, liking: float) -> Verdict:
        if liking > self.good_above:
            return Verdict.GOOD
        return Verdict.NEEDS_CORRECTION if liking > self.correct_above else Verdict.REJECT


def likings(taste: str, bank: Sequence[Banked]) -> Array:
    """How a taste finds each picture; a little of it is mood that nothing shows."""
    weights = TASTES[taste]
    mood = np.array([int(one.picture.image[:8], 16) / 2**32 for one in bank]) * 0.1
    return mood - np.array([sum(w * abs(one.truth[name]) for name, w in weights.items()) for one in bank])


def reviewer(taste: str, noise: Noise, bank: Sequence[Banked]) -> Reviewer:
    """A reviewer who finds a quarter of the bank good, and whose noise turns a tenth of the verdicts of good or not."""
    liking = likings(taste, bank)
    good, correct = np.quantile(liking, [1 - GOOD_SHARE, 1 - GOOD_SHARE - CORRECT_SHARE])
    low, high = 1e-3, 5.0
    for _ in range(50):
        wavers = (low + high) / 2
        turned = 1 / (1 + np.exp(np.abs(liking - good) / wavers))
        low, high = (wavers, high) if turned.mean() < NOISE else (low, wavers)
    return Reviewer(taste, noise, float(good), float(correct), wavers)


def by_character(bank: Sequence[Banked], *, new: bool = False) -> list[list[int]]:
    """Places of the pictures of each character that is reviewed turn after turn; or of those that the critic never met."""
    names = sorted({one.picture.character for one in bank})
    chosen = names[KNOWN_CHARACTERS:] if new else names[:KNOWN_CHARACTERS]
    return [[i for i, one in enumerate(bank) if one.picture.character == name] for name in chosen]


def gates(bank: Sequence[Banked], turns: int, size: int, random: np.random.Generator) -> list[list[list[int]]]:
    """Pictures of each turn and character; no picture twice. One more turn than asked for: it is held out."""
    drawn = [random.permutation(found).tolist() for found in by_character(bank)]
    return [[one[turn * size : (turn + 1) * size] for one in drawn] for turn in range(turns + 1)]


def lessons(
    bank: Sequence[Banked], turns: Sequence[Sequence[Sequence[int]]], who: Reviewer, random: np.random.Generator
) -> list[CriticLesson]:
    """The verdicts of these turns."""
    found = []
    liking = who.likings(bank)
    for number, turn in enumerate(turns, start=1):
        places = [place for gate in turn for place in gate]
        for place, verdict in zip(places, who.verdicts(liking[places], random), strict=True):
            picture = bank[place].picture
            gate = f"{picture.character}-t{number}"
            found.append(CriticLesson(**dict(picture), gate=gate, turn=number, verdict=verdict, fair=True))
    return found


def learn(found: Sequence[CriticLesson], eyes: Eyes, rung: str | None) -> Critic:
    """The critic of the whole ladder, or of one rung whatever its worth."""
    ladder: Sequence[Rung] = LADDER if rung is None else (RUNGS[rung],)  # type: ignore[index]
    return train_critic(found, eyes, record=RECORD, verifier=("subject", "nano"), ladder=ladder).critic


def eyes_of(bank: Sequence[Banked]) -> Eyes:
    """The embedding of each picture."""
    return {one.picture.image: one.embedding for one in bank}
