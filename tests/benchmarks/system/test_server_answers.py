from benchmarks.system.server_answers import figures_of


def test_the_longest_wait_counts_however_rare_it_is() -> None:
    found = figures_of([0.01] * 999 + [60.0])
    assert (round(found["median_ms"]), round(found["p99_ms"]), found["longest_seconds"]) == (10, 10, 60.0)
    assert figures_of([0.5])["longest_seconds"] == 0.5
