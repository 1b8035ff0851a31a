"""All parts of a training on one machine: who learns where."""

from flenwheel_core.models.embedded import weights_folder
from tools.nano_training.together import parts_of


def test_parts_share_the_cards_that_there_are() -> None:
    alone = parts_of(400, 1, fresh=False)
    assert {part.card for part in alone} == {0}
    four = {part.name: part for part in parts_of(400, 4, fresh=False)}
    assert {part.card for part in four.values()} == {0, 1, 2, 3}
    assert four["vlm"].card == four["editor"].card and four["vlm"].seconds < 0.5 * four["editor"].seconds
    assert four["flux"].init == weights_folder("flux") and four["siblings"].init is None
    fresh = {part.name: part for part in parts_of(400, 4, fresh=True)}
    assert fresh["flux"].init is None and {"vae", "qwen-vae"} <= set(fresh)
