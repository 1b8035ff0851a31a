"""The nano world: drawn characters in drawn views, with words that say exactly what a picture shows.

Everything is a function of seeds: the same character and view give the same picture everywhere.
"""

from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, POSES
from flenwheel_core.nano.world.captions import (
    SYLLABLES,
    Attributes,
    Expectation,
    attributes_of,
    caption,
    description,
    parse_caption,
    rare_name,
)
from flenwheel_core.nano.world.characters import (
    CLOTHINGS,
    EYE_COLOURS,
    HAIR_COLOURS,
    HAIRS,
    HELD_OUT_FROM,
    SKINS,
    Character,
    make_character,
)
from flenwheel_core.nano.world.instructions import (
    Change,
    apply_instruction,
    change_between,
    instruction,
    parse_instruction,
)
from flenwheel_core.nano.world.render import render
from flenwheel_core.nano.world.sheet import contact_sheet
from flenwheel_core.nano.world.spoiled import SPOIL_KINDS, Spoiled, SpoilKind, spoil
from flenwheel_core.nano.world.views import (
    BACKGROUNDS,
    LIGHTINGS,
    STYLES,
    View,
    make_edit,
    make_view,
    source_views,
)

__all__ = [
    "ANGLES",
    "BACKGROUNDS",
    "CLOTHINGS",
    "EXPRESSIONS",
    "EYE_COLOURS",
    "HAIRS",
    "HAIR_COLOURS",
    "HELD_OUT_FROM",
    "LIGHTINGS",
    "POSES",
    "SKINS",
    "SPOIL_KINDS",
    "STYLES",
    "SYLLABLES",
    "Attributes",
    "Change",
    "Character",
    "Expectation",
    "SpoilKind",
    "Spoiled",
    "View",
    "apply_instruction",
    "attributes_of",
    "caption",
    "change_between",
    "contact_sheet",
    "description",
    "instruction",
    "make_character",
    "make_edit",
    "make_view",
    "parse_caption",
    "parse_instruction",
    "rare_name",
    "render",
    "source_views",
    "spoil",
]
