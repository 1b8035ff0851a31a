"""The stage `publish`: an exported LoRA goes to the Hub, to an object store or to a folder, whole or not at all."""

from flenwheel_core.publishing.bundle import bundle_of
from flenwheel_core.publishing.hub import publish_to_hub
from flenwheel_core.publishing.local_folder import publish_to_folder
from flenwheel_core.publishing.object_store import publish_to_store
from flenwheel_core.requests.publish import PublishRequest, PublishResult
from flenwheel_core.runner.stage import StageContext


def publish(request: PublishRequest, context: StageContext) -> PublishResult:
    """Publishes what the request names; what is there already is left alone, so that it may be tried as often as it takes."""
    bundle, note = bundle_of(request, context.store, context.settings.models), context.progress.note
    context.check_stop()
    if request.to == "hub":
        return publish_to_hub(bundle, request.place, public=request.public, note=note)
    if request.to == "s3":
        return publish_to_store(bundle, request.place, context.settings.publishing_options, note=note)
    return publish_to_folder(bundle, request.place, note=note)
