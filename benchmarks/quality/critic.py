"""What the critic spares simulated reviewers, what it loses, whether its bound holds, and whether a change of taste switches it off.

    python -m benchmarks.quality.critic --bank FILE      # FILE from benchmarks.quality.critic_world; some ten minutes

Three reviewers with a taste each: of likeness, of what was asked for, of looks. The best quarter of a reviewer's pictures is good, the next
tenth needs correction. One verdict of good or not in ten is not what the taste says: by wavering (near the limit) or by slips (anywhere).
A turn is a gate of each of four characters; every figure is of turns that the critic did not learn.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.critic_world import CHARACTERS, make_bank, read_bank
from benchmarks.quality.critic_world import Known as Banked
from benchmarks.result_file import Row, write_part
from flenwheel_core.base.statistics import wilson
from flenwheel_core.critic.audit import AuditedGate, broken_by
from flenwheel_core.critic.calibration import Wanted, cut_for
from flenwheel_core.critic.ladder import area_under_curve, log_losses, train_critic
from flenwheel_core.critic.order import Known, Rules, guard_scores, view_gate
from flenwheel_core.critic.rungs import LADDER, RUNGS, Rung, ask
from flenwheel_core.documents.critics import Critic, CriticLesson, CriticView
from flenwheel_core.documents.decisions import Verdict

Array = NDArray[np.float64]
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
FORCED: tuple[str, ...] = ("base_rate", "identity", "screening", "embedding", "stacked")


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


def by_character(bank: Sequence[Banked]) -> list[list[int]]:
    names = sorted({one.picture.character for one in bank})
    return [[i for i, one in enumerate(bank) if one.picture.character == name] for name in names]


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


def learn(found: Sequence[CriticLesson], eyes: dict[str, tuple[float, ...]], rung: str | None) -> Critic:
    """The critic of the whole ladder, or of one rung whatever its worth."""
    ladder: Sequence[Rung] = LADDER if rung is None else (RUNGS[rung],)  # type: ignore[index]
    return train_critic(found, eyes, record=RECORD, verifier=("subject", "nano"), ladder=ladder).critic


def turn_rows(bank: Sequence[Banked], repeats: int) -> Iterator[Row]:
    """A row a reviewer, turn and rung: what it would have spared on the next turn, and lost."""
    eyes = {one.picture.image: one.embedding for one in bank}
    for noise in ("wavering", "slips"):
        for taste in TASTES:
            who = reviewer(taste, noise, bank)
            for turns in range(1, TURNS + 1):
                for rung in (*FORCED, None) if noise == "wavering" and turns == TURNS else (None,):
                    figures = [_next_turn(bank, eyes, who, turns, rung, seed) for seed in range(repeats)]
                    mean = {name: _mean([one[name] for one in figures]) for name in figures[0]}
                    case = f"{taste}, {noise}, {turns} turns, {(rung or 'ladder').replace('_', ' ')}"
                    yield {
                        "case": case,
                        "reviewer": taste,
                        "noise": noise,
                        "turn": turns,
                        "rung": rung or "ladder",
                        **mean,
                    }


def _next_turn(
    bank: Sequence[Banked], eyes: dict[str, tuple[float, ...]], who: Reviewer, turns: int, rung: str | None, seed: int
) -> dict[str, float | None]:
    random = np.random.default_rng((seed, turns))
    drawn = gates(bank, turns, GATE, random)
    critic = learn(lessons(bank, drawn[:turns], who, random), eyes, rung)
    held_out = lessons(bank, drawn[turns:], who, random)
    chances = ask(critic.fitted, held_out, eyes)
    good = np.array([one.verdict is Verdict.GOOD for one in held_out])
    views = _views(critic, held_out, eyes, rejects=True)
    aside = np.array([row.set_aside for view in views for row in view.pictures])
    bounds = [view.cut.bound for view in views if view.cut is not None]
    return {
        "log_loss": float(log_losses(chances, held_out).mean()),
        "auc": area_under_curve(chances[:, 2], good),
        "spared_share": float(aside.mean()),
        "most_to_spare": 0.9 * float(np.mean([one.verdict is Verdict.REJECT for one in held_out])),
        "good_lost_share": float(aside[good].mean()),
        "bound": float(np.mean(bounds)) if bounds else None,
    }


def _views(
    critic: Critic, pictures: Sequence[CriticLesson], eyes: dict[str, tuple[float, ...]], *, rejects: bool
) -> list[CriticView]:
    """What the critic says of each gate."""
    known = Known(RECORD, critic)
    names = list(dict.fromkeys(one.gate for one in pictures))
    of = [[one for one in pictures if one.gate == name] for name in names]
    return [
        view_gate(name, part, eyes, known, known, Rules(rejects=rejects)) for name, part in zip(names, of, strict=True)
    ]


def coverage_row(bank: Sequence[Banked], rung: str, repeats: int) -> Row:
    """How often the loss on all pictures that were not learned stays below the promised bound."""
    wanted, held, losses, spared = Wanted(0.05), 0, [], []
    tried = 0
    for number in range(repeats):
        who = reviewer(list(TASTES)[number % len(TASTES)], "wavering", bank)
        random = np.random.default_rng((7, number))
        drawn = gates(bank, TURNS, 22, random)[:TURNS]
        critic = learn(lessons(bank, drawn, who, random), {}, rung)
        used = {place for turn in drawn for gate in turn for place in gate}
        rest = [index for index in range(len(bank)) if index not in used]
        cut = cut_for(critic, bank[rest[0]].picture, wanted)
        if cut is None:
            continue
        tried += 1
        below = guard_scores(critic, [bank[index].picture for index in rest], {}) < cut.below
        weights = who.chance_of_good(who.likings([bank[index] for index in rest]))
        loss = float((weights * below).sum() / weights.sum())
        held += loss <= cut.bound
        losses.append(loss)
        spared.append(float(below.mean()))
    share = wilson(held, tried)
    return {
        "case": f"bound, 3 turns, {rung}", "repetitions": tried, "covered_share": share.value, "covered_low": share.low,
        "covered_high": share.high, "bound": wanted.most_lost, "good_lost_share": float(np.mean(losses)),
        "spared_share": float(np.mean(spared)),
    }  # fmt: skip


def change_rows(bank: Sequence[Banked], repeats: int, most: int = 12) -> Iterator[Row]:
    """How many gates it takes until a change of taste switches rejection off; and how often it is switched off without one."""
    for changed in ("turns round", "becomes another's", "stays"):
        off: list[int | None] = []
        for number in range(repeats):
            taste = list(TASTES)[number % len(TASTES)]
            random = np.random.default_rng((11, number))
            who = reviewer(taste, "wavering", bank)
            drawn = gates(bank, TURNS, GATE, random)[:TURNS]
            critic = learn(lessons(bank, drawn, who, random), {}, "screening")
            off.append(_switched_off(bank, critic, taste, who, random, most, changed=changed))
        found = [gate for gate in off if gate is not None]
        yield {
            "case": f"taste {changed}", "repetitions": repeats, "gates": most,
            "switched_off_share": len(found) / repeats,
            "switched_off_within_4_share": sum(gate <= 4 for gate in found) / repeats,
            "gates_until_off": float(np.median(found)) if found else None,
        }  # fmt: skip


def _switched_off(
    bank: Sequence[Banked],
    critic: Critic,
    taste: str,
    who: Reviewer,
    random: np.random.Generator,
    most: int,
    *,
    changed: str,
) -> int | None:
    """The gate after which the audit switched it off."""
    turned = changed == "turns round"
    names = list(TASTES)
    now = (
        reviewer(names[(names.index(taste) + 1) % len(names)], "wavering", bank)
        if changed.startswith("becomes")
        else who
    )
    liking = now.likings(bank)
    if turned:
        # Whoever liked the one end likes the other now: as many pictures are good, and they are those that were worst.
        order = np.argsort(np.argsort(-liking))
        liking = np.sort(liking)[order]
    told: list[AuditedGate] = []
    bound = 0.0
    for number in range(1, most + 1):
        places = random.permutation(by_character(bank)[number % CHARACTERS])[:GATE].tolist()
        verdicts = now.verdicts(liking[places], random)
        shown = [
            CriticLesson(**dict(bank[p].picture), gate=f"g{number}", turn=9, verdict=v, fair=True)
            for p, v in zip(places, verdicts, strict=True)
        ]
        (view,) = _views(critic, shown, {}, rejects=True)
        if view.cut is None:
            return None
        bound = max(bound, view.cut.bound)
        good = [one.verdict is Verdict.GOOD for one in shown]
        said = [row.says_reject for row in view.pictures]
        audit = [row.says_reject and row.audit for row in view.pictures]
        told.append(
            AuditedGate(
                gate=f"g{number}", said_reject=sum(said), audited=sum(audit),
                audited_good=sum(a and g for a, g in zip(audit, good, strict=True)),
                good=sum(g and not s for s, g in zip(said, good, strict=True)),
            )
        )  # fmt: skip
        if broken_by(told, bound):
            return number
    return None


def click_rows(bank: Sequence[Banked], repeats: int, wanted: int = 30) -> Iterator[Row]:
    """Looks until so many good pictures are found at a large gate of one character, after three turns, by the rung screening."""
    for taste in TASTES:
        who = reviewer(taste, "wavering", bank)
        needed: dict[str, list[int]] = {"as_made": [], "useful": [], "likely": []}
        for seed in range(repeats):
            random = np.random.default_rng((13, seed))
            drawn = gates(bank, TURNS, 30, random)[:TURNS]
            critic = learn(lessons(bank, drawn, who, random), {}, "screening")
            used = {place for turn in drawn for gate in turn for place in gate}
            gate = [place for place in by_character(bank)[seed % CHARACTERS] if place not in used]
            held_out = lessons(bank, [[random.permutation(gate).tolist()]], who, random)
            (view,) = _views(critic, held_out, {}, rejects=False)
            good = [one.verdict is Verdict.GOOD for one in held_out]
            if sum(good) < wanted:
                continue
            rows = view.pictures
            places = {
                "as_made": list(range(len(good))),
                "useful": [row.useful_place for row in rows],
                "likely": [row.good_place for row in rows],
            }
            for order, where in places.items():
                needed[order].append(
                    1 + sorted(place for place, yes in zip(where, good, strict=True) if yes)[wanted - 1]
                )
        before = float(np.mean(needed["as_made"]))
        for order in ("useful", "likely"):
            now = float(np.mean(needed[order]))
            yield {
                "case": f"clicks, {taste}, {order}", "reviewer": taste, "order": order, "repetitions": len(needed[order]),
                "good_wanted": wanted, "clicks_as_made": before, "clicks_ordered": now, "clicks_saved_share": 1 - now / before,
            }  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=0, help="make so many pictures of each character first")
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1, help="of every row of a reviewer, turn and rung")
    parser.add_argument(
        "--part", action="append", choices=("turns", "clicks", "change", "bound"), help="all if left out"
    )
    chosen = parser.parse_args()
    if chosen.pictures:
        make_bank(chosen.bank, chosen.pictures)
    bank = read_bank(chosen.bank)
    repeats, many = chosen.repeats, chosen.repetitions
    about = {
        "case": "bank",
        "pictures": len(bank),
        "characters": CHARACTERS,
        "good_share": GOOD_SHARE,
        "noise": str(NOISE),
    }
    parts: dict[str, Callable[[], Iterable[Row]]] = {
        "turns": lambda: (about, *turn_rows(bank, repeats)),
        "clicks": lambda: click_rows(bank, 4 * repeats),
        "change": lambda: change_rows(bank, many // 25),
        "bound": lambda: (coverage_row(bank, "identity", many), coverage_row(bank, "screening", many // 10)),
    }
    for name in chosen.part or parts:
        write_part("critic", list(parts[name]()))


if __name__ == "__main__":
    main()
