"""The model card as a stranger reads it."""

import ast
from pathlib import Path

import pytest

from flenwheel_core.models.pipeline_call import PipelineCall
from flenwheel_core.publishing.card import model_card
from flenwheel_core.store import Store
from tests.kit.exported import export_request

HUB = "black-forest-labs/FLUX.1-dev@" + "a" * 40


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path.as_uri())


def code_of(card: str) -> str:
    return card.partition("```python\n")[2].partition("```")[0]


def test_the_lines_of_use_are_whole_where_the_base_is_on_the_hub(store: Store) -> None:
    lines = code_of(str(model_card(export_request(store, base=HUB), ())))
    ast.parse(lines)
    assert (
        'base, commit = "black-forest-labs/FLUX.1-dev", "' + "a" * 40 in lines
        and "from_pretrained(base, revision=commit" in lines
    )
    assert lines.index("from_pretrained") < lines.index("load_lora_weights") < lines.index(".images[0]")
    assert "set_adapters" not in lines


def test_a_default_strength_is_set_and_told(store: Store) -> None:
    card = str(model_card(export_request(store, base=HUB).model_copy(update={"strength": 0.7}), ()))
    assert 'pipeline.set_adapters(["lora"], [0.7])' in code_of(card)
    assert "Use it at a strength of **0.7**" in card


def test_a_base_that_is_nowhere_to_be_had_is_not_loaded_by_a_made_up_name(store: Store) -> None:
    lines = code_of(str(model_card(export_request(store), ())))
    ast.parse(lines)
    assert "from_pretrained" not in lines and "load_lora_weights" in lines


def test_the_lines_of_use_draw_as_the_samples_were_drawn(store: Store) -> None:
    call: PipelineCall = {"num_inference_steps": 40, "true_cfg_scale": 4.0, "negative_prompt": "\U0001f33b"}
    card = str(model_card(export_request(store, base="Qwen/Qwen-Image@main"), (), call=call))
    (drawn,) = (
        one.value for one in ast.parse(code_of(card)).body if isinstance(one, ast.Assign) and "picture" in ast.dump(one)
    )
    assert isinstance(drawn, ast.Attribute | ast.Subscript)
    asked = next(one for one in ast.walk(drawn) if isinstance(one, ast.Call))
    given = {one.arg: ast.literal_eval(one.value) for one in asked.keywords}
    assert not asked.args and given.pop("prompt").startswith("photo of ohwx_mira person") and given == call
