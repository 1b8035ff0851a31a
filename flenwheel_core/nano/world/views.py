"""Views: everything of a picture that is not the character."""

from dataclasses import dataclass, replace

from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, POSES
from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.characters import CLOTHINGS
from flenwheel_core.nano.world.version import shipped_world

BACKGROUNDS = ("studio", "forest", "beach", "urban", "mountain", "desert", "night city")
LIGHTINGS = ("day", "sunset", "night", "studio")
STYLES = ("photo", "sketch", "flat", "watercolor")

YAW_DEGREES: dict[str, float] = {
    "front": 0,
    "half-left": -42,
    "profile-left": -86,
    "half-right": 42,
    "profile-right": 86,
}
"""How far the head is turned; negative is towards the left edge of the picture."""


@dataclass(frozen=True, slots=True)
class View:
    """How a character is shown. `clothing` None means the character's own; `seed` sets framing and small details."""

    angle: str = "front"
    expression: str = "neutral"
    pose: str = "portrait"
    background: str = "studio"
    lighting: str = "day"
    clothing: str | None = None
    style: str = "photo"
    seed: int = 0
    companion: int | None = None
    """In world 2: the seed of somebody else who stands on the right of a portrait, the character on its left."""


VARIED = ("pose", "expression", "angle", "background", "lighting", "clothing", "style")
"""The fields of a view that words can say, in the order in which captions say them."""

CHOICES: dict[str, tuple[str, ...]] = {
    "pose": POSES,
    "expression": EXPRESSIONS,
    "angle": ANGLES,
    "background": BACKGROUNDS,
    "lighting": LIGHTINGS,
    "clothing": CLOTHINGS,
    "style": STYLES,
}


def make_view(seed: int, *, portrait_share: float = 0.8) -> View:
    """The view of a seed: mostly photos, mostly in the character's own clothing."""
    chance = chance_of(seed, "view")
    portrait = chance.random() < portrait_share
    body_pose = chance.choice(POSES[1:])
    clothing = chance.choice(CLOTHINGS)
    style = chance.choice(STYLES[1:])
    return View(
        angle=chance.choice(ANGLES),
        expression=chance.choice(EXPRESSIONS),
        pose="portrait" if portrait else body_pose,
        background=chance.choice(BACKGROUNDS),
        lighting=chance.choice(LIGHTINGS),
        clothing=clothing if chance.random() < 0.2 else None,
        style=style if chance.random() < 0.2 else "photo",
        seed=chance.randrange(1 << 30),
    )


def make_edit(source: View, seed: int) -> View:
    """A view that differs from `source` in one to four things that words can say, and in nothing else."""
    chance = chance_of(seed, "edit")
    weights = {"pose": 2, "expression": 5, "angle": 5, "background": 5, "lighting": 3, "clothing": 2, "style": 2}
    number = chance.choice((1, 1, 2, 3, 3, 4))
    fields: list[str] = []
    while len(fields) < number:
        field = chance.choices(list(weights), list(weights.values()))[0]
        if field not in fields:
            fields.append(field)
    changed = {
        field: chance.choice([value for value in CHOICES[field] if value != getattr(source, field)]) for field in fields
    }
    return replace(source, **changed)  # type: ignore[arg-type]


def source_views(seed: int, number: int, world: int | None = None) -> tuple[View, ...]:
    """Views a user's folder would hold, in a world (None: that of the shipped models).

    World 1: mostly plain portraits, few expressions, one full body; the card's cells stay mostly empty. World 2, as people bring them:
    seven of ten from the front, two or three expressions, half of them before the same background, and one full body.
    """
    if (shipped_world() if world is None else world) > 1:
        return _brought_views(seed, number)
    views = []
    for index in range(number):
        body = index % 6 == 5
        views.append(
            View(
                angle="front" if body else ANGLES[index % len(ANGLES)],
                expression=EXPRESSIONS[(index * 3) % len(EXPRESSIONS)],
                pose="standing" if body else "portrait",
                background=BACKGROUNDS[(index * 2 + 1) % len(BACKGROUNDS)],
                lighting=LIGHTINGS[(index + index // 4) % len(LIGHTINGS)],
                seed=seed * 1000 + index,
            )
        )
    return tuple(views)


def _brought_views(seed: int, number: int) -> tuple[View, ...]:
    """What people bring; the same plan for every character, other places and faces."""
    chance = chance_of(seed, "brought")
    often, *others = chance.sample(BACKGROUNDS, 4)
    faces = chance.sample(EXPRESSIONS, 3)
    turned = chance.choice((("half-left", "half-right", "half-left"), ("half-right", "profile-left", "half-left")))
    views = []
    for index in range(number):
        side = index % 3 == 1 and index < 9
        views.append(
            View(
                angle=turned[index // 3] if side else "front",
                expression=faces[(0, 0, 1, 0, 1, 0, 2)[index % 7]],
                pose="standing" if index == 5 else "portrait",
                background=often if index % 2 == 0 else others[index // 2 % 3],
                lighting="day" if index % 3 else chance.choice(LIGHTINGS),
                seed=seed * 1000 + index,
            )
        )
    return tuple(views)
