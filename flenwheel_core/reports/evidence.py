"""What a gate's page says of the LoRA's training and of doubtful pictures, in words, with the curve and the pictures."""

import base64

from flenwheel_core.base.ids import Digest, short
from flenwheel_core.documents.choices import StateChoice
from flenwheel_core.documents.doubts import Doubt
from flenwheel_core.documents.evidence import GateEvidence
from flenwheel_core.evaluation.state_curve import curve_words, state_curve
from flenwheel_core.gates.session import ReviewSession
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.reports.gate_page import picture_tag
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

COLUMNS = 6


def gate_evidence(store: Store, digest: Digest) -> GateEvidence:
    """The evidence of that digest."""
    return GateEvidence.from_bytes(store.get_blob(digest), where=f"the evidence {short(digest)}")


def choice_markdown(choice: StateChoice) -> list[str]:
    """The choice inside a training: its curve, what was taken and why, and every state in a table."""
    picture = base64.b64encode(state_curve(choice).encode()).decode()
    lines = [
        f"### How {choice.name} was chosen",
        "",
        f'<img alt="states of {choice.name}" src="data:image/svg+xml;base64,{picture}">',
        "",
        " ".join(curve_words(choice)),
        "",
        "| state | shows what was asked | passes | identity | diversity | |",
        "|---|---|---|---|---|---|",
    ]
    for place, one in enumerate(choice.tried):
        said = "taken" if place == choice.taken else "the last" if place == choice.default else ""
        card = one.card
        lines.append(
            f"| {one.state.name} | {one.shown:.0%} | {card.pass_rate:.0%} | {card.identity:.3f} | {card.diversity:.1f} | {said} |"
        )
    return [*lines, ""]


def doubts_markdown(store: Store, doubts: tuple[Doubt, ...]) -> list[str]:
    """The doubtful pictures with what was found of each."""
    tiles = [Tile(load_picture(store, one.image), (short(one.image),)) for one in doubts]
    lines = [f"### {len(doubts)} pictures of the pool are doubtful", ""]
    lines += [picture_tag(contact_sheet(tiles, columns=COLUMNS), "doubtful pictures"), ""]
    return [*lines, *(f"* `{short(one.image)}` {' '.join(one.sentences())}" for one in doubts), ""]


def session_evidence(store: Store, session: ReviewSession) -> list[str]:
    """Both for a gate's page, with the commands with which a person decides; nothing where the gate has nothing to tell."""
    if session.evidence is None:
        return []
    evidence, character = gate_evidence(store, session.evidence), session.character
    lines: list[str] = []
    if evidence.choice is not None:
        lines += choice_markdown(evidence.choice)
        lines += [
            f"Take another state before you answer the gate: `flenwheel choose {character} {evidence.choice.name} --step N --strength S`.",
            "",
        ]
    if evidence.doubts:
        lines += doubts_markdown(store, evidence.doubts)
        lines += [
            f"They are trained on until somebody leaves them out: `flenwheel doubts {character} --leave-out ID`, or `--keep ID`.",
            "",
        ]
    return lines
