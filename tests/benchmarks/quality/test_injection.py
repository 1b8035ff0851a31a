"""What the benchmark calls its rows is what the page and the curves look for."""

from pathlib import Path

import pytest

from benchmarks.page_injection import INJECTION
from benchmarks.quality.injection import ALPHAS, ORACLE_ALPHAS, SEEDS, gains, row, rows_of, whole_command
from benchmarks.quality.injection_parts import ways
from benchmarks.quality.injection_search import gained
from benchmarks.quality.injection_world import identity, prompts
from flenwheel_core.requests.inject import InjectionCell, InjectionFigures, InjectResult, Method
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


def cell(name: str, method: Method, alpha: float, seed: int, likeness: float) -> InjectionCell:
    return InjectionCell(
        image="0" * 64,
        identity=name,
        method=method,
        alpha=alpha,
        prompt=0,
        seed=seed,
        likeness=likeness,
        to_photos=likeness,
        kept=1.0,
        sharpness=1.0,
    )


def test_every_row_is_on_the_page(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    drawn = [identity(1_500_001, 1, store, known=True), identity(1_500_002, 1, store)]
    cells = [
        cell(one.name, method, alpha, seed, 0.5 if method == "injection" else 0.1)
        for one in drawn
        for method, alpha in (("injection", 0.0), ("injection", 1.0), ("shuffled", 1.0))
        for seed in SEEDS
    ]  # type: ignore[arg-type]
    reported = [
        figures(method, alpha, known=known)
        for method, alpha in (
            ("injection", 0.0),
            ("injection", 1.0),
            ("shuffled", 1.0),
            ("caption", 0.0),
            ("editor", 0.0),
        )
        for known in (True, False)
    ]  # type: ignore[arg-type]
    tried = [figures("injection", alpha, known=False) for alpha in (0.0, *ALPHAS)]
    tried += [figures("shuffled", alpha, known=False) for alpha in ALPHAS]
    rows = [figures("oracle", alpha, known=False) for alpha in ORACLE_ALPHAS]
    made = [row(one, f"oracle_{place}", strength=True) for one in rows for place in ("phrase", "both", "tokens")]
    for after in ("flow", "regression"):
        made += rows_of(reported, after) + rows_of(tried, f"choice_{after}", strength=True)
        made += gains(cells, drawn, after, 1.0)
    shown = {case for table in INJECTION.tables for case in table.cases}
    names = {str(one["case"]) for one in made if not str(one["case"]).startswith("verdict")}
    # With the head from captions alone the page leaves alpha 0 out, which is the same picture.
    assert names - shown == {"none_regression_known", "none_regression_unknown"}


def test_a_row_tells_what_anothers_photos_bring_at_its_strength() -> None:
    found = rows_of([figures(method, 1.0, known=False) for method in ("injection", "shuffled", "caption")], "flow")
    assert [one.get("identity_shuffled") for one in found] == [0.0, None, None]


def test_parts_of_a_description_are_on_the_page() -> None:
    shown = {case for table in INJECTION.tables if table.result == "injection_parts" for case in table.cases}
    assert set(ways()) == shown


def test_a_gain_is_of_characters_and_says_for_whom(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    drawn = [identity(1_500_001, 1, store, known=True), *(identity(1_500_002 + i, 1, store) for i in range(4))]
    cells = [
        cell(one.name, method, 1.0, seed, value + seed / 100_000)
        for number, one in enumerate(drawn)
        for method, value in (("injection", 0.1 * number), ("shuffled", 0.0))
        for seed in SEEDS
    ]  # type: ignore[arg-type]
    known, unknown, told = gains(cells, drawn, "flow", 1.0)
    assert (known["case"], known["identity_over_shuffled"], known["low"]) == ("gain_flow_known", 0.0, 0.0)
    assert unknown["case"] == "gain_flow_unknown" and unknown["characters"] == 4
    assert unknown["identity_over_shuffled"] == pytest.approx(0.25)
    assert 0.1 <= float(str(unknown["low"])) < 0.25 < float(str(unknown["high"])) <= 0.4
    assert "for identities it had not seen it does not: +0.25" in str(told["verdict"])


def test_a_file_of_parts_names_the_command_of_all() -> None:
    ran = [
        "--threads",
        "1",
        "--parts",
        "flow",
        "regression",
        "--work",
        "w1",
        "--photos",
        "6",
        "--kept",
        "k",
    ]
    assert whole_command(ran) == "python -m benchmarks.quality.injection --threads 1 --photos 6"


def test_prompts_say_what_is_read_and_descriptions_who_it_is(tmp_path: Path) -> None:
    assert all("a person" in one.text and one.edit.startswith("same person") for one in prompts())
    assert prompts()[1].text == "photo of a person, smiling, half-left view, forest background, sunset lighting"
    someone = identity(1_500_001, 2, Store((tmp_path / "store").as_uri()))
    assert len(someone.photos) == 2 and len(someone.held_out) == 6
    assert all(f"a person with {someone.description}" in photo.described for photo in someone.photos)
    assert all(someone.description not in photo.caption for photo in someone.photos)


def test_a_search_compares_character_by_character() -> None:
    cells = (
        cell("one", "injection", 0.0, 1, 0.9),
        cell("one", "injection", 1.0, 1, 0.5),
        cell("one", "shuffled", 1.0, 1, 0.2),
        cell("two", "injection", 1.0, 1, 0.1),
        cell("two", "shuffled", 1.0, 1, 0.3),
    )
    made = gained(InjectResult(images="0" * 64, cells=cells, figures=(), grids=(), verdict=""))
    assert [round(one, 6) for one in made] == [0.3, -0.2]
