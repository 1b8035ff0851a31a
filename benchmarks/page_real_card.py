"""The page of measurements on cards held down to what users have, stage by stage."""

from benchmarks.page import Page, Table

_STAGES = {
    "ingest": "ingest",
    "enrich": "enrich",
    "screen": "screen",
    "train": "train",
    "generate": "generate",
    "benchmark": "benchmark",
    "edit_train": "edit_train",
    "edit_compare": "edit_compare",
}
_MEASURED_ALONE = {"enrich", "train", "generate", "edit_train", "edit_compare"}
"""At 24 GiB: what ran beside others stands apart from it."""


def _cases(card_gib: int) -> dict[str, str]:
    beside = {stage for stage in _STAGES if card_gib == 24 and stage in _MEASURED_ALONE}
    return {
        f"{stage}_{card_gib}gib{'_beside' if stage in beside else ''}": f"{card_gib} GiB, {name}"
        for stage, name in _STAGES.items()
    }


_ALONE = {
    "enrich_24gib": "enrich, 1 MP, 8 steps",
    "enrich_40_24gib": "enrich, 1 MP, 40 steps with true CFG",
    "train_24gib": "train, 1024, prior on",
    "train_no_prior_24gib": "train, 1024, prior off",
    "generate_24gib": "generate, 1024, 28 steps",
    "edit_train_24gib": "edit_train, 1 MP",
    "edit_compare_24gib": "edit_compare, 1 MP, 8 steps",
    "train_no_prior_24gib_flux_style_24gb": "train a style, 1024, late single blocks, rank 8",
    "generate_24gib_flux_style_24gb": "generate with the style, 1024, 28 steps",
}
_SMALL = {
    **_cases(24),
    "enrich_24gib_2511": "24 GiB, enrich, Edit-2511",
    "edit_train_24gib_2511": "24 GiB, edit_train, Edit-2511",
    **_cases(16),
    **_cases(12),
}
_OTHERS = {
    "enrich_24gib_klein_rank16": "klein, rank 16, 24 GiB, enrich, 20 steps",
    "train_24gib_klein_rank16": "klein, rank 16, 24 GiB, train",
    "generate_24gib_klein_rank16": "klein, rank 16, 24 GiB, generate",
    "edit_train_24gib_klein_rank16": "klein, rank 16, 24 GiB, edit_train",
    "benchmark_24gib_klein_rank16": "klein, rank 16, 24 GiB, benchmark",
    "enrich_24gib_klein": "klein, 24 GiB, enrich, in bf16",
    "train_24gib_klein": "klein, 24 GiB, train",
    "generate_24gib_klein": "klein, 24 GiB, generate, in bf16",
    "edit_train_24gib_klein": "klein, 24 GiB, edit_train",
    "benchmark_24gib_klein": "klein, 24 GiB, benchmark, in bf16",
    "enrich_24gib_klein_20": "klein, 24 GiB, enrich, 20 steps, in bf16",
    "enrich_16gib_klein": "klein, 16 GiB, enrich",
    "train_16gib_klein": "klein, 16 GiB, train",
    "edit_train_16gib_klein": "klein, 16 GiB, edit_train",
    "enrich_12gib_klein": "klein, 12 GiB, enrich",
    "train_12gib_klein": "klein, 12 GiB, train",
    "edit_train_12gib_klein": "klein, 12 GiB, edit_train",
    "edit_compare_12gib_klein": "klein, 12 GiB, edit_compare",
    "train_24gib_zimage_character": "Z-Image, 24 GiB, train",
    "generate_24gib_zimage_character": "Z-Image, 24 GiB, generate",
    "train_16gib_zimage_character": "Z-Image, 16 GiB, train",
    "train_12gib_zimage_character": "Z-Image, 12 GiB, train",
    "enrich_24gib_kontext": "Kontext, 24 GiB, enrich",
    "edit_train_24gib_kontext": "Kontext, 24 GiB, edit_train",
    "enrich_16gib_kontext": "Kontext, 16 GiB, enrich",
    "enrich_12gib_kontext": "Kontext, 12 GiB, enrich",
    "edit_compare_12gib_kontext": "Kontext, 12 GiB, edit_compare",
    "edit_train_12gib_kontext": "Kontext, 12 GiB, edit_train",
    "generate_16gib_qwen_image_character": "Qwen-Image, 16 GiB, generate",
    "train_16gib_qwen_image_character": "Qwen-Image, 16 GiB, train",
    "train_12gib_qwen_image_character": "Qwen-Image, 12 GiB, train",
}

