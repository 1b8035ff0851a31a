"""`flenwheel plan`: what a turn takes, and how its stages would use a card."""

import pytest

from deployments.cli.app import main
from flenwheel_core.base.settings import Settings
from flenwheel_core.plans.speeds import drawing, remember_speed
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.store import Store


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    with pytest.raises(SystemExit):
        main(("plan", *arguments))
    return capsys.readouterr().out.splitlines()


def test_a_plan_counts_the_turn_and_knows_the_speed_measured_here(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    lines = planned(capsys, "nano", "--card", "24")
    assert "generate: 46 pictures; not measured here yet" in lines and "to fetch: nothing" in lines
    assert "For tensors: 23.6 GiB of the card." in lines
    store = Store(settings.store_url, settings.store_options)
    remember_speed(store, drawing("nano", load_recipe("nano").generate.sampler), 0.5)
    assert "generate: 46 pictures, 0.50 s each, 23 s" in planned(capsys, "nano", "--card", "24")
