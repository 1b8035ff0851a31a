"""The captioner on a tiny model with random weights: what they are asked, and that company does not matter."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration
from transformers.quantizers.quantizers_utils import should_convert_module

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.qwen_vl.captioner import open_captioner
from flenwheel_core.models.qwen_vl.loading import EXACT_PARTS, open_model
from flenwheel_core.nano.models.vlm import SAME_QUESTIONS, build_processor, build_tokenizer, build_vlm, chat
from tests.kit.tiny_editor import picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vlm")
    tokenizer = build_tokenizer(["smiling, front view, forest background"] * 30)
    model = build_vlm(tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    model.save_pretrained(path)
    build_processor(tokenizer).save_pretrained(path)
    return path


def test_the_question_is_asked_in_the_models_own_template(folder: Path, settings: Settings) -> None:
    with open_model(folder, "tiny", settings) as model:
        inputs = model.prompt(SAME_QUESTIONS[0], [picture(100, 100), picture(64, 64)])
        text = model.processor.tokenizer.decode(inputs["input_ids"][0])
    assert text.replace("<|image_pad|>" * 16, "<|image_pad|>") == chat(SAME_QUESTIONS[0], 2)


def test_captions_do_not_depend_on_company(folder: Path, settings: Settings) -> None:
    with open_captioner(folder, "tiny", settings) as captioner:
        pictures = [picture(100, 80), picture(64, 64, seed=5)]
        together = captioner.caption(pictures)
        assert together == [captioner.caption([image])[0] for image in pictures] and len(together) == 2
        assert captioner.model == "tiny"


def test_parts_that_stay_exact_are_named_from_the_start_so_that_transformers_spares_them(folder: Path) -> None:
    with torch.device("meta"):
        network = Qwen2_5_VLForConditionalGeneration(AutoConfig.from_pretrained(folder))
    linears = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    quantised = [name for name in linears if should_convert_module(name, list(EXACT_PARTS))]
    assert quantised and all(name.startswith("model.language_model.") for name in quantised)
    assert any(name.startswith("model.visual.") for name in linears)
