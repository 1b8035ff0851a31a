"""Models on the Hub: what one needs, what of it is here, and fetching the rest.

Only the files that belong to the model are fetched (model_files). Size, gate and disk are looked at before the first byte of weights;
what arrived stays when a fetch breaks off (hub_parts); it is compared with the digests that the Hub names.
"""

import glob
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import FlenwheelError, MissingWeightsError, ResourceError, UserError
from flenwheel_core.models.digests import file_digests
from flenwheel_core.models.hub_parts import arrived_bytes, fetch_large, remove_left_parts
from flenwheel_core.models.model_files import PIPELINE_INDEX, ModelFiles, model_files, require_loadable

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo

    from flenwheel_core.base.settings import Settings

_SPARE_BYTES = 2**30
"""Free disk that a fetch leaves."""

TIMEOUT_SECONDS = 30.0
"""A network that swallows everything is known as none after this."""

_log = logging.getLogger(__name__)


class HubUnreachableError(MissingWeightsError):
    """The Hub does not answer, or the network is off."""


@dataclass(frozen=True)
class HubModel:
    """A model at one commit, as the Hub lists it."""

    hub_id: str
    revision: str
    """As it was asked for: a branch, a tag or the commit."""
    commit: str
    licence: str
    gated: bool
    sizes: Mapping[str, int]
    """Bytes of the model's own files, in order."""
    sha256: Mapping[str, str]
    """Digests of those that the Hub keeps as large files."""
    remaining_bytes: int
    """What is not on this machine yet; of a file that broke off, the rest."""

    @property
    def size_bytes(self) -> int:
        return sum(self.sizes.values())


def find_here(hub_id: str, revision: str, settings: "Settings") -> Path | None:
    """The folder of a model that was fetched to its end; None if anything is missing. Never asks the Hub."""
    folder = snapshot_here(hub_id, revision, settings)
    if folder is None:
        return None
    try:
        names: list[str] = json.loads(_receipt(folder).read_bytes())
    except (OSError, ValueError):
        return None
    return folder if all((folder / name).is_file() for name in names) else None


def find_without_network(hub_id: str, revision: str, settings: "Settings") -> Path | None:
    """The folder of a model that can be loaded, though nobody can be asked whether all its small files are there."""
    folder = snapshot_here(hub_id, revision, settings)
    if folder is None:
        return None
    try:
        require_loadable(folder, hub_id)
    except UserError:  # parts are missing, or what lies there is no model: a LoRA of the same repository alone
        return None
    return folder


def ask_hub(hub_id: str, revision: str, settings: "Settings") -> HubModel:
    """What the Hub says of a model; its index files are fetched to know its weights.

    Raises HubUnreachableError without network, MissingWeightsError for a model that is not there, gated for you, or has no safetensors.
    """
    from huggingface_hub import HfApi, hf_hub_download

    with explained(hub_id, revision):
        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS)
        commit = str(info.sha)
        listed = {file.rfilename: file for file in info.siblings or []}
        if not {PIPELINE_INDEX, "config.json"} & set(listed):
            raise MissingWeightsError(
                f"{hub_id} holds no model in diffusers or transformers format.",
                why=f"it has neither {PIPELINE_INDEX} nor config.json.",
                remedy="Name the repository that single-file copies were made from.",
            )

        def read(name: str) -> bytes:
            return Path(hf_hub_download(hub_id, name, revision=commit, cache_dir=hub_cache(settings))).read_bytes()

        files = model_files(listed, read)
    _require_safetensors(f"{hub_id}@{revision}", files)
    sizes = {name: int(listed[name].size or 0) for name in files.names}
    digests = {name: str(large.sha256) for name in files.names if (large := listed[name].lfs) is not None}
    folder = repository_folder(hub_id, settings)
    here = {name for name in files.names if (folder / "snapshots" / commit / name).is_file()}
    missing = sum(size for name, size in sizes.items() if name not in here)
    missing -= sum(arrived_bytes(folder, digest, sizes[name]) for name, digest in digests.items() if name not in here)
    return HubModel(hub_id, revision, commit, card_licence(info), bool(info.gated), sizes, digests, missing)


def card_licence(info: "ModelInfo | DatasetInfo") -> str:
    """The licence in a repository's model card."""
    card = info.card_data
    return str((card.get("license_name") or card.get("license")) if card is not None else "") or "not stated"


def require_access(model: HubModel) -> None:
    """Raises MissingWeightsError for a gated model whose terms you have not accepted. What is here needs no access."""
    if not (model.gated and model.remaining_bytes):
        return
    from huggingface_hub import HfApi

    with explained(model.hub_id, model.commit):
        HfApi().auth_check(model.hub_id)


def require_disk(models: Sequence[HubModel], settings: "Settings") -> None:
    """Raises ResourceError if what remains to be fetched does not fit the disk."""
    need, free = sum(model.remaining_bytes for model in models), free_disk_bytes(settings)
    if need and need + _SPARE_BYTES > free:
        raise ResourceError(
            f"The models need {need / 2**30:.1f} GiB more of disk, and {free / 2**30:.1f} GiB are free in {settings.models}.",
            why="weights that do not fit would break off half-way.",
            remedy="Free some space, or move the models folder: FLENWHEEL_MODELS.",
        )


def free_disk_bytes(settings: "Settings") -> int:
    """Free disk where models are kept."""
    place = settings.models.expanduser().absolute()
    return shutil.disk_usage(next(folder for folder in (place, *place.parents) if folder.exists())).free


