"""The model card of a LoRA, in the Hub's form: base, licence, trigger, measures with intervals, samples, and what it learned from."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import short
from flenwheel_core.base.statistics import Interval, bootstrap_interval, wilson
from flenwheel_core.documents.characters import Consent
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.loras import SampleImage
from flenwheel_core.documents.scores import CellScore, Scorecard, StyleScore
from flenwheel_core.evaluation.report import style_rows
from flenwheel_core.evaluation.state_curve import curve_words
from flenwheel_core.models.licences import licence_of
from flenwheel_core.models.pipeline_call import PipelineCall
from flenwheel_core.models.references import hub_reference
from flenwheel_core.requests.export import ExportRequest

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

STATES = "states.svg"
"""The curve of a training's states, in an export."""
_SAID = {
    ImageKind.SOURCE: "given by a person",
    ImageKind.ENRICHED: "edits of those, chosen by a person",
    ImageKind.CORRECTED: "edits that a person corrected",
    ImageKind.SYNTHETIC: "drawn with an earlier LoRA, chosen by a person",
    ImageKind.INJECTED: "drawn with what the given photos show, before there was a LoRA, chosen by a person",
}


class LearnedFrom(Document):
    """Pictures of one kind in the training pool."""

    kind: ImageKind
    model: str
    """What made them; empty for pictures that were given."""
    count: int


def learned_from(images: Iterable[ImageRecord]) -> tuple[LearnedFrom, ...]:
    """The pictures of a pool by how they came to be, and by which model; sources first."""
    counts = Counter((image.kind, plain_reference(image.model or "")) for image in images)
    order = list(ImageKind)
    found = sorted(counts.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    return tuple(LearnedFrom(kind=kind, model=model, count=count) for (kind, model), count in found)


def plain_reference(reference: str) -> str:
    """A model as others may know it: its id on the Hub, or the folder's own name. Paths of this machine are nobody's business."""
    hub = hub_reference(reference)
    if hub is not None:
        return hub[0]
    name = reference.rpartition("@")[0] or reference
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2]


def last_samples(request: ExportRequest, most: int = 4) -> tuple[SampleImage, ...]:
    """Sample pictures of the finished LoRA: those of the last step."""
    last = max((sample.step for sample in request.samples), default=0)
    return tuple(sample for sample in request.samples if sample.step == last)[:most]


def sample_name(index: int) -> str:
    """The file of a sample picture in an export."""
    return f"sample-{index + 1}.png"


def model_card(
    request: ExportRequest,
    learned: Sequence[LearnedFrom],
    *,
    tag: str = "",
    call: PipelineCall | None = None,
    further: Sequence[str] = (),
) -> "ModelCard":
    """The card. `tag` is the family's on the Hub, `call` how its pipeline draws the samples; `further` are sentences about other files of
    the export."""
    from huggingface_hub import ModelCard, ModelCardData

    lora = request.lora
    licence, base = licence_of(lora.base_model), plain_reference(lora.base_model)
    hub = hub_reference(lora.base_model)
    style = request.character.kind == "style"
    samples = last_samples(request)
    widget = [{"text": sample.prompt, "output": {"url": sample_name(index)}} for index, sample in enumerate(samples)]
    data = ModelCardData(
        base_model=base,
        library_name="diffusers",
        pipeline_tag="text-to-image" if lora.target == "generator" else "image-to-image",
        tags=[
            "lora",
            "template:diffusion-lora",
            *([tag] if tag else []),
            "flenwheel",
            "style" if style else "character",
        ],
        instance_prompt=lora.trigger,
        base_model_relation="adapter",
        widget=widget or None,
    )
    for key, value in licence.card_fields(hub[0] if hub is not None else "").items():
        data[key] = value
    words = " ".join(word for word in (lora.trigger, lora.class_word) if word)
    example = f"a harbour at dawn, {words}" if style else f"photo of {words}, smiling, front view"
    lines = [
        "---",
        data.to_yaml(),
        "---",
        f"# {lora.name}",
        "",
        *(["<Gallery />", ""] if widget else []),
        f"A {'style' if style else 'character'} LoRA for `{base}`. Write **{words}** in the prompt.",
        "",
        "| | |",
        "|---|---|",
        f"| trained on | {lora.images} pictures, {lora.steps} steps, rank {lora.rank}, alpha {lora.alpha:g} |",
        f"| licence of the base model | {licence} |",
        f"| turn | {request.turn} |",
        f"| training set | `{short(lora.dataset)}` |",
        f"| file | `{short(lora.digest)}` |",
    ]
    if request.scorecard is not None:
        lines += ["", f"## {'Style' if style else 'Model'} card benchmark", "", *_measures(request.scorecard)]
    if request.comparison is not None:
        lines += ["", "Against the champion before it: " + " ".join(request.comparison.reasons)]
    if request.choice is not None:
        lines += ["", "## How its training was ended", "", f"![states of the training]({STATES})", ""]
        lines += [" ".join(curve_words(request.choice)), *_taken(request)]
    if request.strength is not None:
        lines += [
            "",
            f"Use it at a strength of **{request.strength:g}**: of those that were tried, as near to the style as the content allows.",
        ]
    if request.character.kind == "person":
        lines += ["", "## Whose face it is", "", _whose(request.consent)]
    lines += ["", "## What it learned from", "", *_learned(learned)]
    lines += [
        "",
        "## Use",
        "",
        "```python",
        *_loading(hub, lora.name, request.strength),
        *_drawing({"prompt": example, **(call or {})}),
        "```",
        "",
        *further,
        "",
        f"Made on {base} ({licence.name or 'licence not known'}); its terms go with this file.",
    ]
    return ModelCard("\n".join(lines) + "\n", ignore_metadata_errors=True)


