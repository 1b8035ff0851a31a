"""What the critic says of the pictures of a gate before it opens."""

from flenwheel_core.critic.calibration import Wanted
from flenwheel_core.critic.columns import Embeddings
from flenwheel_core.critic.knowledge import judgeables
from flenwheel_core.critic.order import Known, Rules, view_gate
from flenwheel_core.requests.critic_score import CriticScoreRequest, CriticScoreResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.critic_embeddings import embeddings_of
from flenwheel_core.stages.critic_train import read_critic


def critic_score(request: CriticScoreRequest, context: StageContext) -> CriticScoreResult:
    """The order of a gate, with what each picture's critic thinks of it. Without a critic the sources take turns."""
    store = context.store
    screenings = store.get_screenings(request.screenings) if request.screenings is not None else ()
    pictures = list(
        judgeables(
            store.get_images(request.images),
            {row.image: row for row in screenings},
            character=request.character,
            kind=request.kind,
            threshold=request.threshold,
        )
    )
    orders, guard = (
        None if digest is None else Known(digest, read_critic(store, digest))
        for digest in (request.critic, request.guard)
    )
    critics = [one.critic for one in (orders, guard) if one is not None]
    embeddings: Embeddings = {}
    version = None
    if request.verifier is not None and any(critic.verifier_version is not None for critic in critics):
        embeddings, (_, version) = embeddings_of([one.image for one in pictures], request.verifier, context)
    rules = Rules(
        random_share=request.random_share,
        audit_share=request.audit_share,
        wanted=Wanted(request.most_lost, request.confidence),
        rejects=request.rejects and guard is not None,
        not_because=request.not_because,
    )
    view = view_gate(request.gate, pictures, embeddings, _readable(orders, version), _readable(guard, version), rules)
    return CriticScoreResult(
        view=store.put_blob(view.to_bytes()),
        pictures=len(pictures),
        look_at=view.look_at,
        set_aside=sum(row.set_aside for row in view.pictures),
    )


def _readable(known: Known | None, version: str | None) -> Known | None:
    """A critic that read embeddings of another verifier says nothing here."""
    if known is None or known.critic.verifier_version in (None, version):
        return known
    return None