REAL_CARD = Page(
    "real_card",
    "A turn on cards of 24, 16 and 12 GiB",
    "Through the worker, at full size, from weights on disk: an edit takes {enrich_24gib.item_seconds:.1f} s, a training step "
    "{train_24gib.item_seconds:.2f} s, a picture with the LoRA {generate_24gib.item_seconds:.1f} s, a step of the editor's training "
    "{edit_train_24gib.item_seconds:.2f} s. Every stage of a turn and of Flywheel 2 ends within 24, 16 and 12 GiB; "
    "training on 12 GiB took {train_12gib.peak_process_gib:.1f} with the driver's part.",
    "dress_rehearsal",
    (
        Table(
            "How long does a stage take on 24 GiB?",
            "Alone on the card; another process holds the rest of the card. Twelve sources in seven formats; random weights of "
            "FLUX.1-dev's and Qwen-Image-Edit-2509's size, the few-step LoRA worn, eight steps an edit. Blocks were compiled for the first "
            "time, but not for training without the prior, which followed one with it. Before its first step, training with the prior "
            "drew two pictures of it. The two trainings of FLUX.1 began in the process that a turn has waiting; the first one's seconds "
            "have that process's own imports in them, which a turn has behind it by then. One small training ran on another card; the "
            "other rows shared the machine, but not the card, with other rehearsals, which the seconds to the first item show. One run a "
            "row.",
            "dress_rehearsal",
            {
                "storage": "weights",
                "first_item_seconds": "s to the first item",
                "item_seconds": "s an item",
                "peak_reserved_gib": "peak, GiB",
                "predicted_gib": "planned then, GiB",
                "host_gib": "host, GiB",
            },
            _ALONE,
        ),
        Table(
            "Does every stage end on a smaller card, killed once, and how near is its plan?",
            "Each process was refused what a card of that size would refuse, and each was killed once amid its work. Four to six ran at "
            "the same time on one large card, so seconds are no figures here. The driver's count has its own context in it, and in "
            "trainings the recorded steps; it was asked once a second. ingest and screen begin again by nature; what else was killed went "
            "on from what it had made. The 12 GiB recipe edits with "
            "FLUX.2 klein. Not one ran out of memory. Plans were mended since: below stands what today's say.",
            "dress_rehearsal",
            {
                "storage": "weights",
                "peak_reserved_gib": "peak, GiB",
                "predicted_gib": "planned then, GiB",
                "peak_process_gib": "by the driver, GiB",
                "out_of_memory": "out of memory",
                "ended": "ended",
                "resumed": "killed and resumed",
            },
            _SMALL,
        ),
        Table(
            "What do other families take?",
            "Random weights of the published sizes. Rows that were killed ran beside others on one card, so their seconds are no "
            "figures; the others had the card to themselves. FLUX.2 klein at rank 32; its edits have 25 steps with "
            "guidance, its pictures too; plans were mended since: below stands what today's say. Z-Image at rank 32, its pictures with 40 "
            "steps "
            "and guidance. What does not fit was refused, with the reason. A training of Qwen-Image at 24 GiB has no row yet.",
            "dress_rehearsal",
            {
                "storage": "weights",
                "item_seconds": "s an item",
                "peak_reserved_gib": "peak, GiB",
                "predicted_gib": "planned then, GiB",
                "ended": "ended",
                "resumed": "killed and resumed",
            },
            _OTHERS,
        ),
        Table(
            "How near is today's plan to what was reserved?",
            "The same rehearsals, each in the way in which it ran: weights, what was computed twice, tiles. No card ran again; the plans "
            "of today are held to the old rows, and a test holds them within 5 %. Plans of drawing are not below what was reserved: "
            "they leave nothing free. Trainings leave 0.85 GiB free beside their plan, and reserved up to 3 % more than it. The peak "
            "counts from the beginning of drawing. One row, klein's generate at rank 16, was its encoder's: 8.1 GiB that were not given "
            "back before drawing, since a variable still named the encoder. They are given back now, which no card has measured; "
            "FLUX.1's pictures may need less than planned since.",
            "plans_today",
            {
                "storage": "weights",
                "peak_reserved_gib": "peak, GiB",
                "planned_then_gib": "planned then, GiB",
                "predicted_gib": "today's plan, GiB",
                "error_percent": "today's plan against the peak, %",
            },
            _ALONE | _SMALL | _OTHERS,
        ),
        Table(
            "How long do FLUX.2 klein and Z-Image take, alone on a card?",
            "The same rows as a program reads them: families.json has one for every family, task and card. The usual way (diffusers with "
            "PEFT) was not measured beside them yet. klein draws in fp8 now; rows of before say bf16. Added up, a whole turn with klein "
            "(rank 16, edits of 20 steps; 12 photos described, 50 edits, two LoRAs of 1 500 steps, 92 pictures drawn, 92 of the "
            "benchmark) takes {turn_24gib_klein.turn_minutes:.0f} minutes of a card of 24 GiB; no turn was run in one piece.",
            "families",
            {
                "step_seconds": "s a training step",
                "item_seconds": "s a picture",
                "peak_reserved_gib": "peak, GiB",
            },
            {
                "train_24gib_klein_rank16": "klein, rank 16, 24 GiB, train at 1024",
                "train_24gib_klein": "klein, rank 32, 24 GiB, train at 1024",
                "train_12gib_klein": "klein, 12 GiB, train at 1024",
                "edit_train_24gib_klein_rank16": "klein, rank 16, 24 GiB, edit_train, one reference of 1 MP",
                "edit_train_24gib_klein": "klein, rank 32, 24 GiB, edit_train, one reference of 1 MP",
                "train_24gib_zimage_character": "Z-Image, 24 GiB, train at 1024",
                "generate_24gib_zimage_character": "Z-Image, 24 GiB, generate, 40 steps with guidance",
                "generate_24gib_klein_rank16": "klein, 24 GiB, generate, 25 steps with guidance",
                "generate_24gib_klein": "the same in bf16, rank 32",
                "enrich_24gib_klein_rank16": "klein, 24 GiB, enrich, 20 steps with guidance",
                "enrich_24gib_klein_20": "the same in bf16",
                "enrich_24gib_klein": "klein, 24 GiB, enrich, 25 steps with guidance, in bf16",
            },
        ),
    ),
)
