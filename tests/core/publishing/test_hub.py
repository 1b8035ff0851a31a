"""Publishing to the Hub, against a stand-in that speaks what the real client speaks."""

import dataclasses

import pytest

from benchmarks.kit.broken_server import Breaker, How, serving
from benchmarks.kit.hub_app import HubApp
from flenwheel_core.base.errors import InputError, ServerError
from flenwheel_core.publishing.bundle import RECORD, Bundle
from flenwheel_core.publishing.hub import publish_to_hub
from flenwheel_core.requests.publish import PublishResult
from tests.kit.exported import SECRET

# The client's own upload of large files uses a word of httpx that is going away.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
PLACE = "ana/mira-lora"
Hub = tuple[HubApp, Breaker]


def publish(
    bundle: Bundle, *, public: bool = False, place: str = PLACE, notes: list[str] | None = None
) -> PublishResult:
    return publish_to_hub(bundle, place, public=public, note=(notes if notes is not None else []).append)


def test_a_repository_is_private_holds_all_of_it_in_one_commit_and_again_is_no_commit(hub: Hub, bundle: Bundle) -> None:
    app, _ = hub
    notes: list[str] = []
    first, again = publish(bundle, notes=notes), publish(bundle, notes=notes)
    made = app.repositories[f"model/{PLACE}"]
    assert made.private and len(made.commits) == 2 and made.messages[-1].startswith("mira-v1, ")
    assert set(made.files) == {*bundle.files, RECORD, ".gitattributes"}
    assert all(made.files[name] == data for name, data in bundle.files.items())
    assert first == again and first.revision == made.commits[-1] and "holds these files already" in notes[-1]
    assert app.tokens == {"hf_secretsecretsecret"} and not any("secret" in note for note in notes)


def test_what_changed_is_sent_and_what_is_gone_is_removed_others_files_stay(hub: Hub, bundle: Bundle) -> None:
    app, breaker = hub
    publish(bundle)
    made = app.repositories[f"model/{PLACE}"]
    made.files["LICENSE"] = b"a person's"
    breaker.mend()
    fewer = {name: data for name, data in bundle.files.items() if name != "samples.png"}
    publish(dataclasses.replace(bundle, files={**fewer, "README.md": bundle.files["README.md"] + b"More.\n"}))
    assert "samples.png" not in made.files and made.files["LICENSE"] == b"a person's"
    assert not any("/lfs" in request for request in breaker.requests), "large files that did not change are not sent"


def test_it_becomes_public_only_when_it_is_whole(hub: Hub, bundle: Bundle) -> None:
    app, breaker = hub
    publish(bundle, public=True)
    assert not app.repositories[f"model/{PLACE}"].private
    order = [request.rpartition("/")[2] for request in breaker.requests]
    assert order.index("main") < order.index("settings")


@pytest.mark.parametrize("how", ["cut before", "cut after"])
def test_broken_off_at_any_request_that_is_not_tried_again_by_itself(hub: Hub, bundle: Bundle, how: How) -> None:
    """The ones that the client itself repeats take it half a minute; benchmarks/system/publishing.py breaks those too."""
    app, breaker = hub
    publish(bundle)
    whole = dict(app.repositories[f"model/{PLACE}"].files)
    tried_once = [
        index
        for index, request in enumerate(breaker.requests)
        if not request.startswith("PUT")
        and not any(word in request for word in ("preupload", "batch", "verify", "tree"))
    ]
    assert len(tried_once) >= 5
    for at in tried_once:
        app.repositories.clear()
        app.large.clear()
        breaker.mend()
        breaker.at, breaker.how = at, how
        with pytest.raises(ServerError, match="broke off"):
            publish(bundle)
        made = app.repositories.get(f"model/{PLACE}")
        assert made is None or (made.private and (set(made.files) == {".gitattributes"} or made.files == whole))
        breaker.mend()
        publish(bundle)
        made = app.repositories[f"model/{PLACE}"]
        assert made.files == whole and len(made.commits) == 2


def test_a_space_is_a_space(hub: Hub, bundle: Bundle) -> None:
    app, _ = hub
    result = publish(dataclasses.replace(bundle, what="space"))
    assert app.repositories[f"space/{PLACE}"].sdk == "gradio" and result.address.endswith(f"/spaces/{PLACE}")
    assert publish(dataclasses.replace(bundle, what="space")) == result


def test_others_repositories_and_names_are_refused(hub: Hub, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = hub
    publish(bundle)
    made = app.repositories[f"model/{PLACE}"]
    made.files = {"model.safetensors": b"x", "README.md": b"y"}
    with pytest.raises(InputError, match="not published from here"):
        publish(bundle)
    assert made.files == {"model.safetensors": b"x", "README.md": b"y"}
    with pytest.raises(InputError, match="lets you write nothing") as caught:
        publish(bundle, place="somebody/mira")
    assert "403" in caught.value.why
    with pytest.raises(InputError, match="is no repository"):
        publish(bundle, place="mira")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match="lets you write nothing") as caught:
        publish(bundle)
    assert "hf_wrong" not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="No token"):
        publish(bundle)


def test_a_repository_that_is_open_already_asks_for_public(hub: Hub, bundle: Bundle) -> None:
    app, _ = hub
    publish(bundle, public=True)
    made = app.repositories[f"model/{PLACE}"]
    more = dataclasses.replace(bundle, files={**bundle.files, "b": b"not for everybody"})
    with pytest.raises(InputError, match="open to everybody"):
        publish(more)
    assert "b" not in made.files and not made.private
    publish(more, public=True)
    assert "b" in made.files


def test_a_newer_lora_of_the_same_character_takes_the_place_of_the_old_one_and_no_other_does(
    hub: Hub, bundle: Bundle
) -> None:
    app, _ = hub
    publish(bundle)
    made = app.repositories[f"model/{PLACE}"]
    whole = dict(made.files)
    with pytest.raises(InputError, match="holds another publication"):
        publish(dataclasses.replace(bundle, name="rex-v1", character="rex", files={"a": b"b"}))
    assert made.files == whole
    publish(dataclasses.replace(bundle, name="mira-v2", files={"a": b"b"}))
    assert set(made.files) == {"a", RECORD, ".gitattributes"}


def test_the_token_follows_no_redirect_to_another_server(hub: Hub, bundle: Bundle) -> None:
    app, _ = hub
    publish(bundle)
    other = HubApp(SECRET)
    with serving(other) as (url, _):
        app.elsewhere = url
        with pytest.raises(ServerError, match="broke off") as caught:
            publish(bundle)
    assert "another server" in caught.value.why and not other.tokens


def test_the_card_is_one_that_the_hub_takes(hub: Hub, bundle: Bundle) -> None:
    publish(bundle)
    text = bundle.files["README.md"].decode()
    for line in ("license: apache-2.0", "base_model: nano", "instance_prompt: ohwx_mira", "url: sample-1.png"):
        assert line in text
    assert (
        "| 2 | given by a person |  |" in text
        and "| 3 | edits of those, chosen by a person | Qwen/Qwen-Image-Edit-2509 |" in text
    )
    assert "identity, mean cosine | 0.900 (95 % interval 0." in text and "provenance.json" not in bundle.files
