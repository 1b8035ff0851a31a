"""Lessons keep as many references as an editor takes."""

from pathlib import Path

from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.lesson_references import references_taken
from flenwheel_core.store import Store
from tests.kit.tiny_klein import save_tiny


def test_an_editor_is_given_what_it_takes_and_the_log_says_what_it_is_not(tmp_path: Path) -> None:
    said: list[ProgressEvent] = []
    settings = Settings(workspace=tmp_path, gpu="cpu")
    context = StageContext(Store(settings.store_url), settings, tmp_path, Progress("edit_train", said.append))
    asked = [(), ("a" * 64,), ("a" * 64, "b" * 64, "c" * 64, "d" * 64)]
    assert references_taken("no model at all", asked[:1], context) == [()]
    assert references_taken("nano", asked, context) == [(), (), ()]
    assert "2 lessons have more references than this editor takes beside the source (0)" in said[-1].text
    klein = str(save_tiny(tmp_path / "klein"))
    assert references_taken(klein, asked, context) == [(), ("a" * 64,), ("a" * 64, "b" * 64, "c" * 64)]
    assert "1 lessons" in said[-1].text
    assert references_taken(klein, asked[:2], context) == asked[:2] and len(said) == 2
