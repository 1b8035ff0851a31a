"""What a person left out when fetching is remembered, refused where it is needed, and forgotten when it is fetched."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.locks import FileLock
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Character
from flenwheel_core.models.left_out import is_left_out, leave_out, refuse_left_out, take_again
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.plans.ingest_request import pinned_ingest_request
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.ingest import SourceFile

MIRA = Character(name="mira", trigger="ohwx_char", class_word="person", kind="subject", recipe="nano")
CAPTIONER = "Qwen/Qwen2.5-VL-7B-Instruct@main"


@pytest.fixture
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a folder of models of this test alone."""
    return settings.model_copy(update={"models": tmp_path_factory.mktemp("models")})


def test_it_is_remembered_whatever_the_revision_and_forgotten_again(own: Settings) -> None:
    assert not is_left_out(CAPTIONER, own)
    leave_out([CAPTIONER, "nano"], own)
    assert is_left_out(CAPTIONER, own) and is_left_out(CAPTIONER.replace("main", "a" * 40), own)
    assert not is_left_out("nano", own)
    take_again(["some/other@main"], own)
    assert is_left_out(CAPTIONER, own)
    take_again([CAPTIONER], own)
    assert not is_left_out(CAPTIONER, own)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"[1, null]"])
def test_a_file_that_says_nothing_leaves_nothing_out(own: Settings, content: bytes) -> None:
    (own.models / "left_out.json").write_bytes(content)
    assert not is_left_out(CAPTIONER, own)


def test_what_needs_it_is_refused_before_the_hub_is_asked(own: Settings) -> None:
    leave_out([CAPTIONER], own)
    refuse_left_out([("base", "nano")], own)
    with pytest.raises(MissingWeightsError, match=r"The captioner Qwen.* was left out") as caught:
        pin_recipe(load_recipe("klein_character"), own, ("captioner",))
    assert "flenwheel models fetch" in caught.value.remedy


def test_pictures_are_read_without_it_which_is_said(own: Settings, caplog: pytest.LogCaptureFixture) -> None:
    nano = load_recipe("nano")
    recipe = nano.model_copy(update={"models": nano.models.model_copy(update={"captioner": CAPTIONER})})
    leave_out([CAPTIONER], own)
    files = (
        SourceFile(name="a.png", digest="a" * 64, caption="standing"),
        SourceFile(name="b.png", digest="b" * 64),
    )
    with caplog.at_level("INFO"):
        request = pinned_ingest_request(MIRA, files, recipe, own)
    assert request.captioner is None and request.verifier.startswith("nano@")
    assert "1 of 2 pictures have no caption" in caplog.text and "template" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        assert pinned_ingest_request(MIRA, files[:1], recipe, own).captioner is None
    assert "no caption" not in caplog.text


def test_two_that_fetch_at_once_wait_for_each_other(own: Settings) -> None:
    """What the first has written, the second does not write over."""
    with FileLock(own.models / "left_out.lock") as lock, ThreadPoolExecutor(1) as other:
        lock.take()
        waiting = other.submit(leave_out, ["b/two@main"], own)
        (own.models / "left_out.json").write_text('["a/one"]')
        lock.close()
        waiting.result()
    assert is_left_out("a/one@main", own) and is_left_out("b/two@main", own)
