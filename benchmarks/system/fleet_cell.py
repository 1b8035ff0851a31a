"""A cell of the simulated fleet: cards, turns that pass through stages and gates, reviewers who sleep at night, machines that go.

Invariants are held while it runs: a stage that would work on two cards, or end twice, stops the simulation.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.result_file import Row
from benchmarks.system.fleet_engine import Clock, Pool
from benchmarks.system.fleet_facts import (
    CARD_DAYS_TO_A_FAILURE,
    CHARACTERS_PER_REVIEWER,
    DAY_SECONDS,
    EDITOR_TRAININGS,
    FIRST_TURNS_SHARE,
    HOUR_SECONDS,
    INTERACTIVE_SHARE,
    LOOK_SECONDS,
    OWNED_HOUR,
    RENTED_BACK_HOURS,
    RENTED_HOUR,
    RENTED_HOURS,
    RENTED_SHARE,
    REPAIR_HOURS,
    Facts,
    Gate,
    Stage,
    Step,
)

INTERACTIVE, NIGHTLY = 0, 1
OWNED, RENTED = "owned", "rented"
# Who waits for an answer is put where machines stay; the night's work takes what may go away.
TASTE = ((OWNED, RENTED), (RENTED, OWNED))
ZONES = ((-6, 0.35), (1, 0.35), (8, 0.30))
"""Hours from UTC, and the share of characters and reviewers: Americas, Europe and Africa, Asia. A choice."""
SHIFTS = ((8, 16), (12, 20))
"""Local hours; each half of the reviewers has one, every day of the week. A choice."""
OFFICE, EVENING, NIGHT = range(8, 18), range(18, 23), 0.05
INTERACTIVE_BY_HOUR = [1.0 if hour in OFFICE else 0.5 if hour in EVENING else NIGHT for hour in range(24)]
"""When people begin turns, by local hour. A choice."""
NIGHTLY_BY_HOUR = [1.0 if hour >= 20 or hour < 2 else 0.0 for hour in range(24)]
"""When schedules begin turns. A choice."""


@dataclass(frozen=True)
class Plan:
    """What is simulated."""

    seed: int
    cards: int = 100
    characters: int = 5_000
    load: float = 0.8
    """Card time that is asked for, as a share of what all cards have."""
    failures: float = 1.0
    """How often machines go, times the rates in fleet_facts."""
    reviewers: float = 1.0
    """How many people review, times those there are."""
    warm_days: float = 1.0
    days: float = 2.0
    """Measured, after the warm days."""
    surge: tuple[float, float, float] | None = None
    """From which hour, for how many hours, how many times as many turns are begun."""


@dataclass
class Account:
    """What happened since the warm days."""

    waits: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    """Seconds a stage waited for a card, by priority, each time it did."""
    turns: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    """Seconds a turn took."""
    gate_waits: list[float] = field(default_factory=list)
    lost_work: list[float] = field(default_factory=list)
    """Seconds of work that a stage had to do again, for each card that went away under it."""
    lost_trainings: list[float] = field(default_factory=list)
    ended_seconds: float = 0.0
    """Planned card time of the stages that ended."""
    begun: int = 0
    turned_away: int = 0
    runs: Counter[int] = field(default_factory=Counter)
    """Runs that Prefect starts, by hour."""
    studio_seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    objects: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Objects written to the store, by hour."""
    looked_seconds: float = 0.0


@dataclass(eq=False, slots=True)
class Turn:
    steps: tuple[Step, ...]
    zone: int
    priority: int
    began: float
    at: int = 0
    """The step it is at: everything before is done."""


