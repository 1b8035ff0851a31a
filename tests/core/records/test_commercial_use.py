"""A LoRA is marked for commercial use only where every model that went into it allows it, or a person says what does."""

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.records.commercial_use import mark_for_commercial_use
from flenwheel_core.requests.export import ExportRequest
from flenwheel_core.store import Store

FREE, DEV = "black-forest-labs/FLUX.2-klein-base-4B@main", "black-forest-labs/FLUX.1-dev@main"


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings.store_url)


def exported(store: Store, base: str, *makers: str | None) -> ExportRequest:
    """The export of a LoRA whose pool has pictures of these makers; None: a source."""
    pool = [
        ImageRecord(
            digest=f"{number}" * 64,
            width=64,
            height=64,
            kind=ImageKind.SOURCE if maker is None else ImageKind.ENRICHED,
            model=maker,
            stage="enrich",
            request="1" * 64,
            item=str(number),
        )
        for number, maker in enumerate(makers)
    ]
    lora = LoraRecord(
        digest="a" * 64,
        name="mira-v1",
        target="generator",
        base_model=base,
        trigger="ohwx",
        class_word="cat",
        rank=4,
        alpha=4.0,
        steps=1,
        images=1,
        dataset="b" * 64,
        request="c" * 64,
    )
    mira = CharacterRef(name="mira", trigger="ohwx", class_word="cat", kind="subject")
    return ExportRequest(character=mira, lora=lora, sources="d" * 64, pool=store.put_images(pool), turn=1)


def test_free_models_allow_it_and_are_named_in_the_mark(store: Store) -> None:
    mark = mark_for_commercial_use(store, exported(store, FREE, None, "Qwen/Qwen-Image-Edit-2509@main+nf4", FREE))
    assert [(one.model.partition("@")[0], one.use, one.licence) for one in mark.models] == [
        ("black-forest-labs/FLUX.2-klein-base-4B", "base", "Apache-2.0"),
        ("Qwen/Qwen-Image-Edit-2509", "made enriched images of the pool", "Apache-2.0"),
    ]


@pytest.mark.parametrize(
    ("base", "maker", "said"),
    [
        (DEV, None, "FLUX.1-dev@main (base): FLUX.1 [dev] Non-Commercial License, not for commercial use"),
        (FREE, "black-forest-labs/FLUX.1-Kontext-dev@main", "made enriched images of the pool"),
        ("Qwen/Qwen2.5-VL-3B-Instruct@main", None, "Qwen Research License, non-commercial, not for commercial use"),
        (FREE, "somebody/editor@main", "licence not known"),
    ],
)
def test_any_model_that_does_not_allow_it_refuses_it_unless_a_person_says_what_does(
    store: Store, base: str, maker: str | None, said: str
) -> None:
    request = exported(store, base, maker)
    for blank in ("", "  "):
        with pytest.raises(InputError, match="cannot be marked") as caught:
            mark_for_commercial_use(store, request, blank)
        assert said in (caught.value.why or "")
    assert mark_for_commercial_use(store, request, "licence 17 of BFL").allowed_by == "licence 17 of BFL"
