"""The plan of a training of Z-Image, held to what trainings reserved on a card."""

import json
import re
from pathlib import Path

import pytest
import torch

from benchmarks.speed.rehearsal_bases import Z_IMAGE
from flenwheel_core.memory.training import predict_gib, recompute_steps
from flenwheel_core.models.z_image.memory import adapter_weights_of, training_spec
from flenwheel_core.recipes.loading import load_recipe

MEASURED = Path(__file__).resolve().parents[4] / "benchmarks" / "results" / "dress_rehearsal.json"


def test_the_prediction_is_within_five_percent_of_every_rehearsal() -> None:
    with torch.device("meta"):
        config = dict(Z_IMAGE.transformer().config)
    spec, recipe = training_spec(config), load_recipe("zimage_character").train
    steps = {sum(step): step for step in recompute_steps(spec)}
    rows = [
        row
        for row in json.loads(MEASURED.read_text())["rows"]
        if row["stage"] == "train" and row.get("recipe") == "zimage_character" and row["ended"]
    ]
    assert len(rows) >= 3
    for row in rows:
        found = re.search(r"fp8 weights, (\d+) of \d+ blocks recomputed", row["plan"])
        assert found is not None, row["plan"]
        predicted = predict_gib(
            spec,
            storage="fp8",
            modulation="fp8",
            transposed=False,
            recompute=steps[int(found[1])],
            tokens=(recipe.resolution // 16) ** 2 + recipe.text_tokens,
            adapter_weights=adapter_weights_of(config, recipe),
        )
        assert predicted == pytest.approx(row["peak_reserved_gib"], rel=0.05), row["case"]
