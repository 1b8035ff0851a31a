"""The page of measurements about styles."""

from benchmarks.page import Page, Table

STYLE = Page(
    "style",
    "Styles",
    "On a painter that no base has seen a LoRA of all blocks ends at {lora_all.share:.0%} of the bare base's distance, one "
    "of late single "
    "blocks at {lora_single_late.share:.0%}; the best naming of a style in words stays at {named_impressionist.share:.0%}.",
    "style",
    (
        Table(
            "How near does a LoRA come to a painter, and what does it cost of what a prompt asks for?",
            "Means over painters (how many: second column; a run of two was broken off after the first); distance of distributions "
            "to paintings that were kept back, in their spreads. Each LoRA at its "
            "default strength (the knee). Content is what the reader sees of place, pose and angle: of the painter's own paintings it "
            "loses as much as the first row says.",
            "style",
            {
                "painters": "painters",
                "distance": "style distance",
                "share": "of the bare base's",
                "content_lost_points": "content lost, points",
                "strength": "strength",
                "file_bytes": "file, bytes",
            },
            {
                "paintings": "his own other paintings",
                "photos": "photos of the scenes",
                "base": "bare base",
                "named_watercolor": "“watercolor style” in the prompt",
                "named_impressionist": "“impressionist painting style” in the prompt",
                "lora_all": "LoRA of all blocks, rank 16",
                "lora_single_late": "LoRA of late single blocks, rank 8",
            },
        ),
        Table(
            "Over the strength, first painter",
            "`gain` is by how much it is nearer than the best naming in words, `at least` the lower end of its 95 % interval.",
            "style",
            {
                "distance": "style distance",
                "gain": "gain",
                "gain_low": "at least",
                "content_lost_points": "content lost, points",
            },
            {
                "painter0_lora_all_at_0.4": "all blocks at 0.4",
                "painter0_lora_all_at_0.7": "all blocks at 0.7",
                "painter0_lora_all": "all blocks at 1",
                "painter0_lora_all_at_1.2": "all blocks at 1.2",
                "painter0_lora_single_late_at_0.4": "late single blocks at 0.4",
                "painter0_lora_single_late_at_0.7": "late single blocks at 0.7",
                "painter0_lora_single_late": "late single blocks at 1",
                "painter0_lora_single_late_at_1.2": "late single blocks at 1.2",
            },
        ),
        Table(
            "Which blocks and rank, at equal steps?",
            "The sweep of `flenwheel search`, one painter, all at full strength; {all_rank4.steps} steps: at 400, above, all blocks come "
            "nearer and lose more content. The default of `nano_style` is the smallest file whose score (content kept less the distance) "
            "is within 5 % of the best.",
            "style_sweep",
            {
                "distance": "style distance",
                "share_of_best": "of the nearest's",
                "content_lost_points": "content lost, points",
                "score": "score",
                "file_bytes": "file, bytes",
                "is_default": "default",
            },
            {
                "all_rank4": "all blocks, rank 4",
                "all_rank16": "all blocks, rank 16",
                "single_late_rank4": "late single blocks, rank 4",
                "single_late_rank16": "late single blocks, rank 16",
                "double_late_rank4": "late double blocks, rank 4",
                "double_late_rank16": "late double blocks, rank 16",
            },
        ),
        Table(
            "How fast do paintings go through the filters?",
            "Rows in the schema of `huggan/wikiart`; pictures of 1024 px a side are decoded. All of it was kept to two cores of a "
            "machine that others used, too (load). Half of the files against all says whether memory grows.",
            "wikiart_pipeline",
            {
                "pictures": "pictures",
                "pictures_per_second": "a second",
                "core_seconds": "seconds of a core",
                "peak_mib": "peak memory, MiB",
                "load_before": "load before",
            },
            {"labels": "labels alone", "pictures_half": "decoded, half of the files", "pictures": "decoded, all files"},
        ),
    ),
)
