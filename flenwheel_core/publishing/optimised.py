"""Forms of a LoRA that carry their base: a model folder with the LoRA in its weights, or one file of it for ComfyUI; on request only."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flenwheel_core.base.errors import InputError, ResourceError
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.models.references import ModelRole, resolve_model
from flenwheel_core.models.registry import family_of, load_entry

if TYPE_CHECKING:
    from flenwheel_core.adapters.lora_reading import WornLora
    from flenwheel_core.base.settings import Settings

Form = Literal["folder", "bf16", "fp8"]


def write_merged(
    record: LoraRecord,
    data: bytes,
    form: Form,
    out: Path,
    settings: "Settings",
    say: Callable[[str], None],
    *,
    strength: float = 1.0,
) -> Path:
    """Writes `out/NAME-merged/`, `out/NAME.bf16.safetensors` or `out/NAME.fp8.safetensors`, and returns it.

    The base is read tensor by tensor. Raises InputError for a base without such a form, ResourceError without room on disk.
    """
    from flenwheel_core.adapters.merging import Weights, describe, write_merged_folder, write_single_file

    role = ModelRole.GENERATOR if record.target == "generator" else ModelRole.EDITOR
    folder = resolve_model(record.base_model, role, settings)
    family = family_of(folder)
    if form != "folder" and not family.single_file:
        raise InputError(
            f"There is no single file of {family.name} here.",
            why="its names for ComfyUI are not known.",
            remedy="Take the merged folder, or give ComfyUI the base and the LoRA.",
        )
    path = out / (f"{record.name}-merged" if form == "folder" else f"{record.name}.{form}.safetensors")
    if path.exists():
        raise InputError(f"{path} is there already.", remedy="Choose another folder.")
    worn = _worn(record, data, folder, strength)
    _require_room(folder / "transformer", out, form)
    if form == "folder":
        write_merged_folder(folder, worn, path, say)
        return path
    weights = Weights(folder / "transformer", worn)
    parts = load_entry(family.single_file)(tuple(weights.names))
    say(f"{len(parts)} tensors")
    write_single_file(weights, parts, path, fp8=form == "fp8", metadata=describe(worn, record.base_model))
    return path


def _worn(record: LoraRecord, data: bytes, folder: Path, strength: float) -> "WornLora":
    """The LoRA by the linears of the transformer, at this strength."""
    from flenwheel_core.adapters.lora_file import LoraFile
    from flenwheel_core.adapters.lora_reading import LoraHost, WornLora, read_loras
    from flenwheel_core.adapters.merging import WEIGHT, Weights

    weights = Weights(folder / "transformer", WornLora(record.name, {}, 1.0))
    linears = {
        name.removesuffix(WEIGHT): (shape[0], shape[1])
        for name in weights.names
        if name.endswith(WEIGHT) and len(shape := weights.shape(name)) == 2
    }
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(data)
        file.flush()
        host = LoraHost(family_of(folder).name, linears, {})
        (worn,) = read_loras([LoraFile(Path(file.name), strength)], host)
    return WornLora(record.name, worn.modules, worn.weight)


def _require_room(transformer: Path, out: Path, form: Form) -> None:
    import shutil

    size = sum(path.stat().st_size for path in transformer.glob("*.safetensors"))
    need = size // 2 if form == "fp8" else size
    free = shutil.disk_usage(next(place for place in (out, *out.absolute().parents) if place.exists())).free
    if need > free:
        raise ResourceError(
            f"{need / 2**30:.1f} GiB are needed in {out}, and {free / 2**30:.1f} GiB are free.",
            remedy="Choose another folder, or the fp8 file, which is half as large.",
        )
