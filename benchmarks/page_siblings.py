"""The tables of nano klein and nano Z-Image, in a checkout that holds their weights and so their figures."""

from benchmarks.page import Table
from benchmarks.result_file import RESULTS

_NAME = "nano_siblings"
_FACTS = {
    "pose_accuracy": "pose",
    "angle_accuracy": "angle",
    "expression_accuracy": "expression",
    "background_accuracy": "background",
    "hair_colour_accuracy": "hair colour",
}
_TABLES = (
    Table(
        "How well do the siblings draw what a text asks for?",
        "Small models of further families, drawn as their recipes draw; the captions are those of FLUX above.",
        _NAME,
        {"captions": "captions", **_FACTS},
        {"klein_draws": "FLUX.2 klein", "zimage_draws": "Z-Image"},
    ),
    Table(
        "How well does klein edit?",
        "It draws and edits with the same weights.",
        _NAME,
        {
            "edits": "edits",
            "instruction_followed": "instruction followed",
            "identity_kept": "identity kept",
            "identity_cosine": "cosine to the truth",
            "first_try": "both",
        },
        {"klein_edits": "one reference", "klein_edits_with_two_references": "two references"},
    ),
)
SIBLINGS: tuple[Table, ...] = _TABLES if (RESULTS / f"{_NAME}.json").exists() else ()
