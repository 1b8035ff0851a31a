"""Flywheel 1: one turn for one character, from sources to a LoRA that is promoted or kept back.

The run reads like the process. It suspends at its gates and is replayed from the top when it goes on: everything between the tasks may run
again, and finds what it did before.
"""

from prefect import flow

from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.requests.export import ExportResult
from flenwheel_core.requests.train import TrainResult
from flows.opening import plain_errors, start_turn
from flows.rounds import EnrichedRounds, Rounds, SyntheticRounds
from flows.turn import Turn
from tasks.reporting import publish_report
from tasks.stages import benchmark, export, ingest, train


@flow(name="flywheel-1", flow_run_name="{character} turn", description=__doc__, persist_result=False)
@plain_errors
def flywheel1(character: str, recipe: str | None = None, beside_open_turn: bool = False) -> str:
    """One turn of Flywheel 1.

    Args:
        character: Name of the character, as given to `flenwheel ingest`.
        recipe: Recipe of this turn; the character's own recipe if left empty.
        beside_open_turn: Begin although an earlier turn of the character still waits at a gate or works; otherwise this run ends at once.
    """
    turn = start_turn(character, recipe, beside_open_turn=beside_open_turn)
    asked = turn.ingest_request()
    sources = ingest(asked, f"ingest {character}")
    turn.take_in(asked, sources)

    gate_a = EnrichedRounds(turn)
    if not gate_a.run():
        return stopped(turn, sources.sources, gate_a)

    trained = []
    champion = turn.champion()
    if champion is None:
        trained.append(train(turn.train_request("v1"), f"train {turn.name} v1"))
        champion = trained[0].lora

    gate_b = SyntheticRounds(turn, lora=champion)
    if not gate_b.run():
        return stopped(turn, sources.sources, gate_a, gate_b)

    trained.append(train(turn.train_request("challenger"), f"train {turn.name} challenger"))
    return finished(turn, sources.sources, champion, trained, gate_a, gate_b)


def finished(turn: Turn, sources: str, champion: LoraRecord, trained: list[TrainResult], *gates: Rounds) -> str:
    """Benchmark, promote or keep, export, report."""
    challenger = trained[-1].lora
    score = benchmark(turn.benchmark_request(champion, challenger), f"benchmark {turn.name}")
    promotion = turn.promote(champion, challenger, score)
    exported: ExportResult | None = None
    if promotion is not None:
        shown = next((result for result in trained if result.lora == promotion.lora), trained[-1])
        exported = export(turn.export_request(promotion, shown, score), f"export {promotion.lora.name}")
    outcome = "promoted" if promotion is not None and promotion.lora == challenger else "kept"
    winner = promotion.lora if promotion is not None else champion
    facts = turn.facts(f"{outcome} {winner.name}", sources, [closed for gate in gates for closed in gate.closed])
    facts = facts.model_copy(
        update={"trained": tuple(trained), "score": score, "champion": winner.name, "exported": exported}
    )
    turn.end("promoted" if outcome == "promoted" else "kept", score, publish_report(facts))
    return facts.outcome


def stopped(turn: Turn, sources: str, *gates: Rounds) -> str:
    """The turn ends at a gate because a person said so."""
    facts = turn.facts("stopped", sources, [closed for gate in gates for closed in gate.closed])
    turn.end("stopped", None, publish_report(facts))
    return f"stopped at {facts.gates[-1].gate}"
