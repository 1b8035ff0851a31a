"""A demo of a LoRA as a Space: a folder with an app, its own requirements and the LoRA. It needs nothing of this program."""

import json
from importlib.metadata import version
from pathlib import Path

import yaml

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.licences import licence_of
from flenwheel_core.models.model_files import folder_files, require_loadable
from flenwheel_core.models.pipeline_call import lora_call
from flenwheel_core.models.references import ModelRole, hub_reference, is_shipped, shipped_part
from flenwheel_core.publishing.card import last_samples, plain_reference
from flenwheel_core.requests.export import ExportRequest

GRADIO = "6.31.0"
"""The Space's own; this program cannot have it beside its own packages (it asks for an older pillow)."""
APP = Path(__file__).with_name("space_app.py")
_PINNED = ("diffusers", "transformers", "peft", "accelerate", "safetensors")


def space_files(export: ExportRequest, lora: bytes, models: Path | None = None) -> dict[str, bytes]:
    """The files of a Space by name; `models` is the folder of weights.

    Raises InputError for a base that others cannot load, and for a LoRA of an editor.
    """
    record = export.lora
    if record.target != "generator":
        raise InputError(
            f"{record.name} is a LoRA of an editor.", why="the demo draws from text.", remedy="Publish it as a model."
        )
    hub = hub_reference(record.base_model)
    nano = is_shipped(record.base_model)
    if hub is None and not nano:
        raise InputError(
            f"There can be no demo of {record.name}.",
            why=f"its base {plain_reference(record.base_model)} is a folder of this machine.",
            remedy="Train on a base of the Hub, or publish it as a model.",
        )
    words = " ".join(word for word in (record.trigger, record.class_word) if word)
    samples = last_samples(export)
    facts = {
        "title": record.name,
        "lora": f"{record.name}.safetensors",
        "base": "base" if hub is None else hub[0],
        "revision": None if hub is None else hub[1],
        "words": words,
        "call": lora_call(lora, record.base_model, export.sampler or Sampler(), models),
        "prompts": [sample.prompt for sample in samples] or [f"photo of {words}, smiling, front view"],
        "seed": samples[0].seed if samples else 0,
        "strength": export.strength or 1.0,
        "licence": str(licence_of(record.base_model)),
    }
    files = {
        "app.py": APP.read_bytes(),
        "space.json": json.dumps(facts, indent=1, sort_keys=True).encode(),
        "requirements.txt": _requirements().encode(),
        "README.md": _front(export, nano=nano).encode(),
        f"{record.name}.safetensors": lora,
    }
    if nano:
        base = weights_folder(shipped_part(record.base_model, ModelRole.GENERATOR), models)
        require_loadable(base, record.base_model)
        files |= {f"base/{name}": (base / name).read_bytes() for name in folder_files(base).names}
    return files


def _requirements() -> str:
    return "\n".join(
        [f"gradio=={GRADIO}", "torch", *(f"{name}=={version(name)}" for name in _PINNED), "sentencepiece", ""]
    )


def _front(export: ExportRequest, *, nano: bool) -> str:
    """The README with what the Hub reads at its top."""
    record = export.lora
    hub = hub_reference(record.base_model)
    head: dict[str, object] = {
        "title": record.name,
        "emoji": "\N{ARTIST PALETTE}",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "app_file": "app.py",
        "pinned": False,
        **licence_of(record.base_model).card_fields(hub[0] if hub is not None else ""),
    }
    if hub is not None:
        head["models"] = [hub[0]]
    if not nano:
        head["suggested_hardware"] = "zero-a10g"
    lines = [
        f"# {record.name}",
        "",
        f"Draws with the LoRA `{record.name}` on `{plain_reference(record.base_model)}` ({licence_of(record.base_model)}).",
        "",
        "On your own machine, in an environment of its own: `pip install -r requirements.txt && python app.py`.",
        "A gated base asks for your token: set `HF_TOKEN`, as a secret of the Space.",
        "",
    ]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n" + "\n".join(lines)
