"""Scorecards by hand, for tests of what is decided from them."""

from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.documents.scores import CellScore, Scorecard


def card(
    *,
    lora: str | None = "a" * 64,
    passed: int = 18,
    identity: float = 0.9,
    diversity: float = 12.0,
    jitter: float = 0.0,
    version: str = "1",
    unmeasured: int = 0,
) -> Scorecard:
    """The first `passed` of 23 cells pass; identities alternate by `jitter` around `identity`."""
    cells = tuple(
        CellScore(
            cell=cell.id,
            image=f"{index:064x}",
            seed=index,
            passed=index < passed,
            measured=index < 23 - unmeasured,
            identity=identity + (jitter if index % 2 else -jitter),
            angle_ok=index < passed,
        )
        for index, cell in enumerate(CARD_CELLS)
    )
    rate = wilson(passed, 23 - unmeasured)
    return Scorecard(
        lora=lora,
        cells=cells,
        pass_rate=rate.value,
        pass_rate_low=rate.low,
        pass_rate_high=rate.high,
        identity=identity,
        identity_p05=identity - jitter,
        diversity=diversity,
        verifier="v",
        verifier_version=version,
    )
