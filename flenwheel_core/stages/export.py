"""Export: the LoRA with its model card, its pictures and its provenance, ready to hand to others."""

import io
import json

from flenwheel_core.adapters.comfyui import GraphFacts
from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import canonical_json
from flenwheel_core.documents.images import Sampler
from flenwheel_core.evaluation.state_curve import state_curve
from flenwheel_core.models.family import Family
from flenwheel_core.models.licences import licence_of
from flenwheel_core.models.pipeline_call import lora_call
from flenwheel_core.models.references import is_shipped
from flenwheel_core.models.registry import family_of_architecture, load_entry
from flenwheel_core.publishing.card import STATES, last_samples, learned_from, model_card, sample_name
from flenwheel_core.requests.export import ExportedFile, ExportRequest, ExportResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.store.pictures import load_picture


def export(request: ExportRequest, context: StageContext) -> ExportResult:
    """Writes the files of a LoRA into the store; `flenwheel export` copies them to a folder."""
    store, lora = context.store, request.lora
    stem = lora.name
    files = {f"{stem}.safetensors": store.get_blob(lora.digest)}
    further: list[str] = []
    family = _family(files[f"{stem}.safetensors"])
    for layout, entry in ({} if family is None else family.lora_layouts).items():
        try:
            files[f"{stem}.{layout}.safetensors"] = load_entry(entry)(files[f"{stem}.safetensors"])
            further.append(
                f"`{stem}.{layout}.safetensors` is the same LoRA in {layout}'s layout, for ComfyUI and other tools."
            )
        except InputError as error:
            further.append(f"There is no file in {layout}'s layout. {error.what} {error.why}")
            context.progress.note(further[-1])
    cover = request.grid or (request.samples[-1].image if request.samples else None)
    if cover is not None:
        files[f"{stem}.png"] = store.get_blob(cover)
    if request.samples:
        files["samples.png"] = _sample_sheet(request, context)
    files |= {sample_name(index): store.get_blob(one.image) for index, one in enumerate(last_samples(request))}
    files[f"{stem}.json"] = canonical_json(
        {"activation text": f"{lora.trigger} {lora.class_word}", "preferred weight": request.strength or 1.0}
    )
    if drawn := _comfyui_graph(request, family, list(files)):
        files[f"{stem}.comfyui.json"] = drawn
        further.append(
            f"`{stem}.comfyui.json` is a ComfyUI graph that draws the first sample picture with its seed: drop it on the window."
        )
    if request.choice is not None:
        files[STATES] = state_curve(request.choice).encode()
    tag = "" if family is None else family.card_tag
    learned = learned_from(store.get_images(request.pool))
    call = None
    if request.sampler is not None:
        call = lora_call(files[f"{stem}.safetensors"], lora.base_model, request.sampler, context.settings.models)
    files["README.md"] = str(model_card(request, learned, tag=tag, call=call, further=further)).encode()
    files["provenance.json"] = _provenance(request)
    exported = tuple(ExportedFile(name=name, digest=store.put_blob(data)) for name, data in sorted(files.items()))
    return ExportResult(files=exported)


def _comfyui_graph(request: ExportRequest, family: Family | None, names: list[str]) -> bytes:
    """The graph that draws the first sample picture of the finished LoRA; empty where ComfyUI cannot load the base."""
    samples, lora = last_samples(request), request.lora
    if family is None or not family.comfyui or not samples or lora.target != "generator":
        return b""
    if is_shipped(lora.base_model):
        return b""
    layouts = [name for name in names if name.endswith(".safetensors") and name != f"{lora.name}.safetensors"]
    facts = GraphFacts(
        lora_file=layouts[0] if layouts else f"{lora.name}.safetensors",
        name=lora.name,
        prompt=samples[0].prompt,
        seed=samples[0].seed,
        sampler=request.sampler or Sampler(),
    )
    made: bytes = load_entry(family.comfyui)(facts)
    return made


def _family(lora: bytes) -> Family | None:
    """The family whose trainer wrote this file; None if the file does not say, or names one that is not known here."""
    return family_of_architecture(file_metadata(lora).get("modelspec.architecture", ""))


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
