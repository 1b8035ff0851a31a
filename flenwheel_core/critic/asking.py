"""What the critics of a workspace say of a gate that is about to open."""

from collections.abc import Callable, Sequence

from flenwheel_core.base.ids import Digest
from flenwheel_core.critic.calibration import Wanted
from flenwheel_core.critic.columns import Embeddings
from flenwheel_core.critic.knowledge import judgeables
from flenwheel_core.critic.order import Known, Rules, view_gate
from flenwheel_core.documents.critics import Critic, CriticView, Looks
from flenwheel_core.requests.critic_score import CriticScoreRequest
from flenwheel_core.store import Store

OTHER_EYES = "the critic that was let through at gate D reads what another verifier or model says"

Embed = Callable[[Sequence[Digest], str], tuple[Embeddings, str]]
"""The embeddings of pictures by a verifier, and that verifier's version."""


def read_critic(store: Store, digest: Digest) -> Critic:
    """The critic of that digest."""
    return Critic.from_bytes(store.get_blob(digest), where=f"the critic {digest[:12]}")


def knows_nothing(store: Store, request: CriticScoreRequest) -> bool:
    """True if no critic tells pictures apart: none was let through, and none has learned more than how often each verdict is given."""
    return request.guard is None and (request.critic is None or read_critic(store, request.critic).rung == "base_rate")


def ask_critics(store: Store, request: CriticScoreRequest, embed: Embed | None = None) -> CriticView:
    """The order of a gate, with what each picture's critic thinks of it. Without a critic the sources take turns.

    A critic that read embeddings of another verifier, or reads them where there is no `embed`, or whose looker did not look, says nothing;
    and only the critic that was let through at gate D sets pictures aside.
    """
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
    if request.looks is not None:
        said = Looks.from_bytes(store.get_blob(request.looks), where="what the looker said").by_image()
        pictures = [one.model_copy(update={"vision": said.get(one.image, ())}) for one in pictures]
    reads = any(one.critic.verifier_version is not None for one in (orders, guard) if one is not None)
    embeddings: Embeddings = {}
    version = None
    if embed is not None and request.verifier is not None and reads:
        embeddings, version = embed([one.image for one in pictures], request.verifier)
    orders, watches = (_readable(one, version, looked=request.looks is not None) for one in (orders, guard))
    rules = Rules(
        random_share=request.random_share,
        audit_share=request.audit_share,
        wanted=Wanted(request.most_lost, request.confidence),
        rejects=request.rejects and watches is not None,
        not_because=request.not_because or (OTHER_EYES if guard is not None and watches is None else ""),
    )
    return view_gate(request.gate, pictures, embeddings, orders, watches, rules)


def _readable(known: Known | None, version: str | None, *, looked: bool) -> Known | None:
    """A critic that read embeddings of another verifier, or whose looker was not asked, says nothing here."""
    if known is None:
        return None
    readable = known.critic.verifier_version in (None, version) and (looked or known.critic.looker is None)
    return known if readable else None
