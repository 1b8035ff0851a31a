"""The table of what corrected edits teach best."""

from benchmarks.page import Table

PREFERENCE = Table(
    "Does the editor learn more from what was rejected?",
    "Corrections of 100 edits: on the characters whose corrections taught it, and on others; better and worse: edits, beside "
    "the answer alone.",
    "preference",
    {
        "corrections_per_100_learned": "learned characters",
        "corrections_per_100_unseen": "other characters",
        "missed_identity": "identity lost",
        "better": "better",
        "worse": "worse",
        "p_value": "p",
    },
    {
        "bare editor": "bare editor",
        "answer": "the answer alone",
        "comparison_100": "comparison, strength 100",
        "comparison_500": "comparison, strength 500",
        "both_100": "both, strength 100",
        "both_500": "both, strength 500",
    },
)
