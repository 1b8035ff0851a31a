"""Recipes that no turn could carry out, or that ask for what nothing does, are refused when they are read, in words."""

import ast
import json
import tomllib
from pathlib import Path

import pytest

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.ids import canonical_json
from flenwheel_core.recipes.idle_keys import IDLE_KEYS
from flenwheel_core.recipes.loading import describe_fields, find_recipe, load_recipe, parse_recipe
from flenwheel_core.recipes.model import Recipe

PROJECT = Path(__file__).resolve().parents[3]
NANO = find_recipe("nano").read_text()


def changed(old: str, new: str) -> Recipe:
    assert old in NANO, old
    return parse_recipe(tomllib.loads(NANO.replace(old, new)), "mine.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("anchor = 1.0", "anchor = 1.0\ncomparison_strength = 500.0", "comparison_strength does nothing without"),
        ("steps = 400", "steps = true", r"train\.steps: true is no number"),
        ("min_epochs = 28.0", "min_epochs = true", r"train\.min_epochs: true is no number"),
        ("steps = 12,", "steps = true,", r"enrich\.sampler\.steps: true is no number"),
        ("edits_per_source = 5", "edits_per_source = 5\nseed = 9223372036854775808", r"enrich\.seed: a seed has at most 63 bits"),
        ("[benchmark]", "[benchmark]\nseed = 99999999999999999999999", r"benchmark\.seed: a seed has at most 63 bits"),
        ("width = 128, height = 128 }\n\n[[enrich", "width = 127, height = 128 }\n\n[[enrich", "127 is not a multiple of 16.*try 128"),
        ("width = 128, height = 128 }\n\n[[generate", "width = 128, height = 100 }\n\n[[generate", r"generate\.sampler\.height.*try 96"),
        ('id = "view-light"', 'id = "view-background"', "two templates are called view-background"),
        ("same person, {pose},", "same person, {pose.__class__},", r"\{pose.__class__\} is no field"),
        ("same person, {pose},", "same {trigger}, {pose},", r"enrich\.templates pose-background: \{trigger\} is no field"),
        ("same person, {pose},", "same person, {pose,", r"\{ is no field"),
        ("{trigger} {class_word}, {shown}", "{trigger} {class}, {shown}", r"caption_template: \{class\} is no field"),
        ("{shot} {trigger} {class_word}, {pose}, {expression}", "{shot} {hair}", r"generate\.templates card: \{hair\} is no field"),
        ('lighting = ["day", "sunset", "night", "studio"]', "", r"\{lighting\} is used, and values\.lighting gives nothing"),
        ('background = "{} background"', 'background = "{0} background"', r"phrases\.background"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_out_is_named(old: str, new: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        changed(old, new)


def test_a_critic_that_looks_needs_a_model_that_looks() -> None:
    content = tomllib.loads(NANO)
    content.setdefault("critic", {})["vision"] = {"learns": True}
    assert parse_recipe(content, "mine.toml").critic.vision.learns
    del content["models"]["captioner"]
    with pytest.raises(RecipeError, match=r"critic\.vision\.learns: .* set models\.captioner"):
        parse_recipe(content, "mine.toml")


def test_a_plan_without_an_aim_is_refused() -> None:
    content = tomllib.loads(NANO)
    content["enrich"]["templates"] = [{"id": "a", "kind": "edit", "attribute": "style", "text": "{background}"}]
    with pytest.raises(RecipeError, match="no plan can aim"):
        parse_recipe(content, "mine.toml")


@pytest.mark.parametrize("key", sorted(IDLE_KEYS))
def test_a_key_that_nothing_reads_is_refused_with_what_to_do_instead(key: str) -> None:
    content = tomllib.loads(NANO)
    *tables, name = key.split(".")
    table = content
    for part in tables:
        table = table.setdefault(part, {})
    default = Recipe.model_validate(tomllib.loads(NANO))
    for part in tables:
        default = getattr(default, part)
    value = getattr(default, name)
    table[name] = {"share": 0.1} if name == "prior" else {"every_steps": 5} if name == "sampling" else value
    with pytest.raises(RecipeError, match=f"{key}: nothing reads this key here; "):
        parse_recipe(content, "mine.toml")
    assert key not in {field for field, _, _ in describe_fields()}


def test_recipes_of_finished_turns_that_hold_such_keys_are_still_read() -> None:
    stored = load_recipe("nano").to_bytes()
    assert b"minimum_face_score" in stored
    assert Recipe.from_bytes(stored, where="turn 1") == load_recipe("nano")


def test_the_family_of_earlier_versions_said_nothing_in_stored_recipes_and_is_refused_in_files() -> None:
    stored = json.loads(load_recipe("nano").to_bytes())
    assert "family" not in stored
    earlier = canonical_json({**stored, "family": "flux"})
    assert Recipe.from_bytes(earlier, where="turn 1").to_bytes() == earlier
    with pytest.raises(RecipeError, match=r"family: flux is the name of no family; write FLUX\.1, or leave it out"):
        parse_recipe({**tomllib.loads(NANO), "family": "flux"}, "mine.toml")
    assert parse_recipe({**tomllib.loads(NANO), "family": "FLUX.1"}, "mine.toml").family == "FLUX.1"


def test_every_key_is_read_by_something() -> None:
    read = {"min_epochs"}  # the recipe's own method turns it into steps
    for package in ("flenwheel_core", "flows", "tasks", "deployments"):
        for path in (PROJECT / package).rglob("*.py"):
            if "recipes" not in path.parts:
                read |= {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    recipes = set(Recipe.model_fields["models"].annotation.model_fields)  # type: ignore[union-attr]
    idle = [key for key, _, _ in describe_fields() if key.split(".")[-1] not in read | recipes | {"description"}]
    assert idle == []


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 10_000,
        "a = " + "{b = " * 5_000,
        "a = " + "9" * 5_000,
        'a = "' + "\\u0000" * 3,
        "\0",
        "a = 1\na = 2",
        "= 3",
        "a = 2020-13-45",
    ],
)
def test_odd_toml_is_a_plain_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text)
    with pytest.raises(RecipeError):
        load_recipe(str(path))


@pytest.mark.parametrize("name", ["\0.toml", "a" * 5_000 + ".toml", "~nobody-here/x.toml"])
def test_names_that_no_file_can_have_are_a_plain_error(name: str) -> None:
    from flenwheel_core.base.errors import NotFoundError

    with pytest.raises(NotFoundError):
        load_recipe(name)
