"""What the benchmark calls its rows is what the page and the curves look for."""

import json
from pathlib import Path
from typing import get_args

from benchmarks.lab.injection_plot import LINES, drawing
from benchmarks.page_injection import INJECTION
from benchmarks.quality.injection import ALPHAS, gains, identity, main, prompts, row
from benchmarks.result_file import write_result
from flenwheel_core.injection.measures import verdict
from flenwheel_core.requests.inject import InjectionFigures, Method
from flenwheel_core.store import Store


def figures(method: Method, alpha: float, *, known: bool) -> InjectionFigures:
    return InjectionFigures(
        method=method,
        alpha=alpha,
        known=known,
        pictures=6,
        identities=1,
        identity=alpha / 2 if method == "injection" else 0.0,
        prompt_kept=1.0,
        diversity=0.5,
        copy_paste=0.0,
        sharpness=1.0,
    )


def test_every_row_is_on_the_page() -> None:
    made = [
        figures(method, alpha, known=known)
        for method in get_args(Method)
        if method not in ("average", "lora")
        for alpha in (
            (0.0, *ALPHAS) if method == "injection" else ALPHAS if method in ("shuffled", "oracle") else (0.0,)
        )
        for known in (True, False)
    ]
    rows = [row(one, "flow") for one in made] + [row(one, "regression") for one in made if one.method == "injection"]
    rows += [*gains(made, "flow"), *gains(made, "regression")]
    shown = {case for table in INJECTION.tables for case in table.cases}
    assert {str(one["case"]) for one in rows} <= shown
    drawn = drawing([row(one, "flow") for one in made])
    assert drawn.count("<polyline") == 2 * len(LINES)


def test_a_file_of_parts_names_the_command_of_all_and_its_sentences_can_be_made_anew(tmp_path: Path) -> None:
    made = [
        figures(method, alpha, known=known)
        for known in (True, False)
        for method, alpha in (("injection", 0.0), ("injection", 1.0), ("shuffled", 1.0))
    ]
    rows = [*gains(made, "flow"), {"case": "verdict_flow", "verdict": "an earlier sentence"}]
    ran = (
        "python -m benchmarks.quality.injection --threads 1 --parts flow regression --work w1 --photos 6 --grid a.webp"
    )
    file = write_result("injection", rows, folder=tmp_path, command=ran)
    before = json.loads(file.read_text())
    main(["--again", "--out", str(tmp_path)])
    after = json.loads(file.read_text())
    assert after["command"] == "python -m benchmarks.quality.injection --threads 1 --photos 6"
    assert after["rows"][:-1] == before["rows"][:-1] and after["rows"][-1]["verdict"] == verdict(made)
    assert {key: after[key] for key in ("date", "machine", "versions")} == {
        key: before[key] for key in ("date", "machine", "versions")
    }


def test_prompts_say_what_is_read_and_descriptions_who_it_is(tmp_path: Path) -> None:
    assert all("a person" in one.text and one.edit.startswith("same person") for one in prompts())
    assert prompts()[1].text == "photo of a person, smiling, half-left view, forest background, sunset lighting"
    someone = identity(1_500_001, 2, Store((tmp_path / "store").as_uri()))
    assert len(someone.photos) == 2 and len(someone.held_out) == 6
    assert all(f"a person with {someone.description}" in photo.described for photo in someone.photos)
    assert all(someone.description not in photo.caption for photo in someone.photos)
