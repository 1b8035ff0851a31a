"""Commands that look things up: lineage, reproduce, export."""

from pathlib import Path
from typing import Literal

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.publishing.optimised import Form, write_merged
from flenwheel_core.records.commercial_use import mark_for_commercial_use
from flenwheel_core.records.exports import champion_export
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.records.provenance import reproduce as reproduce_record
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(lineage)
    app.command(reproduce)
    app.command(export)


def _store() -> tuple[Settings, Store]:
    settings = Settings()
    return settings, Store(settings.store_url, settings.store_options)


def lineage(id: str) -> None:
    """Show where a picture or LoRA comes from: prompts, seeds, models, scores, verdicts, and what it was made from.

    Parameters
    ----------
    id
        The first characters of a digest, or the path of a PNG or safetensors file.
    """
    _, store = _store()
    console.print("\n".join(Provenance(store).lineage(_digest_of(id)).lines()))


def reproduce(id: str) -> int:
    """Make a picture or LoRA again from its record and compare.

    Parameters
    ----------
    id
        The first characters of a digest, or the path of a PNG or safetensors file.
    """
    settings, _ = _store()
    with progress_sink() as sink:
        result = reproduce_record(settings, _digest_of(id), sink)
    console.print(("identical: " if result.identical else "different: ") + result.detail)
    return 0 if result.identical else 1


def export(
    character: str,
    folder: Path,
    *,
    turn: int | None = None,
    commercial: bool = False,
    allowed_by: str = "",
    merged: bool = False,
    single_file: Literal["bf16", "fp8"] | None = None,
) -> None:
    """Copy the champion LoRA of a character, with model card, pictures and provenance, into a folder.

    The card says the base model's licence.

    Parameters
    ----------
    character
        The character's name.
    folder
        Where the files go; existing files of the same names are kept unless they are equal.
    turn
        The turn whose export to take; the champion's if not given.
    commercial
        Mark it for commercial use, in commercial_use.json. Refused unless the licences of the base and of all models that made pictures of
        its pool are known to allow it.
    allowed_by
        With --commercial: what allows it where these licences do not, such as a licence you bought. It is written into the mark.
    merged
        Also write the whole base model with the LoRA in its weights, as a model folder: NAME-merged.
    single_file
        Also write the base's transformer with the LoRA in it as one file for ComfyUI's diffusion_models: bf16, or fp8 at half the size.
    """
    if allowed_by.strip() and not commercial:
        raise InputError("--allowed-by says why a LoRA may be used commercially.", remedy="Give --commercial with it.")
    settings, store = _store()
    request, result = champion_export(store, character, turn)
    files = {Path(file.name).name: store.get_blob(file.digest) for file in result.files}
    if commercial:
        files["commercial_use.json"] = mark_for_commercial_use(store, request, allowed_by).to_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        if path.exists() and path.read_bytes() != data:
            raise InputError(f"{path} is there already, with other content.", remedy="Choose another folder.")
        path.write_bytes(data)
        console.print(str(path))
    forms: list[Form] = [*(["folder"] if merged else []), *([single_file] if single_file else [])]  # type: ignore[list-item]
    lora, strength = request.lora, request.strength or 1.0
    for form in forms:
        data = store.get_blob(lora.digest)
        console.print(str(write_merged(lora, data, form, folder, settings, console.print, strength=strength)))


def _digest_of(id_: str) -> str:
    """A digest as it is, or the digest of a file's bytes."""
    from flenwheel_core.base.ids import digest_bytes

    path = Path(id_)
    return digest_bytes(path.read_bytes()) if path.is_file() else id_