def _loading(hub: tuple[str, str] | None, name: str, strength: float | None) -> list[str]:
    """Lines that load base and LoRA with diffusers, run in the folder of the card's files."""
    repository, commit = hub or ("", "")
    start = [
        "import torch",
        "from diffusers import DiffusionPipeline",
        "",
        f'base, commit = "{repository}", "{commit}"',
        'pipeline = DiffusionPipeline.from_pretrained(base, revision=commit, torch_dtype=torch.bfloat16).to("cuda")',
    ]
    return [
        *(start if hub is not None else ["# pipeline: the base, loaded with diffusers"]),
        f'pipeline.load_lora_weights(".", weight_name="{name}.safetensors", adapter_name="lora")',
        *([f'pipeline.set_adapters(["lora"], [{strength:g}])'] if strength is not None else []),
    ]


def _drawing(call: PipelineCall) -> list[str]:
    """Lines that draw as the samples were drawn: a pipeline's own defaults have another guidance, or none."""
    return [
        "picture = pipeline(",
        *(f"    {name}={json.dumps(value, ensure_ascii=False)}," for name, value in call.items()),
        ").images[0]",
    ]


def _taken(request: ExportRequest) -> list[str]:
    """What is not as the choice had it: a person may have taken another state."""
    assert request.choice is not None
    lora, state = request.lora, request.choice.tried[request.choice.taken].state
    if (lora.steps, lora.strength) == (state.step, state.strength):
        return []
    return ["", f"A person took the state after step {lora.steps}, at strength {lora.strength:g}."]


def _whose(consent: Consent | None) -> str:
    if consent is None:
        return "Nobody said whose face this is, or that it may be used. Ask whoever gave you this file."
    rules = "Use it only as that person agreed to, and never to pass a made picture off as a photograph."
    return f"{consent.text()} {rules}"


def _learned(learned: Sequence[LearnedFrom]) -> list[str]:
    if not learned:
        return ["Nobody wrote down which pictures were in its pool."]
    lines = ["| pictures | how they came to be | made by |", "|---|---|---|"]
    lines += [f"| {one.count} | {_SAID[one.kind]} | {one.model} |" for one in learned]
    return [*lines, "", "None of these pictures is published with it."]


def _measures(card: Scorecard) -> list[str]:
    measured = [cell for cell in card.cells if cell.measured]
    identities = [cell.identity for cell in measured if cell.identity is not None]
    if card.style is not None:
        return _style_measures(card, card.style)
    identity = f"{card.identity:.3f}"
    if len(identities) > 1:
        spread = bootstrap_interval(len(identities), lambda drawn: sum(identities[i] for i in drawn) / len(drawn))
        identity += f" (95 % interval {spread.low:.3f} to {spread.high:.3f})"
    return [
        "| measure | value |",
        "|---|---|",
        f"| first-try pass rate | {card.pass_rate:.0%} (95 % interval {card.pass_rate_low:.0%} to {card.pass_rate_high:.0%}) |",
        f"| identity, mean cosine | {identity} |",
        f"| identity, 5 % quantile | {card.identity_p05:.3f} |",
        f"| angle as asked | {_share(card.angle_rate, measured, 'angle_ok')} |",
        f"| expression as asked | {_share(card.expression_rate, measured, 'expression_ok')} |",
        f"| pose as asked | {_share(card.pose_rate, measured, 'pose_ok')} |",
        f"| diversity (Vendi score) | {card.diversity:.2f} |",
        *([f"| likeness to real pictures | {card.real_likeness.text()} |"] if card.real_likeness is not None else []),
        *([f"| somebody else gets its face | {card.bleed.text()} |"] if card.bleed is not None else []),
        f"| pictures it rests on | {len(measured)} |",
        f"| verifier | {card.verifier} {card.verifier_version[:12]} |",
    ]


def _style_measures(card: Scorecard, style: StyleScore) -> list[str]:
    return [
        "| measure | value |",
        "|---|---|",
        f"| first-try pass rate | {card.pass_rate:.0%} (95 % interval {card.pass_rate_low:.0%} to {card.pass_rate_high:.0%}) |",
        *(f"| {name} | {values[0]} |" for name, values in style_rows([style])),
        f"| diversity (Vendi score) | {card.diversity:.2f} |",
        f"| pictures it rests on | {len(card.cells)} |",
        "",
        "Distances are between distributions, in spreads of the paintings that were kept back; 0 is the style itself.",
    ]


def _share(rate: float | None, cells: Sequence[CellScore], figure: str) -> str:
    if rate is None:
        return "not measured"
    told = [value for cell in cells if (value := getattr(cell, figure)) is not None]
    found: Interval = wilson(sum(told), len(told))
    if not told or abs(found.value - rate) > 0.005:  # counted otherwise: the scorecard's own figure stands alone
        return f"{rate:.0%}"
    return f"{rate:.0%} (95 % interval {found.low:.0%} to {found.high:.0%})"
