"""What the critic says of the pictures of a gate before it opens."""

from collections.abc import Sequence

from flenwheel_core.base.ids import Digest
from flenwheel_core.critic.asking import ask_critics
from flenwheel_core.critic.columns import Embeddings
from flenwheel_core.requests.critic_score import CriticScoreRequest, CriticScoreResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.critic_embeddings import embeddings_of


def critic_score(request: CriticScoreRequest, context: StageContext) -> CriticScoreResult:
    """The order of a gate, with what each picture's critic thinks of it. Without a critic the sources take turns."""

    def embed(images: Sequence[Digest], verifier: str) -> tuple[Embeddings, str]:
        found, (_, version) = embeddings_of(images, verifier, context)
        return found, version

    view = ask_critics(context.store, request, embed)
    return CriticScoreResult(
        view=context.store.put_blob(view.to_bytes()),
        pictures=len(view.pictures),
        look_at=view.look_at,
        set_aside=sum(row.set_aside for row in view.pictures),
    )
