"""All parts of a training on one machine: who learns where, and what is kept."""

import json
from pathlib import Path

from flenwheel_core.models.embedded import weights_folder
from tools.nano_training.together import collect, parts_of


def test_parts_share_the_cards_that_there_are() -> None:
    alone = parts_of(400, 1, fresh=False)
    assert {part.card for part in alone} == {0}
    four = {part.name: part for part in parts_of(400, 4, fresh=False)}
    assert {part.card for part in four.values()} == {0, 1, 2, 3}
    assert four["vlm"].card == four["editor"].card and four["vlm"].seconds < 0.5 * four["editor"].seconds
    assert four["flux"].init == weights_folder("flux") and four["siblings"].init is None
    fresh = {part.name: part for part in parts_of(400, 4, fresh=True)}
    assert fresh["flux"].init is None and {"vae", "qwen-vae"} <= set(fresh)


def test_what_is_finished_is_kept_in_the_layout_of_the_weights(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    for name in ("flux", "siblings_base"):
        (work / name).mkdir(parents=True)
        (work / name / "model.txt").write_text(name)
    (work / "flux.json").write_text('{"steps": 3}')
    assert collect(work, out, 2) == ["flux", "siblings"]
    assert (out / "siblings" / "model.txt").read_text() == "siblings_base"
    assert json.loads((out / "world.json").read_text()) == {"world": 2}
    assert json.loads((out / "training.json").read_text()) == {"flux": {"steps": 3}}
