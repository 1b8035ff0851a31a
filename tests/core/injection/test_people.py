"""A photo of two people is refused by name, before anything is learned from it."""

import pytest
from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.injection.people import require_one_person
from tests.kit.faces import astronaut, hopper, without_face


def test_two_people_are_one_too_many(settings: Settings) -> None:
    both = Image.new("RGB", (1024, 512))
    both.paste(astronaut(), (0, 0))
    both.paste(hopper().resize((512, 600)).crop((0, 0, 512, 512)).resize((256, 256)), (600, 60))
    with open_verifier("face", settings) as verifier:
        require_one_person(
            verifier, [("a/photo_view_1.png", astronaut()), ("a/photo_view_2.png", without_face("rocket"))]
        )
        with pytest.raises(InputError, match=r"a/photo_view_3\.png shows several people"):
            require_one_person(verifier, [("a/photo_view_3.png", both)])
