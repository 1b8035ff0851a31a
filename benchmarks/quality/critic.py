"""What the critic spares simulated reviewers, what it loses, whether its bound holds, and whether a change of taste switches it off.

    python -m benchmarks.quality.critic --bank FILE --pictures 272     # makes FILE first; half an hour with two jobs

Three reviewers with a taste each: of likeness, of what was asked for, of looks. The best quarter of a reviewer's pictures is good, the next
tenth needs correction. One verdict of good or not in ten is not what the taste says: by wavering (near the limit) or by slips (anywhere).
A turn is a gate of each of four characters; every figure is of turns that the critic did not learn.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.quality.critic_reviewers import (
    GATE,
    GOOD_SHARE,
    NOISE,
    RECORD,
    TASTES,
    TURNS,
    Array,
    Eyes,
    Noise,
    Reviewer,
    by_character,
    eyes_of,
    gates,
    learn,
    lessons,
    reviewer,
)
from benchmarks.quality.critic_world import CHARACTERS, KNOWN_CHARACTERS, make_bank, read_bank
from benchmarks.quality.critic_world import Known as Banked
from benchmarks.result_file import Row, write_part
from flenwheel_core.base.statistics import wilson
from flenwheel_core.critic.audit import AuditedGate, audited_gate, broken_by
from flenwheel_core.critic.calibration import Wanted, cut_for, not_rejected
from flenwheel_core.critic.ladder import area_under_curve, log_losses
from flenwheel_core.critic.order import Known, Rules, guard_scores, view_gate
from flenwheel_core.critic.rungs import RUNGS, ask, fit_rung
from flenwheel_core.documents.critics import Critic, CriticLesson, CriticView
from flenwheel_core.documents.decisions import Verdict

FORCED: tuple[str, ...] = ("base_rate", "identity", "screening", "embedding", "stacked")
STRICT, LOOSE = 0.02, 0.05
"""Shares of good pictures that may be lost."""
LOST = 0.01
"""The share that the ceilings may lose."""


def turn_rows(bank: Sequence[Banked], repeats: int) -> Iterator[Row]:
    """A row a reviewer, turn and rung: what it would have spared on the next turn, and lost."""
    eyes = eyes_of(bank)
    noises: tuple[Noise, ...] = ("wavering", "slips")
    for noise in noises:
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
    bank: Sequence[Banked], eyes: Eyes, who: Reviewer, turns: int, rung: str | None, seed: int
) -> dict[str, float | None]:
    random = np.random.default_rng((seed, turns))
    drawn = gates(bank, turns, GATE, random)
    critic = learn(lessons(bank, drawn[:turns], who, random), eyes, rung)
    held_out = lessons(bank, drawn[turns:], who, random)
    chances = ask(critic.fitted, held_out, eyes)
    good = np.array([one.verdict is Verdict.GOOD for one in held_out])
    loose, strict = (
        views(critic, held_out, eyes, Rules(rejects=True, wanted=Wanted(lost))) for lost in (LOOSE, STRICT)
    )
    aside = np.array([row.set_aside for view in loose for row in view.pictures])
    bounds = [view.cut.bound for view in loose if view.cut is not None]
    return {
        "log_loss": float(log_losses(chances, held_out).mean()),
        "auc": area_under_curve(chances[:, 2], good),
        "spared_share": float(aside.mean()),
        "good_lost_share": float(aside[good].mean()),
        "bound": float(np.mean(bounds)) if bounds else None,
        "spared_strict_share": float(np.mean([row.set_aside for view in strict for row in view.pictures])),
    }


def ceiling_rows(bank: Sequence[Banked], repeats: int) -> Iterator[Row]:
    """What keeps a critic from sparing more, one after the other: the reviewer's noise, what is seen, the verdicts, the proof."""
    eyes = eyes_of(bank)
    noises: tuple[Noise, ...] = ("wavering", "slips")
    for noise in noises:
        for taste in TASTES:
            who = reviewer(taste, noise, bank)
            found = [_ceilings(bank, eyes, who, seed) for seed in range(repeats)]
            mean = {name: _mean([one[name] for one in found]) for name in found[0]}
            yield {
                "case": f"at most, {taste}, {noise}",
                "reviewer": taste,
                "noise": noise,
                "repetitions": repeats,
                **mean,
            }


