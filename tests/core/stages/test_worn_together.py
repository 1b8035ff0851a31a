"""A comparison on a model that is base and editor: a character's edits are made once more with its own LoRA beside the editor's."""

import threading
from pathlib import Path

from flenwheel_core.adapters.lora_file import lora_bytes
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import LoraUse, Sampler
from flenwheel_core.lessons.gather import Lessons
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.reports.editor_report import editor_report
from flenwheel_core.requests.edit_compare import ComparedEdit, EditCompareRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.edit_compare import edit_compare
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png
from tests.kit.tiny_editor import picture
from tests.kit.tiny_klein import save_tiny, trained

SAMPLER = Sampler(steps=2, guidance=1.0, true_cfg=1.0, width=64, height=64)


def test_only_characters_with_a_lora_on_this_model_are_looked_at_again(tmp_path: Path) -> None:
    store, settings = Store((tmp_path / "store").as_uri()), Settings(workspace=tmp_path, gpu="cpu")
    editor = save_tiny(tmp_path / "klein")
    uses = []
    for recipe in (LoraRecipe(rank=4), LoraRecipe(rank=2, targets=("mlp",))):
        adapted = trained(recipe)
        uses.append(LoraUse(digest=store.put_blob(lora_bytes(adapted.parameters, adapted, {})), weight=1.0))
    challenger, mira = uses
    source, target, other = (store.put_blob(encode_png(picture(64, 64, seed), {})) for seed in (1, 2, 3))
    items = tuple(
        ComparedEdit(
            key=f"held-out-{number}",
            source=source,
            prompt="make it blue",
            target=target,
            corrected=False,
            character=name,
            seed=number,
            references=(other,) if number == 2 else (),
        )
        for number, name in enumerate(("mira", "ann", "mira"))
    )
    request = EditCompareRequest(
        items=items,
        editor=str(editor),
        challenger=(challenger,),
        together={"mira": mira},
        verifier="nano",
        sampler=SAMPLER,
    )
    context = StageContext(store, settings, tmp_path, Progress("edit_compare", lambda _: None), 0, threading.Event())
    found = edit_compare(request, context)
    both = found.together
    assert both is not None
    assert (
        [edit.key for edit in both.together.edits]
        == [edit.key for edit in both.alone.edits]
        == [
            "held-out-0",
            "held-out-2",
        ]
    )
    drawn = {edit.key: edit.image for edit in found.challenger.edits}
    assert [edit.image for edit in both.alone.edits] == [drawn["held-out-0"], drawn["held-out-2"]]
    assert all(edit.image != drawn[edit.key] for edit in both.together.edits), "the second LoRA changes what is drawn"
    alone = edit_compare(request.model_copy(update={"together": {}}), context)
    assert alone.together is None and alone.challenger == found.challenger
    lessons = Lessons(
        collected="a" * 64, total=3, usable="a" * 64, images="a" * 64, screenings="a" * 64, passed=3, doubtful=0, left_out={}
    )  # fmt: skip
    page = editor_report(store, lessons, found)
    assert "and the character's LoRA beside it" in page and "worn together" in page
    assert "worn together" not in editor_report(store, lessons, alone)
