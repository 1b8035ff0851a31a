"""The page of the simulated fleet."""

from benchmarks.page import Page, Table

_RESULT = "fleet_simulation"
_WAITS = {
    "interactive_wait_p95_seconds": "interactive, 95 of 100 wait below, s",
    "interactive_wait_p95_seconds_margin": "\u00b1 s",
    "nightly_wait_mean_minutes": "nightly, mean wait, min",
    "nightly_wait_mean_minutes_margin": "\u00b1 min",
}
FLEET = Page(
    "fleet",
    "A thousand cards, simulated",
    "Simulated, never run: {all_cells.cards} cards in {all_cells.cells} cells, {all_cells.characters} characters, "
    "{all_cells.turns_a_day:.0f} turns a day at four fifths of what cards can do; ${fleet.card_dollars_a_turn:.2f} of card time a turn.",
    _RESULT,
    (
        Table(
            "How long do stages wait for a card?",
            "One cell of 100 cards, four runs a row; \u00b1 is half of a 95 % interval. Load is card time that is asked for, as a share of "
            "what the cards have. Interactive stages go first, none is pushed off a card. From a load of one on the night's queue "
            "grows, until characters have to wait for their next turn: the wait depends on how long one looks.",
            _RESULT,
            {"cards_busy": "cards busy", **_WAITS, "turns_a_day": "turns a day", "turned_away_share": "turns refused"},
            {f"load_{n}_percent": f"load {n / 100}" for n in (50, 60, 70, 80, 90, 100, 110, 120)},
        ),
        Table(
            "What do machines cost that go away?",
            "A fifth of the cards is rented and taken back after twelve hours in the mean; the others fail as often as a large published "
            "cluster. Stages are short, so what is lost is little, with or without checkpoints that another machine can read; "
            "what is missed is the cards.",
            _RESULT,
            {
                "retries_of_1000_stages": "retries of 1000 stages",
                "lost_training_mean_seconds": "lost of a training, mean, s",
                "lost_training_most_seconds": "at most, s",
                "lost_card_time_share": "share of card time lost",
                "nightly_wait_mean_minutes": "nightly, mean wait, min",
                "nightly_wait_mean_minutes_margin": "\u00b1 min",
            },
            {
                "failures_x0": "none goes",
                "load_80_percent": "as assumed",
                "failures_x4": "4 times as often",
                "failures_x16": "16 times as often",
                "failures_x16_no_checkpoints": "16 times, trainings begin again",
            },
        ),
        Table(
            "What is full first?",
            "At the fleet's load, and the load at which it would be full, in proportion. Cards and reviewers by the day, servers by their "
            "busiest hour. One Prefect server as it was measured carries a cell; for all cards it would be the first thing to be full.",
            _RESULT,
            {"share_used": "share used", "full_at_load": "full at load", "known_by": "known by"},
            {
                "full prefect_server_for_all": "one Prefect server, all 1 000 cards",
                "full cards": "cards",
                "full reviewers": "reviewers",
                "full prefect_server_a_cell": "a Prefect server a cell",
                "full studio_process_a_cell": "a studio process a cell",
                "full object_store_a_cell": "object store, writes of a cell",
                "full postgres_and_several_servers": "Postgres, several API servers",
                "full bandwidth_of_the_store": "bandwidth of the object store",
            },
        ),
        Table(
            "What does a gate cost while a million wait?",
            "No card and no process, because a suspended run is a row (so by construction, not by a measurement). "
            "Their pictures and their rows need room, and somebody has to look.",
            _RESULT,
            {
                "cards_held": "cards",
                "processes_held": "processes",
                "pictures_terabytes": "pictures, TB",
                "store_dollars_a_month": "store, $ a month",
                "hours_to_look": "hours to look at them",
                "database_gigabytes": "database, GB",
            },
            {"a_million_gates": "a million gates"},
        ),
        Table(
            "What does a gate weigh in the database?",
            "Runs that are begun, say ten times how far they are, and suspend: measured on a real Prefect server with SQLite. "
            "What Postgres needs for it was not measured, nor how either answers when a million wait.",
            "waiting_gates",
            {
                "gates": "gates",
                "progress_a_gate": "times it says how far it is",
                "database_bytes_a_gate": "bytes a gate",
            },
            {"suspended_run": "a suspended run"},
        ),
        Table(
            "What if there are too few reviewers?",
            "Gates pile up and turns take longer; stages wait less for a card, not more.",
            _RESULT,
            {
                "reviewers_busy": "reviewers busy",
                "gate_wait_mean_hours": "a gate waits, h",
                "gates_waiting_at_end": "gates that wait",
                "interactive_turn_hours": "interactive turn, h",
                "nightly_turn_hours": "nightly turn, h",
                "cards_busy": "cards busy",
                "interactive_wait_p95_seconds": "interactive, 95 of 100 wait below, s",
            },
            {"load_80_percent": "as assumed", "half_the_reviewers": "half of them"},
        ),
        Table(
            "Does it matter that cells share nothing, and that one dies?",
            "One pool of all cards waits as long as ten of a tenth. While a cell is dead, nine take the turns that would have begun in it; "
            "its own open turns wait until it is back. The last two rows are half a day from the hour at which it dies, in one of the "
            "nine; they differ by no more than their intervals.",
            _RESULT,
            _WAITS,
            {
                "fleet": "ten cells of 100 cards",
                "one_cell_of_1000": "one of 1 000, one run",
                "all_cells_live": "all cells live",
                "a_cell_is_dead": "one of ten is dead for six hours",
            },
        ),
        Table(
            "What does a turn cost?",
            "Prices are assumptions. People cost more than cards, if they are paid.",
            _RESULT,
            {"dollars_a_turn": "$ a turn"},
            {"cost cards": "cards", "cost reviewers": "reviewers", "cost store, a month": "object store, a month"},
        ),
        Table(
            "What went in?",
            "Measured figures of other result files, and what was assumed, with its reason.",
            _RESULT,
            {"value": "value", "unit": "unit", "basis": "measured, or why"},
            having="basis",
        ),
    ),
)
