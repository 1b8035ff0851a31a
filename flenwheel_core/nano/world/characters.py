"""Characters of the nano world: named traits that captions can say, and small continuous ones that only pictures show."""

import random
from dataclasses import dataclass, fields, replace
from typing import Literal

from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.extras import NO_EXTRAS, SIBLING_EVERY, Extras, draw_extras, draw_marks
from flenwheel_core.nano.world.version import shipped_world

Rgb = tuple[int, int, int]

SKINS: dict[str, Rgb] = {
    "pale": (250, 224, 208),
    "fair": (243, 205, 180),
    "light": (229, 184, 151),
    "olive": (206, 164, 122),
    "tan": (190, 138, 97),
    "brown": (150, 100, 68),
    "dark": (108, 70, 48),
    "deep": (78, 50, 38),
}
HAIR_COLOURS: dict[str, Rgb] = {
    "black": (32, 28, 30),
    "brown": (88, 56, 36),
    "auburn": (128, 52, 34),
    "red": (190, 78, 32),
    "blonde": (224, 184, 98),
    "platinum": (236, 226, 202),
    "grey": (150, 150, 154),
    "blue": (50, 92, 190),
    "pink": (228, 110, 160),
    "green": (52, 140, 92),
}
EYE_COLOURS: dict[str, Rgb] = {
    "brown": (94, 58, 30),
    "blue": (56, 120, 200),
    "green": (60, 146, 84),
    "hazel": (150, 112, 50),
    "grey": (124, 136, 148),
}
CLOTHING_COLOURS: dict[str, Rgb] = {
    "red": (196, 48, 48),
    "blue": (52, 88, 182),
    "green": (54, 132, 76),
    "yellow": (230, 190, 58),
    "purple": (120, 66, 160),
    "orange": (230, 122, 44),
    "white": (236, 236, 232),
    "black": (46, 46, 52),
    "teal": (36, 140, 146),
    "pink": (232, 138, 170),
}
FACES = ("round", "oval", "square", "long", "heart-shaped")
LONG_HAIRS = ("bob", "long straight", "long wavy", "ponytail", "bun")
HAIRS = ("bald", "buzzed", "short", "spiky", "curly", "afro", "mohawk", *LONG_HAIRS)
BROWS = ("thin", "thick", "bushy")
GLASSES = ("none", "round", "square")
BEARDS = ("none", "stubble", "moustache", "goatee", "full beard")
GARMENTS = ("t-shirt", "hoodie", "striped shirt", "collared shirt")
FRINGES = ("none", "straight", "side")
CLOTHINGS = tuple(f"{colour} {garment}" for garment in GARMENTS for colour in CLOTHING_COLOURS)

Side = Literal["none", "left", "right"]

HELD_OUT_FROM = 1_000_000
"""Characters from this seed on are never trained on; tests and benchmarks use only those."""


@dataclass(frozen=True, slots=True)
class Proportions:
    """What makes two people with the same description look different; each in [-1, 1]."""

    face_width: float
    jaw: float
    hair_length: float
    hairline: float
    eye_size: float
    eye_spacing: float
    nose_length: float
    nose_size: float
    mouth_width: float
    neck: float
    shoulders: float


@dataclass(frozen=True, slots=True)
class Character:
    """One person of the nano world. Nothing of it changes between views, unless a view says other clothing."""

    seed: int
    skin: str
    face: str
    hair: str
    hair_colour: str
    fringe: str
    eyes: str
    brows: str
    glasses: str
    beard: str
    freckles: bool
    scar: Side
    earrings: bool
    clothing_colour: str
    garment: str
    proportions: Proportions
    skin_rgb: Rgb
    hair_rgb: Rgb
    extras: Extras = NO_EXTRAS

    @property
    def clothing(self) -> str:
        """What the character wears unless a view says otherwise, such as `red hoodie`."""
        return f"{self.clothing_colour} {self.garment}"


def make_character(seed: int, world: int | None = None) -> Character:
    """The character of a seed in a world (None: that of the shipped models), the same one everywhere and always."""
    if (shipped_world() if world is None else world) == 1:
        return _plain_character(seed)
    if seed % SIBLING_EVERY == SIBLING_EVERY - 1:
        return _sibling(make_character(seed - 1, 2), seed)
    return replace(_plain_character(seed), extras=draw_extras(chance_of(seed, "extras")))


def _sibling(other: Character, seed: int) -> Character:
    """Somebody with the same description but for one or two traits, other proportions, and marks of their own."""
    chance = chance_of(seed, "sibling")
    own = _plain_character(seed)
    changed = {name: getattr(own, name) for name in chance.sample(("eyes", "brows", "fringe", "clothing_colour"), 2)}
    near = {
        field.name: max(-1.0, min(1.0, getattr(other.proportions, field.name) + chance.uniform(-0.8, 0.8)))
        for field in fields(Proportions)
    }
    extras = replace(other.extras, marks=draw_marks(chance))
    if chance.random() < 0.5:
        extras = replace(draw_extras(chance), marks=extras.marks)
    return replace(
        other,
        seed=seed,
        scar=own.scar,
        freckles=own.freckles,
        proportions=Proportions(**near),
        extras=extras,
        **changed,
    )


def _plain_character(seed: int) -> Character:
    """The character of a seed in world 1."""
    chance = chance_of(seed, "character")
    hair = chance.choice(HAIRS)
    long_hair = hair in LONG_HAIRS
    beard = "none" if chance.random() < (0.92 if long_hair else 0.4) else chance.choice(BEARDS[1:])
    skin = chance.choice(tuple(SKINS))
    hair_colour = chance.choice(tuple(HAIR_COLOURS))
    return Character(
        seed=seed,
        skin=skin,
        face=chance.choice(FACES),
        hair=hair,
        hair_colour=hair_colour,
        fringe=chance.choice(FRINGES),
        eyes=chance.choice(tuple(EYE_COLOURS)),
        brows=chance.choice(BROWS),
        glasses=chance.choice(("none", "none", "none", "round", "square")),
        beard=beard,
        freckles=chance.random() < 0.22,
        scar=chance.choice(("none",) * 8 + ("left", "right")),
        earrings=chance.random() < (0.4 if long_hair else 0.12),
        clothing_colour=chance.choice(tuple(CLOTHING_COLOURS)),
        garment=chance.choice(GARMENTS),
        proportions=Proportions(*(chance.uniform(-1, 1) for _ in range(11))),
        skin_rgb=_near(SKINS[skin], chance),
        hair_rgb=_near(HAIR_COLOURS[hair_colour], chance),
    )


def _near(rgb: Rgb, chance: random.Random) -> Rgb:
    """A colour close enough to keep its name."""
    red, green, blue = (max(14, min(252, channel + chance.randint(-8, 8))) for channel in rgb)
    return red, green, blue
