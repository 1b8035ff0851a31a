"""The page of measurements about what people bring at first contact."""

from benchmarks.page import Page, Table

FIRST_CONTACT = Page(
    "first_contact",
    "First contact",
    "{hostile_inputs.different_inputs} damaged and odd inputs at the doors they come to: {hostile_inputs.tracebacks} stack traces, "
    "{hostile_inputs.server_errors} answers of 500 and above, "
    "{hostile_inputs.hangs} without an answer, {hostile_inputs.silent_drops} that vanished without a word.",
    "first_contact",
    (
        Table(
            "What becomes of damaged and odd inputs?",
            "Taken or refused in words, at every door; no process held more than {hostile_inputs.peak_gib:.2f} GiB. "
            "What is called process is the same command in a process of its own.",
            "first_contact",
            {
                "inputs": "given",
                "taken": "taken",
                "refused": "refused",
                "tracebacks": "stack traces",
                "server_errors": "answers of 500 and above",
                "hangs": "no answer",
                "silent_drops": "vanished",
            },
            having="inputs",
        ),
        Table(
            "What can another site's page do?",
            "Nothing: a page in a real browser tries every address of both servers, with requests, forms, frames and WebSockets.",
            "first_contact",
            {
                "addresses": "addresses",
                "calls": "tried",
                "refused_by_the_server": "refused by the server",
                "accepted": "accepted",
            },
            {"foreign_page": "another site's page"},
        ),
        Table(
            "Does a schedule keep its times while gates wait and everything is restarted?",
            "Two characters, a run of each every {schedule_hour.seconds_between:.0f} s for {schedule_hour.minutes:.0f} minutes, "
            "two workers on one store, {schedule_hour.restarts} restarts; the gates of both stay unanswered. "
            "A run that neither ended nor waits counts as lost.",
            "first_contact",
            {
                "runs": "runs",
                "ended_at_once": "ended at once",
                "waiting": "wait at a gate",
                "lost": "lost",
                "double": "run twice",
                "crashed_by_us": "called crashed",
            },
            {"schedule_hour": "schedule"},
        ),
        Table(
            "How long does a newcomer wait?",
            "From a clean clone.",
            "first_contact",
            {"install_seconds": "installing, s", "demo_seconds": "`make demo`, s"},
            {"demo": "first hour"},
        ),
        Table(
            "How soon does a stage have its first picture, on a processor?",
            "Nano stages that follow another one, turn about: with the libraries imported ahead, as is the default, and in a process that "
            "starts anew. Medians; the machine was busy with other work, so only their ratio is a figure.",
            "stage_start",
            {"ahead_seconds": "imported ahead, s", "anew_seconds": "anew, s", "times": "times each"},
            {"generate": "generate", "enrich": "enrich"},
        ),
        Table(
            "And the cases of public reports?",
            "Each is shown by tests, which the result file names.",
            "public_cases",
            {"holds": "holds", "tests": "tests"},
        ),
    ),
)
