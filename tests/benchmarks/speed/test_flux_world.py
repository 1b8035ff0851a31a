from benchmarks.speed.flux_world import CONFIGS, RANK, adapter_plan, adapter_weights


def test_every_linear_of_the_blocks_has_an_adapter() -> None:
    config = CONFIGS["tiny"]
    names = adapter_plan(config, RANK).ranks
    assert (
        len(names) == 12 * config["num_layers"] + 5 * config["num_single_layers"] and adapter_weights(config, RANK) > 0
    )
