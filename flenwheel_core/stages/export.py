"""Export: the LoRA with its model card, its pictures and its provenance, ready to hand to others."""

import io
import json
import re
from typing import TYPE_CHECKING

from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import canonical_json, short
from flenwheel_core.documents.scores import Scorecard
from flenwheel_core.models.family import Family
from flenwheel_core.models.licences import licence_of
from flenwheel_core.models.registry import family_of_architecture, load_entry
from flenwheel_core.requests.export import ExportedFile, ExportRequest, ExportResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.store.pictures import load_picture

if TYPE_CHECKING:
    from huggingface_hub import ModelCard


def export(request: ExportRequest, context: StageContext) -> ExportResult:
    """Writes the files of a LoRA into the store; `flenwheel export` copies them to a folder."""
    store, lora = context.store, request.lora
    stem = lora.name
    files = {f"{stem}.safetensors": store.get_blob(lora.digest)}
    other_file = ""
    family = _family(files[f"{stem}.safetensors"])
    for layout, entry in ({} if family is None else family.lora_layouts).items():
        try:
            files[f"{stem}.{layout}.safetensors"] = load_entry(entry)(files[f"{stem}.safetensors"])
            other_file = (
                f"`{stem}.{layout}.safetensors` is the same LoRA in {layout}'s layout, for ComfyUI and other tools."
            )
        except InputError as error:
            other_file = f"There is no file in {layout}'s layout. {error.what} {error.why}"
            context.progress.note(other_file)
    cover = request.grid or (request.samples[-1].image if request.samples else None)
    if cover is not None:
        files[f"{stem}.png"] = store.get_blob(cover)
    if request.samples:
        files["samples.png"] = _sample_sheet(request, context)
    files[f"{stem}.json"] = canonical_json(
        {"activation text": f"{lora.trigger} {lora.class_word}", "preferred weight": 1.0}
    )
    tag = "" if family is None else family.card_tag
    files["README.md"] = str(model_card(request, tag=tag, other_file=other_file)).encode()
    files["provenance.json"] = _provenance(request)
    exported = tuple(ExportedFile(name=name, digest=store.put_blob(data)) for name, data in sorted(files.items()))
    return ExportResult(files=exported)


def model_card(request: ExportRequest, *, tag: str = "", other_file: str = "") -> "ModelCard":
    """A model card in the Hub's form, with the benchmark's figures.

    `tag` is the family's on the Hub; `other_file` names the file for other programs, or says why there is none.
    """
    from huggingface_hub import ModelCard, ModelCardData

    lora, card = request.lora, request.scorecard
    licence = licence_of(lora.base_model)
    data = ModelCardData(
        base_model=lora.base_model.partition("@")[0],
        library_name="diffusers",
        pipeline_tag="text-to-image" if lora.target == "generator" else "image-to-image",
        tags=["lora", *([tag] if tag else []), "flenwheel", "character"],
        instance_prompt=lora.trigger,
        license="other",
        license_name=re.sub(r"[^a-z0-9.]+", "-", licence.name.lower()).strip("-") or None,
    )
    lines = [
        "---",
        data.to_yaml(),
        "---",
        f"# {lora.name}",
        "",
        f"A character LoRA for `{lora.base_model}`. Write **{lora.trigger} {lora.class_word}** in the prompt.",
        "",
        "| | |",
        "|---|---|",
        f"| trained on | {lora.images} pictures, {lora.steps} steps, rank {lora.rank}, alpha {lora.alpha:g} |",
        f"| licence of the base model | {licence} |",
        f"| turn | {request.turn} |",
        f"| training set | `{short(lora.dataset)}` |",
        f"| file | `{short(lora.digest)}` |",
    ]
    if card is not None:
        lines += ["", "## Model card benchmark", "", *_score_lines(card)]
    if request.comparison is not None:
        lines += ["", "Against the champion before it: " + " ".join(request.comparison.reasons)]
    lines += [
        "",
        "## Use",
        "",
        "```python",
        f'pipeline.load_lora_weights(".", weight_name="{lora.name}.safetensors")',
        f'pipeline("photo of {lora.trigger} {lora.class_word}, smiling, front view").images[0]',
        "```",
        "",
        *([other_file] if other_file else []),
        "`provenance.json` names every picture and decision it was made from.",
    ]
    return ModelCard("\n".join(lines) + "\n", ignore_metadata_errors=True)


def _family(lora: bytes) -> Family | None:
    """The family whose trainer wrote this file; None if the file does not say, or names one that is not known here."""
    return family_of_architecture(file_metadata(lora).get("modelspec.architecture", ""))


def _score_lines(card: Scorecard) -> list[str]:
    def share(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.0%}"

    return [
        "| measure | value |",
        "|---|---|",
        f"| first-try pass rate | {card.pass_rate:.0%} (95 % interval {card.pass_rate_low:.0%} to {card.pass_rate_high:.0%}) |",
        f"| identity, mean cosine | {card.identity:.3f} (5 % quantile {card.identity_p05:.3f}) |",
        f"| angle as asked | {share(card.angle_rate)} |",
        f"| expression as asked | {share(card.expression_rate)} |",
        f"| pose as asked | {share(card.pose_rate)} |",
        f"| diversity (Vendi score) | {card.diversity:.2f} |",
        f"| verifier | {card.verifier} {card.verifier_version[:12]} |",
    ]


def _sample_sheet(request: ExportRequest, context: StageContext) -> bytes:
    from flenwheel_core.images.sheets import Tile, contact_sheet

    tiles = [Tile(load_picture(context.store, sample.image), (f"step {sample.step}",)) for sample in request.samples]
    columns = len({sample.prompt for sample in request.samples})
    buffer = io.BytesIO()
    contact_sheet(tiles, columns=columns, title=f"{request.lora.name}: samples while training").save(
        buffer, format="PNG"
    )
    return buffer.getvalue()


def _provenance(request: ExportRequest) -> bytes:
    """Everything the LoRA follows from, by digest."""
    licence = licence_of(request.lora.base_model)
    known = {"base_licence": {"name": licence.name, "commercial": licence.commercial}}
    facts = request.model_dump(mode="json") | known
    return json.dumps(facts, indent=2, sort_keys=True).encode()
