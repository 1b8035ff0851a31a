"""What work outside of a turn needs of a character is there whole, or a person is told what to do."""

import pytest

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.library.characters import Character, CharacterFacts, Library, PoolEntry
from flenwheel_core.library.training_pool import training_pool
from flenwheel_core.store import Store
from tests.kit.turn_world import FINGERPRINT

ZERO = "0" * 64


def test_a_pool_has_pictures_and_a_fingerprint(settings: Settings) -> None:
    library = Library(Store(settings.store_url))
    with pytest.raises(NotFoundError):
        training_pool(library, "mira")
    mira = Character(name="mira", trigger="ohwx_char", class_word="person", kind="subject", recipe="nano")
    library.create_character(mira)
    with pytest.raises(InputError, match="no training pool yet") as refused:
        training_pool(library, "mira")
    assert "flenwheel run mira" in str(refused.value.remedy)
    image = ImageRecord(
        digest=ZERO, width=8, height=8, kind=ImageKind.SOURCE, stage="ingest", request=ZERO, item="1.png"
    )
    entry = PoolEntry(image=image, caption="", real=True, turn=1, gate=None)
    library.add_to_pool("mira", [entry])
    with pytest.raises(InputError, match="no training pool yet"):
        training_pool(library, "mira")
    library.freeze_facts("mira", CharacterFacts(sources=ZERO, fingerprint=FINGERPRINT))
    pool = training_pool(library, "mira")
    assert (pool.character, pool.entries, pool.fingerprint) == (mira, [entry], FINGERPRINT)