def _ceilings(bank: Sequence[Banked], eyes: Eyes, who: Reviewer, seed: int) -> dict[str, float | None]:
    random = np.random.default_rng((5, seed))
    drawn = gates(bank, TURNS, GATE, random)
    there = [place for gate in drawn[TURNS] for place in gate]
    pictures = [bank[place].picture for place in there]
    liking = who.likings(bank)
    chance = who.chance_of_good(liking[there])
    others = [[place for place in found if place not in set(there)] for found in by_character(bank)]
    honest = Reviewer(who.taste, "wavering", who.good_above, who.correct_above, 1e-9)
    many = lessons(bank, [others], honest, random)
    known = fit_rung(RUNGS["stacked"], many, eyes, [one.image for one in many])
    critic = learn(lessons(bank, drawn[:TURNS], who, random), eyes, "stacked")
    return {
        "taste_known": spared_at(chance, chance),
        "all_seen_without_noise": spared_at(not_rejected(ask(known, pictures, eyes)), chance),
        "learned_best_limit": spared_at(not_rejected(ask(critic.fitted, pictures, eyes)), chance),
    }


def spared_at(scores: Array, chance_of_good: Array, lost: float = LOST) -> float:
    """The share of pictures that could be set aside by these scores with so few good ones among them, the limit chosen in hindsight."""
    worst = np.argsort(scores)
    gone = np.cumsum(chance_of_good[worst]) / chance_of_good.sum()
    return float((gone <= lost).mean())


def views(critic: Critic, pictures: Sequence[CriticLesson], eyes: Eyes, rules: Rules) -> list[CriticView]:
    """What the critic says of each gate."""
    known = Known(RECORD, critic)
    names = list(dict.fromkeys(one.gate for one in pictures))
    of = [[one for one in pictures if one.gate == name] for name in names]
    return [view_gate(name, part, eyes, known, known, rules) for name, part in zip(names, of, strict=True)]


@dataclass(frozen=True)
class Promised:
    """One repetition: what was promised, and what would be lost of all pictures that were not learned."""

    bound: float
    lost: float
    lost_of_new_characters: float
    spared: float


def promised(bank: Sequence[Banked], noise: Noise, rung: str | None, number: int) -> Promised | None:
    """A critic of three turns with its limit; None if too few good pictures were seen to promise anything."""
    who = reviewer(list(TASTES)[number % len(TASTES)], noise, bank)
    random = np.random.default_rng((7, number))
    drawn = gates(bank, TURNS, GATE, random)[:TURNS]
    eyes = eyes_of(bank)
    critic = learn(lessons(bank, drawn, who, random), eyes, rung)
    used = {place for turn in drawn for gate in turn for place in gate}
    rest = [place for found in by_character(bank) for place in found if place not in used]
    cut = cut_for(critic, bank[rest[0]].picture, Wanted(LOOSE))
    if cut is None:
        return None
    fresh = [place for found in by_character(bank, new=True) for place in found[:100]]
    chance = who.chance_of_good(who.likings(bank))

    def lost(places: Sequence[int]) -> tuple[float, float]:
        below = guard_scores(critic, [bank[place].picture for place in places], eyes) < cut.below
        return float((chance[places] * below).sum() / chance[places].sum()), float(below.mean())

    known, spared = lost(rest)
    return Promised(cut.bound, known, lost(fresh)[0], spared)


_BANK: list[Banked] = []


def _open_bank(path: Path) -> None:
    """Once a process of the pool."""
    _BANK.extend(read_bank(path))


def _promised(noise: Noise, rung: str | None, number: int) -> Promised | None:
    return promised(_BANK, noise, rung, number)


