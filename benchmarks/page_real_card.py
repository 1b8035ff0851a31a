"""The page of measurements on a card held down to what users have, stage by stage."""

from benchmarks.page import Page, Table

REAL_CARD = Page(
    "real_card",
    "A turn on a 24 GiB card",
    "Through the worker, at full size, from weights on disk: an edit takes {enrich_24gib.item_seconds:.1f} s, a training step "
    "{train_24gib.item_seconds:.2f} s, a picture with the LoRA {generate_24gib.item_seconds:.1f} s.",
    "dress_rehearsal",
    (
        Table(
            "What does each stage take?",
            "Another process holds the rest of the card. Twelve sources in seven formats; random weights of FLUX.1-dev's and "
            "Qwen-Image-Edit-2509's size, the few-step LoRA worn, eight steps an edit. Blocks were compiled for the first time, "
            "except in the run that was killed after its first steps and begun again, and in part for generate, which followed a training "
            "and was measured before blocks were compiled for all formats at once. One run a row.",
            "dress_rehearsal",
            {
                "storage": "weights",
                "first_item_seconds": "s to the first item",
                "item_seconds": "s an item",
                "peak_reserved_gib": "peak, GiB",
                "predicted_gib": "planned, GiB",
                "host_gib": "host, GiB",
            },
            {
                "ingest_24gib": "ingest",
                "enrich_24gib": "enrich, 1 MP",
                "train_24gib": "train, 1024, prior on",
                "train_24gib_killed": "train, killed and resumed",
                "generate_24gib": "generate, 1024, 28 steps",
                "edit_train_24gib": "edit_train, 1 MP",
            },
        ),
    ),
)
