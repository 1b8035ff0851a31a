"""Qwen-Image by prompt embeddings: what it draws without injection is the generator's, and gradients reach the prompt."""

from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.protocols import GenerateJob
from flenwheel_core.models.registry import open_generator, open_prompt_model
from tests.kit.tiny_editor import picture, save_tiny_base

SAMPLER = Sampler(steps=2, guidance=1.0, true_cfg=4.0, width=64, height=96)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("qwen"))


def test_without_injection_it_draws_what_the_generator_draws(base: Path, tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, gpu="cpu")
    with open_generator(str(base), settings) as generator:
        (wanted,) = generator.generate([GenerateJob("x", "make the light warm", 5, SAMPLER)])
    with open_prompt_model(str(base), settings) as model:
        prompts = model.encode(["make the light warm", model.no_prompt])
        assert model.width == prompts["make the light warm"].tokens.shape[1]
        drawn = model.draw(prompts["make the light warm"], SAMPLER, 5, prompts[model.no_prompt])
    assert drawn.tobytes() == wanted.image.tobytes()


def test_gradients_reach_prompts_of_any_length_and_nothing_else(base: Path, tmp_path: Path) -> None:
    with open_prompt_model(str(base), Settings(workspace=tmp_path, gpu="cpu")) as model:
        prompts = list(model.encode(["make the light warm", "sunset lighting"]).values())
        latents = model.latents([picture(90, 60), picture(64, 96)], (64, 96))
        given = [one.with_tokens(one.tokens.clone().requires_grad_()) for one in prompts]
        assert len(given[0].tokens) != len(given[1].tokens)
        made = model.velocity(given, torch.stack(latents), torch.tensor([0.5, 0.9]), (64, 96))
        assert made.shape == torch.stack(latents).shape
        made.square().sum().backward()
        assert all(one.tokens.grad is not None and (one.tokens.grad.abs().sum(1) > 0).all() for one in given)
        alone = model.velocity(given[1:], latents[1][None], torch.tensor([0.9]), (64, 96))
        torch.testing.assert_close(alone[0], made[1], rtol=1e-3, atol=1e-4)


def test_places_of_words_are_the_tokens_that_say_them(base: Path, tmp_path: Path) -> None:
    with open_prompt_model(str(base), Settings(workspace=tmp_path, gpu="cpu")) as model:
        text = "same person, make the light warm"
        tokens = model.encode([text])[text].tokens
        person, warm = model.places(text, "person"), model.places(text, "warm")
        assert person and warm and max(person) < min(warm) < len(tokens)
        with pytest.raises(InputError, match="does not say"):
            model.places(text, "dragon")
