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
    ),
)
