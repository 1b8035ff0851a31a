"""Photos of identities, from folders such as `seed_123` with `photo_view_*.png`, or from a character of the workspace."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.given_path import given_path
from flenwheel_core.documents.wording import mention
from flenwheel_core.engine.job import class_caption
from flenwheel_core.images.decode import decode
from flenwheel_core.library.characters import Library
from flenwheel_core.library.doubts import trained_on
from flenwheel_core.requests.inject import InjectionIdentity, InjectionPhoto
from flenwheel_core.store import Store

VIEWS = "photo_view_*.png"
MEASURED_FROM = 4
"""From so many photos on, every fourth is held out: pictures are measured by what nothing was made from."""


def folder_identities(folders: Sequence[str], store: Store, *, words: str) -> tuple[InjectionIdentity, ...]:
    """One identity a folder, in this order, named after it. Raises InputError, in one sentence, for what cannot be used.

    A `.txt` of the same name beside a photo describes who is in it.
    """
    if not folders:
        raise InputError("No folder of photos was named.", remedy="Name one or more: --seed-dirs seed_1,seed_2.")
    paths = [given_path(folder) for folder in folders]
    names = [path.resolve().name for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"Two folders are called {twice[0]}.",
            why="their results would overwrite each other.",
            remedy="Rename one of them.",
        )
    return tuple(_identity(name, path, store, words) for name, path in zip(names, paths, strict=True))


def _identity(name: str, folder: Path, store: Store, words: str) -> InjectionIdentity:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", remedy="Name existing folders with --seed-dirs.")
    files = sorted(folder.glob(VIEWS))
    if not files:
        raise InputError(
            f"{folder} holds no {VIEWS}.",
            remedy="Name the photos of a person photo_view_1.png, photo_view_2.png and so on.",
        )
    photos = []
    for file in files:
        picture = decode(file.read_bytes(), file.name).image
        said = file.with_suffix(".txt")
        text = said.read_text(errors="replace").strip() if said.is_file() else ""
        described = text if not text or mention(text, words) else f"a {words} with {text}"
        photos.append(
            InjectionPhoto(image=store.put_blob(_png(picture)), described=described, name=f"{name}/{file.name}")
        )
    return split(name, photos)


def character_identity(name: str, library: Library, store: Store) -> InjectionIdentity:
    """A character by its sources: those of its pool once there are some, else the pictures that were given. Raises InputError."""
    known = library.character(name)
    if known.kind == "style":
        raise InputError(f"{name} is a style: nobody is to be seen in it.", remedy="Name a character.")
    real = [entry.image for entry in trained_on(store, name) if entry.real]
    photos = [(image.digest, image.caption or "") for image in real]
    for source in () if real else library.sources(name):
        picture = decode(store.get_blob(source.digest), source.name).image
        photos.append((store.put_blob(_png(picture)), source.caption or ""))
    if not photos:
        raise InputError(f"{name} has no pictures yet.", remedy=f"Give some: flenwheel ingest {name} FOLDER.")
    found = [
        InjectionPhoto(image=image, caption=class_caption(caption, known.trigger, known.class_word) if caption else "")
        for image, caption in photos
    ]
    return split(name, found)


def other_characters(name: str, library: Library, store: Store) -> tuple[InjectionIdentity, ...]:
    """Who else is in the workspace: for the control `shuffled`, and to learn from."""
    found = []
    for other in library.characters():
        if other == name:
            continue
        try:
            found.append(character_identity(other, library, store))
        except (InputError, NotFoundError):
            continue  # a style, or one without pictures
    return tuple(found)


def split(name: str, photos: Sequence[InjectionPhoto]) -> InjectionIdentity:
    """Every fourth photo is held out for measuring, where there are four or more."""
    held = photos[MEASURED_FROM - 1 :: MEASURED_FROM]
    kept = [photo for photo in photos if photo not in held]
    return InjectionIdentity(name=name, photos=tuple(kept), held_out=tuple(photo.image for photo in held))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
