"""A style with a finished study: paintings for what its LoRA drew, photos for what the base drew. Nothing is trained or drawn."""

from datetime import UTC, datetime

from PIL import Image

from flenwheel_core.documents.images import ImageKind, ImageRecord, Sampler
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import StyleScore
from flenwheel_core.evaluation.memorised import nearest_paintings
from flenwheel_core.evaluation.style_distance import Style
from flenwheel_core.identity.fingerprint import make_fingerprint
from flenwheel_core.identity.style_verifier import StyleVerifier
from flenwheel_core.images.quality import measure
from flenwheel_core.images.style_features import features_of
from flenwheel_core.library.characters import Character, CharacterFacts, Library, PoolEntry
from flenwheel_core.library.studies import BlindPair, Choice, PairVerdict, Studies
from flenwheel_core.nano.paintings import painting, scene
from flenwheel_core.nano.world.render import render
from flenwheel_core.requests.benchmark import StyleMeasure
from flenwheel_core.requests.style_study import (
    NearestPainting,
    StudiedPhotos,
    StudiedWay,
    StyleStudyRequest,
    StyleStudyResult,
    Way,
)
from flenwheel_core.stages.style_study import strength_of
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture

MONET = Character(name="monet", trigger="ohwx_style", class_word="style", kind="style", recipe="nano_style")
SAMPLER = Sampler(width=128, height=128)
LORA = "b" * 64
SCENES = 3


def kept(store: Store, images: list[Image.Image], kind: ImageKind, way: str) -> list[ImageRecord]:
    """Pictures in the store."""
    return [
        save_picture(
            store,
            image,
            ImageRecord(
                digest="0" * 64, width=1, height=1, kind=kind, stage="generate", request=f"{len(way):064x}",
                item=f"{way} {index}", prompt=f"scene {index}",
            ),
        )
        for index, image in enumerate(images)
    ]  # fmt: skip


def studied_style(store: Store) -> StyleStudyRequest:
    """The style `monet` with four paintings in its pool, two that are kept back, and a study of four ways."""
    library = Library(store)
    library.create_character(MONET)
    trained = [painting(601, seed) for seed in range(4)]
    pool = kept(store, trained, ImageKind.SOURCE, "painting")
    back = kept(store, [painting(601, 50 + seed) for seed in range(2)], ImageKind.SOURCE, "kept back")
    eyes = StyleVerifier()
    fingerprint = make_fingerprint(
        [record.digest for record in pool], [one.embedding or () for one in eyes.embed(trained)], eyes.threshold_rule,
        verifier=eyes.name, verifier_version=eyes.version,
    )  # fmt: skip
    held_out = store.put_images(back)
    library.freeze_facts(
        "monet", CharacterFacts(sources=store.put_images(pool + back), fingerprint=fingerprint, held_out=held_out)
    )
    entries = [PoolEntry(image=record, caption="a scene", real=True, turn=1, gate=None) for record in pool]
    library.add_to_pool("monet", entries)
    ways = (
        Way(name="base", base="nano", sampler=SAMPLER),
        Way(name="“watercolor”", base="nano", sampler=SAMPLER, words="watercolor"),
        *(
            Way(
                name=f"monet-t1-v1 at {strength:g}", base="nano", sampler=SAMPLER, words=MONET.ref().words, lora=LORA,
                strength=strength, choice="rank 8, single_late",
            )
            for strength in (0.5, 1.0)
        ),
    )  # fmt: skip
    photos = [render(*scene(400 + seed)) for seed in range(3)]
    beside = store.put_images(kept(store, photos, ImageKind.SOURCE, "photo"))
    Studies(store).keep_photos("monet", beside)
    request = StyleStudyRequest(
        character=MONET.ref(),
        ways=ways,
        scenes=tuple(GenerateItem(key=f"card-{n}", prompt=f"scene {n}", seed=n) for n in range(SCENES)),
        against=StyleMeasure(held_out=held_out, paintings=store.put_images(pool), content_margin=0.02),
        fingerprint=fingerprint,
        verifier=eyes.name,
        photos=beside,
        chosen_lora=LORA,
    )
    style = Style(features_of([painting(601, 50 + seed) for seed in range(4)]))
    drawn = [
        [render(*scene(200 + seed)) for seed in range(SCENES)],
        [painting(640, 200 + seed) for seed in range(SCENES)],
        [painting(620, 200 + seed) for seed in range(SCENES)],
        [painting(601, 200 + seed) for seed in range(SCENES)],
    ]
    found = tuple(
        _studied(store, way, images, style, trained, pool, content)
        for way, images, content in zip(ways, drawn, (1.0, 0.98, 0.97, 0.95), strict=True)
    )
    away = style.distance(features_of(photos))
    store.put_request(request)
    store.put_result(
        request,
        StyleStudyResult(
            ways=found, named="“watercolor”", strength=strength_of(found, LORA, margin=0.02),
            photos=StudiedPhotos(images=beside, distance=away.total, low=away.low, high=away.high, gain=(-0.3, -0.5, -0.1)),
        ),
    )  # fmt: skip
    Studies(store).add("monet", "monet-t1", request)
    return request


def _studied(
    store: Store,
    way: Way,
    images: list[Image.Image],
    style: Style,
    trained: list[Image.Image],
    pool: list[ImageRecord],
    content: float,
) -> StudiedWay:
    records = kept(store, images, ImageKind.SYNTHETIC, way.name)
    distance = style.distance(features_of(images))
    near = nearest_paintings([measure(image) for image in images], [measure(image) for image in trained])
    return StudiedWay(
        way=way,
        images=store.put_images(records),
        style=StyleScore(
            distance=distance.total, low=distance.low, high=distance.high, parts=dict(distance.parts), content=content,
            copied=0,
        ),
        pass_rate=0.5,
        gain=None if way.words == "watercolor" else (0.4, 0.1, 0.7),
        nearest=tuple(
            NearestPainting(
                image=record.digest, painting=pool[one.index].digest, bits=one.bits, mirrored=one.mirrored,
                copied=one.copied,
            )
            for record, one in zip(records, near, strict=True)
        ),
    )  # fmt: skip


def verdict(pair: BlindPair, choice: Choice | None, author: str = "ana") -> PairVerdict:
    """What somebody said of a pair."""
    return PairVerdict(
        at=datetime.now(UTC), author=author, pair=pair.id, first=pair.first, second=pair.second, choice=choice
    )
