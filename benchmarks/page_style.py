"""The page of measurements about styles."""

from benchmarks.page import Page, Table

_SMALL = {
    "share": "of the bare base's distance",
    "least_gain_low": "gains at least, on naming",
    "least_gain_on_base_low": "gains at least, on the base",
    "content_lost_points": "content lost, points",
    "strength": "strength",
    "file_bytes": "file, bytes",
}
_PAINTER = {
    "share": "of the bare base's distance",
    "gain_low": "gains at least, on naming",
    "gain_on_base_low": "gains at least, on the base",
    "content_lost_points": "content lost, points",
    "content_lost_high": "at most",
    "strength": "strength",
}

STYLE = Page(
    "style",
    "Styles",
    "On three painters that no base has seen, and on whom nothing was chosen, the shipped LoRA, a twelfth of the size of one of all "
    "blocks, ends at {lora_shipped.share:.0%} of the bare base's distance ({lora_all.share:.0%} with all blocks) and loses "
    "{lora_shipped.content_lost_points:.1f} points of what prompts ask for; the best naming of a style in words stays at "
    "{named.share:.0%}. For painters whom the base draws nearly as near as photos are, what it gains is less than the interval.",
    "style",
    (
        Table(
            "Does a small LoRA of a few blocks do as well?",
            "Three painters on whom nothing was chosen, 40 scenes, each LoRA at its default strength (as below). `Gains at least` are the "
            "lower ends of the 95 % intervals, of the painter of whom they are least: below nothing, that painter's gain is less than "
            "the interval. Shipped is the recipe `nano_style`: late single blocks, rank 4, learning rate 1e-3.",
            "style",
            _SMALL,
            {
                "photos": "photos of the scenes",
                "base": "bare base",
                "named": "the best naming in the prompt",
                "lora_all": "all blocks, rank 16, learning rate 2e-3",
                "lora_late_rank12": "late single blocks, rank 12, learning rate 2e-3",
                "lora_shipped": "shipped",
            },
        ),
        Table(
            "And by painter?",
            "The same, painter by painter: the shipped LoRA.",
            "style",
            _PAINTER,
            {f"painter{number}_lora_shipped": f"painter {number + 1}" for number in range(3)},
        ),
        Table(
            "And for three more painters?",
            "Measured first, on three others on whom nothing was chosen either; rank 4 and what is gained on the base were not.",
            "style_first",
            {name: said for name, said in _PAINTER.items() if name != "gain_on_base_low"},
            {
                f"painter{number}_lora_{way}": f"painter {number + 4}, {said}"
                for number in range(3)
                for way, said in (("all", "all blocks"), ("late_rank12", "late blocks, rank 12"))
            },
        ),
        Table(
            "How near does a LoRA come to a painter, and what does it cost of what a prompt asks for?",
            "Means over {base.painters} painters; distance of distributions to paintings that were kept back, in their spreads. Each LoRA "
            "at its default strength: the nearest that loses at most 2 points of content against the bare base. `gains at least` is the "
            "lower end of the 95 % interval of what it gains on the best naming in words. Content is what the reader sees of place, pose "
            "and angle in 40 scenes. It reads photos: of a painter's own paintings it misses as much as the first row says. The control is "
            "the base's own pictures with the painter's true hand laid over them: nothing of their content is gone. It loses nothing as "
            "far away as LoRAs are, so that what LoRAs lose is lost by them, and is not the reader's fault. At kept content a LoRA comes "
            "little nearer than photos of the scenes are.",
            "style_search",
            {
                "distance": "style distance",
                "share": "of the bare base's",
                "gain_low": "gains at least",
                "content_lost_points": "content lost, points",
                "strength": "strength",
                "file_bytes": "file, bytes",
            },
            {
                "paintings": "his own other paintings",
                "photos": "photos of the scenes",
                "control_0.45": "control, 45 % opaque",
                "control_0.8": "control, 80 % opaque",
                "control_1": "control, opaque",
                "base": "bare base",
                "named": "the best naming in the prompt",
                "all": "LoRA of all blocks, rank 16, learning rate 1e-3",
                "all_lr5e-4": "learning rate 5e-4",
                "all_lr2e-3": "learning rate 2e-3",
                "all_steps800": "1e-3, 800 steps instead of 400",
                "all_low_noise1": "1e-3, more of low noise (`logit_mean = -1`)",
                "late_rank12_lr2e-3": "late single blocks, rank 12, learning rate 2e-3",
            },
        ),
        Table(
            "And at full strength?",
            "The same LoRAs at strength 1: nearer, at the cost of content. Learning faster, longer or at lower noise loses less of it than "
            "learning slowly does at a like distance.",
            "style_search",
            {
                "full_distance": "style distance",
                "full_share": "of the bare base's",
                "full_content_lost_points": "content lost, points",
                "full_control_lost_points": "the control, as near",
            },
            {
                "all": "LoRA of all blocks, rank 16, learning rate 1e-3",
                "all_lr5e-4": "learning rate 5e-4",
                "all_lr2e-3": "learning rate 2e-3",
                "all_steps800": "1e-3, 800 steps instead of 400",
                "all_low_noise1": "1e-3, more of low noise (`logit_mean = -1`)",
            },
        ),
        Table(
            "How fast do paintings go through the filters, and what does memory grow with?",
            "80 000 rows in the schema of `huggan/wikiart`, of which labels let 400 to 3200 pictures through, 1024 px a side; those are "
            "decoded. Two cores that others used, too (load), so that a second of a core says more than a second. Peaks count the pages of "
            "the files, which are read ahead: they move by tens of MiB with the load, and do not grow with the pictures. Labels take "
            "0.4 KiB a row. Decoders are processes of their own; the largest is told.",
            "wikiart_pipeline",
            {
                "pictures": "rows, or pictures decoded",
                "pictures_per_core_second": "a second of a core",
                "pictures_per_second": "a second",
                "peak_mib": "peak memory, MiB",
                "decoder_peak_mib": "a decoder's, MiB",
                "load_before": "load before",
            },
            {
                "labels_half": "labels, half of the files",
                "labels": "labels, all files",
                **{f"pictures_{count}": f"{count} of all rows decoded" for count in (400, 800, 1600, 3200)},
            },
        ),
    ),
)