def coverage_rows(bank: Path, repeats: int, jobs: int, only: Sequence[str] = ()) -> Iterator[Row]:
    """How often the loss on all pictures that were not learned stays below the promised bound."""
    cases: tuple[tuple[Noise, str | None, int], ...] = (
        ("wavering", "screening", repeats), ("wavering", "identity", repeats),
        # The whole ladder takes ten times as long, and slips leave hardly anything to set aside.
        ("slips", "screening", repeats // 5), ("wavering", None, repeats // 10),
    )  # fmt: skip
    with ProcessPoolExecutor(jobs, get_context("spawn"), _open_bank, (bank,)) as pool:
        for noise, rung, some in cases:
            if only and (rung or "ladder") not in only:
                continue
            made = pool.map(partial(_promised, noise, rung), range(some), chunksize=5)
            found = [one for one in made if one is not None]
            share = wilson(sum(one.lost <= one.bound for one in found), len(found))
            yield {
                "case": f"bound of {100 * LOOSE:g} %, {noise}, {rung or 'ladder'}", "repetitions": len(found),
                "covered_share": share.value, "covered_low": share.low, "bound": LOOSE,
                "covered_new_share": float(np.mean([one.lost_of_new_characters <= one.bound for one in found])),
                "good_lost_share": float(np.mean([one.lost for one in found])),
                "spared_share": float(np.mean([one.spared for one in found])),
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
            if cut_for(critic, bank[drawn[0][0][0]].picture, Wanted(LOOSE)) is not None:
                off.append(_switched_off(bank, critic, taste, who, random, most, changed=changed))
        found = [gate for gate in off if gate is not None]
        yield {
            "case": f"taste {changed}", "repetitions": len(off), "gates": most,
            "switched_off_share": len(found) / len(off),
            "switched_off_within_4_share": sum(gate <= 4 for gate in found) / len(off),
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
    """The gate after which it was switched off."""
    names = list(TASTES)
    now = (
        reviewer(names[(names.index(taste) + 1) % len(names)], "wavering", bank)
        if changed.startswith("becomes")
        else who
    )
    liking = now.likings(bank)
    if changed == "turns round":
        # Whoever liked the one end likes the other now: as many pictures are good, and they are those that were worst.
        order = np.argsort(np.argsort(-liking))
        liking = np.sort(liking)[order]
    told: list[AuditedGate] = []
    bound = 0.0
    for number in range(1, most + 1):
        places = random.permutation(by_character(bank)[number % KNOWN_CHARACTERS])[:GATE].tolist()
        verdicts = now.verdicts(liking[places], random)
        shown = [
            CriticLesson(**dict(bank[p].picture), gate=f"g{number}", turn=9, verdict=v, fair=True)
            for p, v in zip(places, verdicts, strict=True)
        ]
        (view,) = views(critic, shown, {}, Rules(rejects=True, wanted=Wanted(LOOSE)))
        aside = {row.image for row in view.pictures if row.set_aside}
        told.append(
            audited_gate(f"g{number}", view, {one.image: one.verdict for one in shown if one.image not in aside})
        )
        bound = max(bound, view.cut.bound if view.cut is not None else 0.0)
        if broken_by(told, bound):
            return number
    return None


def click_rows(bank: Sequence[Banked], repeats: int, wanted: int = 30) -> Iterator[Row]:
    """Looks until so many good pictures are found at a large gate of one character, after three turns."""
    eyes = eyes_of(bank)
    for new in (False, True):
        for taste in TASTES:
            needed: dict[str, list[int]] = {"as_made": [], "useful": [], "likely": []}
            for seed in range(repeats):
                for order, looks in _looks(bank, eyes, taste, seed, wanted, new=new).items():
                    needed[order].append(looks)
            before = float(np.mean(needed["as_made"]))
            for order in ("useful", "likely"):
                now = float(np.mean(needed[order]))
                yield {
                    "case": f"clicks, {taste}, {order}{', new character' if new else ''}", "reviewer": taste, "order": order,
                    "repetitions": len(needed[order]), "good_wanted": wanted, "clicks_as_made": before, "clicks_ordered": now,
                    "clicks_saved_share": 1 - now / before,
                }  # fmt: skip


def _looks(bank: Sequence[Banked], eyes: Eyes, taste: str, seed: int, wanted: int, *, new: bool) -> dict[str, int]:
    """Looks by each order; empty where the gate has too few good pictures."""
    who = reviewer(taste, "wavering", bank)
    random = np.random.default_rng((13, seed))
    drawn = gates(bank, TURNS, 30, random)[:TURNS]
    critic = learn(lessons(bank, drawn, who, random), eyes, "stacked")
    used = {place for turn in drawn for gate in turn for place in gate}
    mine = by_character(bank, new=new)
    gate = [place for place in mine[seed % len(mine)] if place not in used]
    held_out = lessons(bank, [[random.permutation(gate).tolist()]], who, random)
    (view,) = views(critic, held_out, eyes, Rules())
    good = [one.verdict is Verdict.GOOD for one in held_out]
    if sum(good) < wanted:
        return {}
    places = {
        "as_made": list(range(len(good))),
        "useful": [row.useful_place for row in view.pictures],
        "likely": [row.good_place for row in view.pictures],
    }
    return {
        order: 1 + sorted(place for place, yes in zip(where, good, strict=True) if yes)[wanted - 1]
        for order, where in places.items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=0, help="make so many pictures of each character first")
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5, help="of every row of a reviewer, turn and rung")
    parser.add_argument(
        "--rung", action="append", default=[], help="of the part bound, such as screening; all if left out"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes for the repetitions of the bound")
    parser.add_argument(
        "--part", action="append", choices=("turns", "most", "clicks", "change", "bound"), help="all if left out"
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
        "most": lambda: ceiling_rows(bank, 2 * repeats),
        "clicks": lambda: click_rows(bank, 4 * repeats),
        "change": lambda: change_rows(bank, 20 * repeats),
        "bound": lambda: coverage_rows(chosen.bank, many, chosen.jobs, chosen.rung),
    }
    for name in chosen.part or parts:
        for row in parts[name]():  # each as soon as it is there
            write_part("critic", [row])


if __name__ == "__main__":
    main()
