"""Which kind of source a name stands for."""

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.given_path import given_path, is_file, is_folder
from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.hub_dataset import hub_paintings
from flenwheel_core.datasets.paintings import PaintingSource, SourceFacts
from flenwheel_core.datasets.parquet_files import ParquetPaintings, require_paintings
from flenwheel_core.datasets.picture_folder import FolderPaintings
from flenwheel_core.models.references import hub_reference, is_hub_id


def open_paintings(source: str, settings: Settings) -> PaintingSource:
    """A folder of pictures, a folder of Parquet files or one of them, or `hub-id@revision`.

    Raises InputError for what is neither, MissingWeightsError where the Hub says no.
    """
    path = given_path(source)
    if is_file(path) and path.suffix == ".parquet":
        require_paintings(path)
        return ParquetPaintings(
            [path.name], lambda name: path, SourceFacts(name=path.name, revision=None, licence="not stated")
        )
    if is_folder(path):
        found = {str(file.relative_to(path)): file for file in sorted(path.rglob("*.parquet"))}
        if not found:
            return FolderPaintings(path)
        require_paintings(next(iter(found.values())))
        facts = SourceFacts(name=path.name, revision=None, licence="not stated")
        return ParquetPaintings(list(found), found.__getitem__, facts)
    reference = hub_reference(source)
    if reference is not None:
        return hub_paintings(*reference, settings)
    if is_hub_id(source):
        raise InputError(
            f"{source} names no revision.", remedy=f"Write {source}@main: its commit is kept with the set."
        )
    raise InputError(
        f"There is no source of paintings {source}.", remedy="Give a folder, a .parquet file, or hub-id@revision."
    )
