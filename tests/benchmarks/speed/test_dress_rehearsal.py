"""The rehearsal on a processor, with the nano models: a part goes on from an earlier one, a stage that is killed is run again."""

import json
from pathlib import Path

import pytest

from benchmarks.speed.dress_rehearsal import main


def rehearse(folder: Path, *stages: str, name: str = "lane") -> dict[str, dict[str, object]]:
    command = ["--work", str(folder), "--out", str(folder), "--name", name, "--recipe", "nano", "--limit", "process"]
    main([*command, "--card", "12", "--beside", "2", "--edits", "10", "--kill", "--stages", *stages])
    path = folder / f"{name}.json"
    return {row["stage"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}


@pytest.mark.slow
def test_a_part_goes_on_from_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FLENWHEEL_WORKSPACE", "FLENWHEEL_MODELS", "FLENWHEEL_SLOT"):
        monkeypatch.setenv(variable, "")  # the rehearsal sets them: what they were comes back
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    refused = rehearse(tmp_path, "screen", name="too-early")["screen"]
    assert refused["ended"] is False and "There are no edits to screen" in str(refused["error"])
    enriched = rehearse(tmp_path, "enrich")["enrich"]
    assert enriched["case"] == "enrich_12gib_nano" and enriched["ended"] and enriched["error"] is None
    assert enriched["resumed"] is True
    assert (enriched["beside"], enriched["limit"], enriched["refused"]) == (2, "process", 0)
    screened = rehearse(tmp_path, "enrich", "screen")
    assert screened["screen"]["ended"] and screened["screen"]["resumed"] is None
    assert screened["enrich"] == enriched  # it was done: no figures of a run that did not happen
