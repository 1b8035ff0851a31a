"""The page of measurements about publishing and the training service."""

from benchmarks.page import Page, Table

SERVICE = Page(
    "service",
    "Publishing and the training service",
    "Uploads broken off at {hub.uploads} points a target: {hub.half_published} half published on the Hub's stand-in, "
    "{s3.half_published} on S3, {folder.half_published} in a folder; every retry ends the same.",
    "publishing",
    (
        Table(
            "What do others see of an upload that broke off, and how does the retry end?",
            "Connections are cut and the process is killed, before and after a request is handled, spread over all requests "
            "of an upload. "
            "What the Hub's or the store's client would try again by itself stays broken until the retry. "
            "Half published means that others can read something, and not all of it. "
            "The Hub is a stand-in that speaks its client's protocol with LFS.",
            "publishing",
            {
                "uploads": "uploads",
                "broken_off": "broken off",
                "nothing_to_be_seen": "nothing to be seen then",
                "half_published": "half published",
                "same_after_retry": "the same after the retry",
                "requests_of_one": "requests or files of one",
            },
            {"hub": "Hub", "s3": "object store (S3)", "folder": "folder"},
        ),
        Table(
            "Many orders at once while processes are killed: is each accepted once, carried out once, and none lost?",
            "{orders_at_once.orders} orders, each sent by two clients at once with one key, on two cores that many processes shared. "
            "Real server, worker, studio, runs and stage processes, killed with SIGKILL in turn: {orders_at_once.kills_of_server}, "
            "{orders_at_once.kills_of_worker}, {orders_at_once.kills_of_studio}, {orders_at_once.kills_of_run} and "
            "{orders_at_once.kills_of_stage} times; the stages are stand-ins. {orders_at_once.carried_out} orders were carried "
            "out in that time; the other {orders_at_once.cancelled} were not, and were cancelled through the service. So that no order "
            "is run twice is shown of {orders_at_once.carried_out} of them, and that none is lost or accepted twice of all. "
            "Half of the orders were answered within {orders_at_once.answer_median_seconds:.1f} s, 95 % "
            "within {orders_at_once.answer_p95_seconds:.1f} s.",
            "train_service",
            {
                "not_accepted_once": "not accepted once",
                "carried_out": "carried out",
                "cancelled": "cancelled",
                "lost": "lost",
                "run_twice": "run twice",
                "kills": "kills",
            },
            {"orders_at_once": "orders at once"},
        ),
        Table(
            "Does the demo run in an environment of its own, and draw what it should?",
            "The folder that `--space` publishes, on nano: gradio and its packages in an environment of their own (torch was this "
            "program's), a prompt and a seed given in a browser, and the picture that it shows held against what the app draws "
            "for them here. "
            "Levels are of 255; times are of a machine that many processes shared.",
            "space",
            {
                "drawn_in_a_browser": "drawn in a browser",
                "levels_from_expected": "largest difference, levels",
                "levels_the_lora_changes": "the LoRA changes, mean levels",
                "start_seconds": "start, s",
                "draw_seconds": "draw, s",
            },
            {"space": "demo"},
        ),
    ),
)
