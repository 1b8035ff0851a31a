"""Prompt-pattern statistics: people overrule screening, few pictures prove little, old models are no evidence."""

from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord, LoraUse
from flenwheel_core.documents.scores import Screening, ScreenReason
from flenwheel_core.evaluation.prompts import template_statistics, template_weights


def picture(number: int, template: str, model: str = "nano@1", lora: str | None = None) -> ImageRecord:
    return ImageRecord(
        digest=f"{number:064x}",
        width=8,
        height=8,
        kind=ImageKind.ENRICHED,
        model=model,
        loras=(LoraUse(digest=lora),) if lora else (),
        stage="enrich",
        request="0" * 64,
        item=str(number),
        template=template,
    )


def screened(number: int, outcome: str) -> Screening:
    reasons = (ScreenReason(code="wrong_identity"),) if outcome == "fail" else ()
    return Screening(image=f"{number:064x}", outcome=outcome, reasons=reasons, verifier="v", verifier_version="1")


def decided(number: int, verdict: Verdict, *reasons: str, by_policy: bool = False) -> FinalDecision:
    return FinalDecision(
        image=f"{number:064x}", verdict=verdict, reasons=reasons, author="someone", by_policy=by_policy
    )


def test_counts_per_template_with_reasons() -> None:
    records = [picture(number, "light") for number in range(4)] + [picture(9, "pose")]
    rows = template_statistics(
        records,
        [screened(0, "fail"), screened(1, "pass"), screened(2, "fail"), screened(3, "pass"), screened(9, "pass")],
        [
            decided(1, Verdict.GOOD),
            decided(2, Verdict.GOOD),
            decided(3, Verdict.REJECT, "anatomy"),
            decided(9, Verdict.GOOD, by_policy=True),
        ],
    )
    light, pose = rows
    assert (light.template, light.made, light.screened_out, light.reviewed, light.good) == ("light", 4, 1, 3, 2)
    assert light.reasons == {"anatomy": 1, "wrong_identity": 1}
    assert (pose.made, pose.reviewed, pose.good) == (1, 0, 0)


def test_models_and_lora_versions_are_kept_apart() -> None:
    records = [picture(1, "a"), picture(2, "a", model="nano@2"), picture(3, "a", lora="c" * 64)]
    rows = template_statistics(records, [], [decided(number, Verdict.GOOD) for number in (1, 2, 3)])
    assert [(row.model, row.loras) for row in rows] == [("nano@1", ()), ("nano@1", ("c" * 12,)), ("nano@2", ())]


def test_weights_follow_the_verdicts_and_few_pictures_prove_little() -> None:
    records = [picture(number, "works") for number in range(20)]
    records += [picture(100 + number, "fails") for number in range(20)] + [picture(200, "new")]
    decisions = [decided(number, Verdict.GOOD) for number in range(20)]
    decisions += [decided(100 + number, Verdict.REJECT, "identity") for number in range(20)]
    decisions.append(decided(200, Verdict.REJECT, "identity"))
    weights = template_weights(template_statistics(records, [], decisions))
    assert weights["works"] > 0.85
    assert weights["fails"] < 0.15
    assert 0.3 < weights["new"] < 0.5


def test_only_the_present_model_counts_where_it_was_used() -> None:
    records = [picture(number, "a", model="old") for number in range(10)]
    records += [picture(50 + number, "a", model="now") for number in range(10)]
    decisions = [decided(number, Verdict.REJECT, "artifacts") for number in range(10)]
    decisions += [decided(50 + number, Verdict.GOOD) for number in range(10)]
    rows = template_statistics(records, [], decisions)
    assert template_weights(rows, model="now")["a"] > 0.9
    assert template_weights(rows, model="unheard of")["a"] == template_weights(rows)["a"]
