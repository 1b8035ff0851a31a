"""Model references: `nano`, a local folder, or `hub-id@revision`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.errors import MissingWeightsError, RecipeError

if TYPE_CHECKING:
    from flenwheel_core.settings import Settings


class ModelRole(StrEnum):
    """What a model is used as; with `nano` it names the folder."""

    GENERATOR = "flux"
    EDITOR = "editor"
    CAPTIONER = "vlm"
    VERIFIER = "embedder"
    READER = "reader"


def resolve_model(reference: str, role: ModelRole, settings: "Settings") -> Path:
    """The local folder of a model. Fetches from the Hub only if the reference names a hub model.

    Raises RecipeError for a hub id without a revision and MissingWeightsError if the files are not to be had.
    """
    if reference == "nano":
        from flenwheel_core.nano import weights_folder

        return weights_folder(role.value)
    folder = Path(reference).expanduser()
    if folder.is_dir():
        return folder
    hub_id, _, revision = reference.partition("@")
    if reference.startswith((".", "/", "~")) or hub_id.count("/") != 1:
        raise MissingWeightsError(
            f"There is no model folder {reference}.", remedy="Give an existing folder, `nano`, or hub-id@revision."
        )
    if not revision:
        raise RecipeError(
            f"The model reference {reference} names no revision.",
            why="a model that changes under a recipe cannot be reproduced.",
            remedy=f"Write {reference}@<commit>, as shown on the model's page.",
        )
    return _fetch(hub_id, revision, settings)


def _fetch(hub_id: str, revision: str, settings: "Settings") -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = snapshot_download(
            hub_id,
            revision=revision,
            cache_dir=settings.models / "hub",
            ignore_patterns=["*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.onnx", "*.py"],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise MissingWeightsError(
            f"The model {hub_id}@{revision} is not on this machine and could not be fetched.",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="Check the name and the network; gated models need `hf auth login`. `nano` needs neither.",
        ) from error
    return Path(path)