class StageJob:
    """A stage of a turn: on a card, or waiting for one."""

    def __init__(self, cell: "Cell", turn: Turn, stage: Stage) -> None:
        self.priority = turn.priority
        self._cell, self._turn, self._stage, self._at = cell, turn, stage, turn.at
        self._asked = 0.0
        self._start = 0.0
        self._done = 0.0
        """Seconds of its work that are in the store."""
        self._on_a_card = False

    def ask(self, again: bool = False) -> None:
        self._asked = self._cell.clock.now
        # What was begun goes before what was not: its turn has waited already.
        self._cell.pool.ask(self, first=again)

    def begin(self, server: int) -> float:
        assert not self._on_a_card and self._turn.at == self._at, "a stage on two cards, or once more"
        self._on_a_card = True
        self._start = self._cell.start_seconds(self._stage, server)
        self._cell.count_start(self._stage)
        self._cell.account.waits[self.priority].append(self._cell.clock.now - self._asked)
        return self._start + self._stage.work_seconds - self._done

    def end(self) -> None:
        assert self._on_a_card and self._turn.at == self._at, "a stage that ended twice"
        self._on_a_card = False
        self._cell.account.ended_seconds += self._stage.start_seconds + self._stage.work_seconds
        self._cell.stages_ended += 1
        self._turn.at += 1
        self._cell.go_on(self._turn, self._stage.after_seconds)

    def lost(self, seconds: float) -> None:
        self._on_a_card = False
        worked = max(0.0, seconds - self._start)
        kept = worked // self._stage.grain_seconds * self._stage.grain_seconds
        self._done += kept
        account = self._cell.account
        account.lost_work.append(worked - kept)
        if self._stage.name.endswith("train"):
            account.lost_trainings.append(worked - kept)
        self._cell.clock.after(self._cell.facts.lease_seconds, self.ask, True)


class GateJob:
    """A gate: waits for a person, on no card."""

    priority = 0

    def __init__(self, cell: "Cell", turn: Turn, gate: Gate) -> None:
        self._cell, self._turn, self._gate = cell, turn, gate
        self._asked = cell.clock.now

    def begin(self, server: int) -> float:
        account, hour = self._cell.account, self._cell.hour
        account.gate_waits.append(self._cell.clock.now - self._asked)
        facts = self._cell.facts
        account.studio_seconds[hour] += facts.studio_gate_seconds + self._gate.pictures * facts.studio_picture_seconds
        seconds = self._gate.pictures * LOOK_SECONDS.value * self._cell.looks.uniform(0.5, 1.5)
        account.looked_seconds += seconds
        return seconds

    def end(self) -> None:
        self._turn.at += 1
        self._cell.account.runs[self._cell.hour] += 1
        self._cell.go_on(self._turn, self._cell.facts.resume_seconds)

    def lost(self, seconds: float) -> None:
        raise AssertionError("reviewers end the gate they are at")


