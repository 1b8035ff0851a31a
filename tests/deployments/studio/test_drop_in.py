"""What the character page says about pictures."""

from deployments.studio.drop_in import DropIn
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.ingest import IngestRequest, IngestResult, SourceFile
from flenwheel_core.store import Store
from tests.kit.gate_world import CHARACTER
from tests.kit.turn_world import FINGERPRINT


def test_pictures_that_a_turn_read_count_as_read(store: Store, settings: Settings) -> None:
    library = Library(store)
    if "mira" not in [found.name for found in library.characters()]:
        library.create_character(CHARACTER)
    file = SourceFile(name="a.png", digest=store.put_blob(b"picture"))
    library.add_sources("mira", (file,))
    library.open_turn("mira", "00000000-0000-4000-8000-000000000001", store.put_blob(b"recipe"))
    pictures = DropIn(store, settings, store)
    assert pictures.report("mira").state == "never"

    request = IngestRequest(character=CHARACTER.ref(), files=(file,), recipe=IngestRecipe(), verifier="nano")
    result = IngestResult(sources=store.put_images([]), count=1, fingerprint=FINGERPRINT, problems=(), missing=())
    store.put_document("turns/mira/0001/ingest", request)
    store.put_result(request, result)
    report = pictures.report("mira")
    assert report.state == "done" and report.result == result
    for turn in range(2, 7):
        library.open_turn("mira", f"00000000-0000-4000-8000-00000000000{turn}", store.put_blob(b"recipe"))
    assert pictures.report("mira").result == result, "of the newest turn that read any, however many came after it"
