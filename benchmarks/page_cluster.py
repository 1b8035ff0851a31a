"""The page about clusters of several machines."""

from benchmarks.page import Page, Table

CLUSTER = Page(
    "cluster",
    "Many machines",
    "{two_machines.events} parts of a cluster killed, stopped or cut off at random over {two_machines.turns} turns on two machines: "
    "{two_machines.lost_decisions} decisions of {two_machines.decisions} lost, {two_machines.slot_overlaps} stages at once in a slot, "
    "{two_machines.result_mismatches} other results.",
    "cluster_chaos",
    (
        Table(
            "What survives?",
            "Two machines that work, a studio, two API servers and the background services, with Postgres, Redis and an object store "
            "(moto). Machines are workspaces of one computer, each with a name and a way to the server of its own; stages are stand-ins "
            "that compute next to nothing. Two characters' turns run at once, and decisions go to the studio over HTTP.",
            "cluster_chaos",
            {
                "events": "events",
                "decisions": "decisions",
                "lost_decisions": "lost",
                "slot_overlaps": "at once in a slot",
                "result_mismatches": "other results",
                "leaked_slots": "slots leaked",
            },
        ),
        Table(
            "Which processes were killed?",
            "With SIGKILL, wherever they were. They are started again by what runs them; a run whose process was killed may need Retry.",
            "cluster_chaos",
            {
                "events_worker": "worker",
                "events_run": "run",
                "events_stage": "stage",
                "events_api_server": "API server",
                "events_services": "background services",
                "events_studio": "studio",
            },
        ),
        Table(
            "What else happened?",
            "Postgres and Redis were killed and came back within three seconds with what they had written down. Machines lost their power, "
            "stood still, or were cut off from the server, mostly for two and a half leases.",
            "cluster_chaos",
            {
                "events_redis": "Redis killed",
                "events_postgres": "Postgres killed",
                "events_power_cut": "power cuts",
                "events_standstill": "standstills",
                "events_partition": "partitions",
                "retries": "Retry pressed",
            },
        ),
        Table(
            "What does a training lose that goes on on another machine?",
            "At most what it did since its last state in the store. A state may be as old as the interval says; a stand-in makes one every "
            "five steps, and waits between two that go to the store.",
            "cluster_chaos",
            {
                "moved_trainings": "trainings that moved",
                "most_lost_seconds": "most lost, s",
                "checkpoint_seconds": "interval, s",
                "lease_seconds": "lease, s",
            },
        ),
        Table(
            "What does keeping a training's state cost?",
            "The aim is 1 % of the time, missed: {lora_250_mb.share_of_time:.1%}. The real loop with a LoRA of this size and its moments, "
            "on the processor; steps wait as long as a card would work. The state goes to an object store (moto) on the same machine. "
            "Lost is what a state costs the training, against the same steps without any; the share is that of the time between two "
            "states. Written on the thread: what it would wait for if it wrote by itself.",
            "saving",
            {
                "state_mb": "state, MB",
                "handed_over_seconds": "handed over, s",
                "written_on_the_thread_seconds": "written on the thread, s",
                "sent_seconds": "sent in the background, s",
                "lost_seconds": "lost, s",
                "share_of_time": "share of the time",
            },
        ),
        Table(
            "Do five people at one gate lose anything?",
            "On an object store (moto), at one studio or two, each with an order of their own and about a second a picture; one answers "
            "the gate while the others go on. What a studio accepted stands in what was frozen, and what came later was refused; that no "
            "refused line stands in "
            "the journal is checked since, and not yet by these rows.",
            "reviewers",
            {
                "decisions": "decisions",
                "lost": "lost",
                "frozen_otherwise": "frozen otherwise",
                "refused_after_the_answer": "refused after the answer",
                "p50_ms": "a decision, ms",
                "p95_ms": "p95, ms",
            },
        ),
        Table(
            "How long do pages take while 10 000 gates wait?",
            "1 000 characters with ten open gates each, every second with decisions, and two answered ones, on Postgres, Redis and an "
            "object store ({world.object_store}); the runs are copies of one suspended run's rows. Pages are asked for one after the "
            "other at random places. Lists are as the store was a moment ago; a gate and its decisions are exact.",
            "cluster_gates",
            {"count": "pages", "p50_ms": "ms", "p95_ms": "p95, ms"},
            cases=(
                "gates_first",
                "gates_anywhere",
                "gate",
                "gate_with_its_pictures",
                "decision",
                "characters_anywhere",
                "character",
                "turns_anywhere",
                "turn",
            ),
        ),
        Table(
            "How soon does a run begin beside them?",
            "From asking for a turn to the moment when a worker with nothing to do has taken it, and to that when its process works.",
            "cluster_gates",
            {
                "taken_seconds": "taken, s",
                "most_taken_seconds": "at most, s",
                "begun_seconds": "begun, s",
                "most_begun_seconds": "at most, s",
            },
            cases=("scheduling",),
        ),
        Table(
            "Do two machines do twice as much?",
            "Turns an hour of two machines against one, with all services on the same computer, and how soon a fresh machine is at its "
            "first stage.",
            "cluster_speed",
            {
                "turns": "turns",
                "turns_an_hour_one": "an hour, one",
                "turns_an_hour_two": "an hour, two",
                "two_against_one": "two against one",
                "first_stage_seconds": "first stage, s",
            },
        ),
    ),
)
