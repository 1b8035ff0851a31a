"""Flywheel 1: one turn for one character or style, from sources to a LoRA that is promoted or kept back.

The run reads like the process. It suspends at its gates and is replayed from the top when it goes on: everything between the tasks may run
again, and finds what it did before. What is drawn and measured is chosen by the kind of subject
(`plans.subjects`): of a style nothing is edited.
"""

from prefect import flow

from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.requests.export import ExportResult
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.runner.stage import BENCHMARK, EXPORT, INGEST, STYLE_STUDY
from flows.rounds import EnrichedRounds, Rounds, SyntheticRounds
from flows.start import plain_errors, start_turn
from flows.trainings import of_state, standing, taken_export, trained
from flows.turn import Turn
from flows.turn_runner import PrefectRunner, TurnRunner
from tasks.turn_plan import publish_plan


@flow(name="flywheel-1", flow_run_name="{character} turn", description=__doc__, persist_result=False)
@plain_errors
def flywheel1(character: str, recipe: str | None = None, beside_open_turn: bool = False) -> str:
    """One turn of Flywheel 1.

    Args:
        character: Name of the character or the style, as given to `flenwheel ingest`.
        recipe: Recipe of this turn; the character's or style's own recipe if left empty.
        beside_open_turn: Begin although an earlier turn of the character still waits at a gate or works; otherwise this run ends at once.
    """
    turn = start_turn(character, recipe, beside_open_turn=beside_open_turn)
    publish_plan(turn.name, turn.recipe, first_turn=turn.champion() is None)
    return run_turn(turn, PrefectRunner())


def run_turn(turn: Turn, runner: TurnRunner) -> str:
    """All steps of a turn; returns how it ended, in words."""
    asked = turn.ingest_request()
    sources = runner.stage(INGEST, asked, f"ingest {turn.character.name}")
    turn.take_in(asked, sources)

    gate_a = EnrichedRounds(turn, runner)
    if not gate_a.run():
        return stopped(turn, runner, sources.sources, gate_a)

    made = []
    champion = turn.champion()
    if champion is None:
        made.append(trained(turn, runner, "v1"))
        champion = made[0].lora

    gate_b = SyntheticRounds(turn, runner, lora=champion)
    if not gate_b.run():
        return stopped(turn, runner, sources.sources, gate_a, gate_b)

    taken = standing(turn, "gate-b", champion)
    if taken != champion and made:  # at the gate, a person took another state of its training
        made[0] = of_state(made[0], taken)
    made.append(trained(turn, runner, "challenger"))
    return finished(turn, runner, sources.sources, taken, made, gate_a, gate_b)


def finished(
    turn: Turn, runner: TurnRunner, sources: str, champion: LoraRecord, made: list[TrainResult], *gates: Rounds
) -> str:
    """Benchmark, promote or keep, export, report. Until each step, a person may take another state of either training."""
    champion = standing(turn, "benchmark-champion", champion)
    challenger = standing(turn, "benchmark-challenger", made[-1].lora)
    now = {lora.request: lora for lora in (champion, challenger)}
    made = [of_state(one, now[one.lora.request]) if one.lora.request in now else one for one in made]
    score = runner.stage(BENCHMARK, turn.benchmark_request(champion, challenger), f"benchmark {turn.name}")
    promotion = turn.promote(champion, challenger, score)
    exported: ExportResult | None = None
    if promotion is not None:
        shown = next((result for result in made if result.lora == promotion.lora), made[-1])
        strength = default_strength(turn, runner, promotion.lora)
        request = turn.export_request(promotion, shown, score, strength)
        exported = runner.stage(EXPORT, request, f"export {promotion.lora.name}")
    exported = taken_export(turn, runner) or exported
    outcome = "promoted" if promotion is not None and promotion.lora == challenger else "kept"
    winner = promotion.lora if promotion is not None else champion
    facts = turn.facts(f"{outcome} {winner.name}", sources, [closed for gate in gates for closed in gate.closed])
    facts = facts.model_copy(
        update={"trained": tuple(made), "score": score, "champion": winner.name, "exported": exported}
    )
    turn.end("promoted" if outcome == "promoted" else "kept", score, runner.turn_report(facts))
    return facts.outcome


def default_strength(turn: Turn, runner: TurnRunner, lora: LoraRecord) -> float | None:
    """The strength at which more style begins to cost more content than it is worth; None for a character, which is drawn at 1."""
    request = turn.study_request(lora)
    if request is None:
        return None
    studied = runner.stage(STYLE_STUDY, request, f"study {lora.name}")
    turn.keep_study(request)
    return studied.strength


def stopped(turn: Turn, runner: TurnRunner, sources: str, *gates: Rounds) -> str:
    """The turn ends at a gate because a person said so."""
    facts = turn.facts("stopped", sources, [closed for gate in gates for closed in gate.closed])
    turn.end("stopped", None, runner.turn_report(facts))
    return f"stopped at {facts.gates[-1].gate}"
