"""Paintings of a data set on the Hub, at the commit it had when it was first asked for. Files are fetched when they are read."""

from pathlib import Path

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.paintings import SourceFacts
from flenwheel_core.datasets.parquet_files import ParquetPaintings, require_paintings
from flenwheel_core.models.hub import TIMEOUT_SECONDS, card_licence, explained, hub_cache


def hub_paintings(hub_id: str, revision: str, settings: Settings) -> ParquetPaintings:
    """The Parquet files of a data set. Raises HubUnreachableError without network, InputError if it has none."""
    from huggingface_hub import HfApi, hf_hub_download

    with explained(hub_id, revision):
        info = HfApi().dataset_info(hub_id, revision=revision, timeout=TIMEOUT_SECONDS)
    commit = str(info.sha)
    names = sorted(file.rfilename for file in info.siblings or [] if file.rfilename.endswith(".parquet"))
    if not names:
        raise InputError(
            f"The data set {hub_id} has no Parquet files.",
            remedy="Name one that has, or fetch it yourself and give its folder.",
        )

    def fetched(name: str) -> Path:
        with explained(hub_id, commit):
            found = hf_hub_download(hub_id, name, repo_type="dataset", revision=commit, cache_dir=hub_cache(settings))
        return Path(found)

    require_paintings(fetched(names[0]))
    return ParquetPaintings(names, fetched, SourceFacts(name=hub_id, revision=commit, licence=card_licence(info)))