def fetch(model: HubModel, settings: "Settings") -> Path:
    """Fetches what is missing of a model, gone on with where it broke off. Raises MissingWeightsError, ResourceError."""
    from huggingface_hub import snapshot_download

    require_access(model)
    require_disk([model], settings)
    if model.remaining_bytes:
        _log.info("fetching %s: %.1f GiB (%s)", model.hub_id, model.remaining_bytes / 2**30, model.licence)
    repository = repository_folder(model.hub_id, settings)
    with explained(model.hub_id, model.commit):
        fetch_large(repository, model.hub_id, model.commit, large_files(model))
        folder = Path(
            snapshot_download(
                model.hub_id,
                revision=model.commit,
                cache_dir=hub_cache(settings),
                allow_patterns=[glob.escape(name) for name in model.sizes],
            )
        )
    require_as_listed(model, folder, settings)
    remove_left_parts(repository)
    require_loadable(folder, f"{model.hub_id}@{model.commit}")
    receipt = _receipt(folder)
    receipt.parent.mkdir(parents=True, exist_ok=True)
    receipt.write_text(json.dumps(list(model.sizes)))
    if (
        model.revision != model.commit
    ):  # as the client does itself where it is given a branch: so that it is known without network
        branch = repository_folder(model.hub_id, settings) / "refs" / model.revision
        branch.parent.mkdir(parents=True, exist_ok=True)
        branch.write_text(model.commit)
    return folder


def large_files(model: HubModel) -> dict[str, tuple[str, int]]:
    """Digest and bytes of the files that the Hub keeps as large ones."""
    return {name: (digest, model.sizes[name]) for name, digest in model.sha256.items()}


def require_as_listed(model: HubModel, folder: Path, settings: "Settings") -> None:
    """Compares large files with the Hub's digests; one that differs is removed, so that the next fetch brings it anew."""
    names = list(model.sha256)
    found = file_digests([folder / name for name in names], settings.models / "digests")
    damaged = [name for name, digest in zip(names, found, strict=True) if digest != model.sha256[name]]
    for name in damaged:
        (folder / name).resolve().unlink(missing_ok=True)
        (folder / name).unlink(missing_ok=True)
    if damaged:
        raise MissingWeightsError(
            f"{', '.join(damaged)} of {model.hub_id} arrived damaged and was removed.",
            why="its bytes are not those that the Hub names.",
            remedy="Fetch it again; if it happens twice, check the disk and the network.",
        )


def _require_safetensors(name: str, files: ModelFiles) -> None:
    if files.pickled or files.missing:
        raise MissingWeightsError(
            f"The model {name} cannot be used.",
            why=f"it has no safetensors weights in {', '.join(files.pickled)}; pickles are never loaded."
            if files.pickled
            else f"it lacks {', '.join(files.missing[:3])}.",
            remedy="Name another model or revision, with .safetensors files in diffusers or transformers format.",
        )


def snapshot_here(hub_id: str, revision: str, settings: "Settings") -> Path | None:
    """The folder of what is here of a revision, whole or not."""
    folder = repository_folder(hub_id, settings)
    snapshot = folder / "snapshots" / revision
    if not snapshot.is_dir():
        try:
            snapshot = folder / "snapshots" / (folder / "refs" / revision).read_text().strip()
        except OSError:
            return None
    return snapshot if snapshot.is_dir() else None


def _receipt(snapshot: Path) -> Path:
    """Lists the files of a fetch that came to its end. Beside the snapshots, not in them."""
    return snapshot.parent.parent / "flenwheel" / f"{snapshot.name}.json"


def repository_folder(hub_id: str, settings: "Settings") -> Path:
    return hub_cache(settings) / f"models--{hub_id.replace('/', '--')}"


def hub_cache(settings: "Settings") -> Path:
    """Where the Hub's client keeps what it fetches."""
    return settings.models.expanduser().absolute() / "hub"


@contextmanager
def explained(hub_id: str, revision: str) -> Iterator[None]:
    """Turns the Hub client's errors into ours."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"{hub_id}@{revision}"
    try:
        yield
    except FlenwheelError:
        raise
    except GatedRepoError as error:
        raise MissingWeightsError(
            f"The model {hub_id} is gated, and you have no access to it yet.",
            why="its owners ask everybody to accept its terms first.",
            remedy=f"Accept them at https://huggingface.co/{hub_id}, then sign in with `hf auth login`.",
        ) from error
    except RevisionNotFoundError as error:
        raise MissingWeightsError(
            f"The model {hub_id} has no revision {revision}.",
            remedy="Check it on the model's page; `main` is the newest.",
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingWeightsError(
            f"There is no model {hub_id} on the Hub that you may read.",
            remedy="Check the name; private models need `hf auth login`.",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _unreachable(name, error) from error
    except Exception as error:
        if not type(error).__module__.startswith("httpx"):  # the client's transport: httpx, or httpx2 from release 2 on
            raise
        raise _unreachable(name, error) from error


def _unreachable(name: str, error: Exception) -> HubUnreachableError:
    return HubUnreachableError(
        f"The model {name} is not on this machine and could not be fetched.",
        why=(str(error).splitlines() or [""])[0] or type(error).__name__,
        remedy="Check the network, then try again: what arrived is kept. `nano` needs no network.",
    )