class Cell:
    """The simulation of one cell; `run` gives its figures."""

    def __init__(self, plan: Plan, facts: Facts) -> None:
        self.plan, self.facts = plan, facts
        self.clock = Clock()
        self.account = Account()
        rented = round(plan.cards * RENTED_SHARE.value)
        self.pool = Pool(self.clock, {OWNED: plan.cards - rented, RENTED: rented}, TASTE)
        self.stages_ended = 0
        self.turns_begun = 0
        self.stages_of_ended_turns = 0
        self.open: dict[Turn, None] = {}
        self.closed_doors = False
        # A source of randomness for each matter: two plans that differ in one of them have the others alike.
        self._arrivals = random.Random(f"arrivals {plan.seed}")
        self._machines = random.Random(f"machines {plan.seed}")
        self.looks = random.Random(f"looks {plan.seed}")
        self._fresh: set[int] = set()
        self._away_seconds = {OWNED: 0.0, RENTED: 0.0}
        self._free = [round(plan.characters * share) for _, share in ZONES]
        self._turns_a_second = plan.load * plan.cards / facts.mean_card_seconds()
        reviewers = plan.reviewers * plan.characters / CHARACTERS_PER_REVIEWER.value
        self._reviewers = [Pool(self.clock, {"person": round(reviewers * share)}, (("person",),)) for _, share in ZONES]
        self._people = [round(reviewers * share) for _, share in ZONES]
        if plan.failures:
            for card in range(plan.cards):
                self._until_it_goes(card)
        for zone in range(len(ZONES)):
            self._hour_begins(zone)

    @property
    def hour(self) -> int:
        return int(self.clock.now // HOUR_SECONDS)

    def run(self) -> Row:
        """The figures of the measured days."""
        self.clock.run(self.plan.warm_days * DAY_SECONDS)
        self.account = Account()
        busy, queued = self.pool.busy_until_now(), self.pool.queued_until_now()
        self._away_seconds = dict.fromkeys(self._away_seconds, 0.0)
        self.clock.run((self.plan.warm_days + self.plan.days) * DAY_SECONDS)
        return self._figures(self.pool.busy_until_now() - busy, self.pool.queued_until_now() - queued)

    # turns

    def _hour_begins(self, zone: int) -> None:
        offset, share = ZONES[zone]
        local = (self.hour + offset) % 24
        self._change_shift(zone, local)
        for priority, part, by_hour in (
            (INTERACTIVE, INTERACTIVE_SHARE.value, INTERACTIVE_BY_HOUR),
            (NIGHTLY, 1 - INTERACTIVE_SHARE.value, NIGHTLY_BY_HOUR),
        ):
            rate = self._turns_a_second * share * part * by_hour[local] * 24 / sum(by_hour) * self._surge()
            at = self._arrivals.expovariate(rate) if rate else HOUR_SECONDS
            while at < HOUR_SECONDS:
                self.clock.after(at, self._begin, zone, priority)
                at += self._arrivals.expovariate(rate)
        self.clock.after(HOUR_SECONDS, self._hour_begins, zone)

    def _surge(self) -> float:
        if self.plan.surge is None:
            return 1.0
        begin, hours, factor = self.plan.surge
        return factor if begin <= self.hour < begin + hours else 1.0

    def _begin(self, zone: int, priority: int) -> None:
        """A turn of a character that has none open; there is one turn a character at a time."""
        first, learns = self._arrivals.random(), self._arrivals.random()
        if self.closed_doors:
            return
        if self._free[zone] == 0:
            self.account.turned_away += 1
            return
        self._free[zone] -= 1
        steps = self.facts.first_turn if first < FIRST_TURNS_SHARE.value else self.facts.later_turn
        if learns < EDITOR_TRAININGS.value:
            steps = (*steps, self.facts.edit_training)
        turn = Turn(steps, zone, priority, self.clock.now)
        self.open[turn] = None
        self.turns_begun += 1
        self.account.begun += 1
        self.account.runs[self.hour] += 1
        self.go_on(turn, 0.0)

    def go_on(self, turn: Turn, seconds: float) -> None:
        """The next step, after so many seconds on processors."""
        if turn.at == len(turn.steps):
            del self.open[turn]
            self.stages_of_ended_turns += sum(isinstance(step, Stage) for step in turn.steps)
            self._free[turn.zone] += 1
            self.account.turns[turn.priority].append(self.clock.now - turn.began)
            return
        step = turn.steps[turn.at]
        if isinstance(step, Stage):
            self.clock.after(seconds + self.facts.step_overhead_seconds, StageJob(self, turn, step).ask)
        else:
            self.clock.after(seconds, self._wait_at_gate, turn, step)

    def _wait_at_gate(self, turn: Turn, gate: Gate) -> None:
        self._reviewers[turn.zone].ask(GateJob(self, turn, gate))

    def _change_shift(self, zone: int, local: int) -> None:
        for person in range(self._people[zone]):
            begin, end = SHIFTS[person % len(SHIFTS)]
            if local == begin:
                self._reviewers[zone].bring(person)
            elif local == end or (self.clock.now == 0 and not begin <= local < end):
                self._reviewers[zone].let_go(person)

    # cards

    def start_seconds(self, stage: Stage, card: int) -> float:
        """Until its work begins on that card: longer on a machine that has not trained yet."""
        if card in self._fresh and stage.cold_seconds > stage.start_seconds:
            self._fresh.discard(card)
            return stage.cold_seconds
        return stage.start_seconds

    def count_start(self, stage: Stage) -> None:
        self.account.runs[self.hour] += 1
        self.account.objects[self.hour] += self.facts.objects(stage)

    def _until_it_goes(self, card: int) -> None:
        owned = self.pool.class_of(card) == OWNED
        mean = CARD_DAYS_TO_A_FAILURE.value * DAY_SECONDS if owned else RENTED_HOURS.value * HOUR_SECONDS
        self.clock.after(self._machines.expovariate(self.plan.failures / mean), self._goes, card)

    def _goes(self, card: int) -> None:
        kind = self.pool.class_of(card)
        back = (REPAIR_HOURS if kind == OWNED else RENTED_BACK_HOURS).value * HOUR_SECONDS
        self._away_seconds[kind] += back
        self.pool.take_away(card)
        self.clock.after(back, self._comes, card)

    def _comes(self, card: int) -> None:
        self._fresh.add(card)
        self.pool.bring(card)
        self._until_it_goes(card)

    # figures

    def _figures(self, busy: float, queued: float) -> Row:
        account, plan = self.account, self.plan
        seconds = plan.days * DAY_SECONDS
        rented = round(plan.cards * RENTED_SHARE.value)
        paid = (plan.cards - rented) * OWNED_HOUR.value * seconds
        paid += RENTED_HOUR.value * (rented * seconds - self._away_seconds[RENTED])
        ended = sum(map(len, account.turns))
        staffed = sum(self._people) * sum(end - begin for begin, end in SHIFTS) / len(SHIFTS) * HOUR_SECONDS
        waits = [*account.waits[INTERACTIVE], *account.waits[NIGHTLY]]
        return {
            "load": plan.load,
            "cards_busy": busy / (plan.cards * seconds),
            "interactive_wait_mean_seconds": mean(account.waits[INTERACTIVE]),
            "interactive_wait_p95_seconds": quantile(account.waits[INTERACTIVE], 0.95),
            "nightly_wait_mean_minutes": mean(account.waits[NIGHTLY]) / 60,
            "nightly_wait_p95_minutes": quantile(account.waits[NIGHTLY], 0.95) / 60,
            "gate_wait_mean_hours": mean(account.gate_waits) / HOUR_SECONDS,
            "interactive_turn_hours": mean(account.turns[INTERACTIVE]) / HOUR_SECONDS,
            "nightly_turn_hours": mean(account.turns[NIGHTLY]) / HOUR_SECONDS,
            "turns_a_day": ended / plan.days,
            "open_turns": len(self.open),
            "turned_away_share": account.turned_away / max(1, account.begun + account.turned_away),
            "stages_waiting_at_end": self.pool.queued,
            "gates_waiting_at_end": sum(pool.queued for pool in self._reviewers),
            "cards_lost_under_a_stage": len(account.lost_work),
            "retries_of_1000_stages": 1000 * len(account.lost_work) / max(1, len(waits)),
            "lost_training_mean_seconds": mean(account.lost_trainings),
            "lost_training_most_seconds": max(account.lost_trainings, default=0.0),
            "lost_card_time_share": sum(account.lost_work) / max(1.0, busy),
            "reviewers_busy": account.looked_seconds / (staffed * plan.days),
            "peak_runs_a_second": peak(account.runs) / HOUR_SECONDS,
            "peak_studio_busy": peak(account.studio_seconds) / HOUR_SECONDS,
            "peak_objects_a_second": peak(account.objects) / HOUR_SECONDS,
            "card_dollars_a_turn": paid / HOUR_SECONDS / max(1, ended),
            "looked_minutes_a_turn": account.looked_seconds / 60 / max(1, ended),
            "queue_length": queued / seconds,
            "starts_times_wait": sum(waits) / seconds,
        }


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def peak(by_hour: Mapping[int, float]) -> float:
    """The busiest hour."""
    return max(by_hour.values(), default=0.0)
