"""The pages of styles: a study for readers, and its blind pairs."""

from fastapi import APIRouter
from fastapi.responses import Response

from deployments.studio.library_api import CharacterName
from deployments.studio.pages import render
from deployments.studio.studio import TheStudio
from deployments.studio.style_api import StudyKey, study_view
from flenwheel_core.evaluation.memorised import TELLING_BITS, how_near
from flenwheel_core.evaluation.style_ranks import KNOWN_FROM
from flenwheel_core.library.studies import Studies
from flenwheel_core.requests.style_study import StudiedWay

router = APIRouter()
PAINTINGS = 8
"""Of the style, shown beside blind pairs."""


@router.get("/styles/{name}/{study}")
def study(studio: TheStudio, name: CharacterName, study: StudyKey) -> Response:
    """Every way with its measures, style against content over the strengths, and the grid."""
    view = study_view(studio, name, study)
    asked, found = Studies(studio.store).result(study)
    grid = [
        {
            "scene": scene.prompt,
            "pictures": [
                {
                    "way": way,
                    "image": near.image,
                    "near": near,
                    "said": how_near(near.bits, mirrored=near.mirrored),
                    "told": near.bits <= TELLING_BITS,
                }
                for way in found.ways
                for near in (way.nearest[place],)
            ],
        }
        for place, scene in enumerate(asked.scenes)
    ]
    return render(
        studio,
        "study.html",
        section="Characters",
        name=name,
        key=study,
        view=view,
        ways=sorted(found.ways, key=lambda way: way.style.distance),
        columns=found.ways,
        grid=grid,
        strengths=_strengths(found.ways),
        csd_known_from=KNOWN_FROM,
    )


@router.get("/styles/{name}/{study}/pairs")
def pairs(studio: TheStudio, name: CharacterName, study: StudyKey) -> Response:
    """Two pictures at a time, nothing said of either."""
    view = study_view(studio, name, study)
    asked, _ = Studies(studio.store).result(study)
    kept = [record.digest for record in studio.store.get_images(asked.against.held_out)[:PAINTINGS]]
    return render(studio, "pairs.html", section="Characters", name=name, key=study, view=view, paintings=kept)


def _strengths(ways: tuple[StudiedWay, ...]) -> list[dict[str, object]]:
    """Series of style gained and content kept, a LoRA at a time, for those that were drawn at several strengths."""
    loras: dict[str, list[StudiedWay]] = {}
    for one in ways:
        if one.way.lora is not None:
            loras.setdefault(one.way.lora, []).append(one)
    found: list[dict[str, object]] = []
    for several in loras.values():
        if len(several) > 1:
            order = sorted(several, key=lambda one: one.way.strength)
            found.append(
                {
                    "name": order[0].way.name.rpartition(" at ")[0],
                    "strength": [one.way.strength for one in order],
                    "distance": [one.style.distance for one in order],
                    "low": [one.style.low for one in order],
                    "high": [one.style.high for one in order],
                    "content": [one.style.content for one in order],
                }
            )
    return found
