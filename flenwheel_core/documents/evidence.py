"""What a gate tells a person besides its pictures: how the LoRA was chosen, and which pictures of the pool are doubtful."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.documents.choices import StateChoice
from flenwheel_core.documents.doubts import Doubt


class GateEvidence(Document):
    """As it was when the gate opened."""

    choice: StateChoice | None = Field(
        description="inside the training of the LoRA that draws here, or of the champion"
    )
    doubts: tuple[Doubt, ...] = Field(
        description="pictures of the pool that nobody has ever decided about: what was kept once is not asked about again"
    )
