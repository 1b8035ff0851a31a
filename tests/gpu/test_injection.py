"""The gradient that a head learns from, on a card, through modules that are not this program's."""

from dataclasses import replace
from pathlib import Path

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.registry import open_prompt_model

TEXTS = ("photo of a person, happy, front view", "photo of a person", "full body photo of a person", "a person, sad")


def gradients(folder: Path, gpu: str) -> list[torch.Tensor]:
    settings = Settings(workspace=folder, store=None, gpu=gpu)
    with open_prompt_model("nano", settings) as model:
        prompts = list(model.encode(TEXTS).values())
        leaves = [prompt.tokens.detach().clone().to(model.device).requires_grad_() for prompt in prompts]
        generator = torch.Generator().manual_seed(0)
        noisy = torch.randn(len(prompts), 64, 64, generator=generator)
        changed = [replace(prompt, tokens=leaf) for prompt, leaf in zip(prompts, leaves, strict=True)]
        made = model.velocity(
            changed, noisy.to(model.device), torch.full((len(prompts),), 0.6, device=model.device), (128, 128)
        )
        made.float().square().mean().backward()
        return [leaf.grad.float().cpu() for leaf in leaves if leaf.grad is not None]


def test_the_gradient_of_a_prompt_is_the_processors(tmp_path: Path) -> None:
    for here, there in zip(gradients(tmp_path, "cpu"), gradients(tmp_path, "auto"), strict=True):
        assert there.isfinite().all()
        cosine = torch.nn.functional.cosine_similarity(here.flatten(), there.flatten(), dim=0)
        assert cosine > 0.99, "cuDNN's attention gives other gradients where a slice comes behind it"
