"""FLUX.1 by prompt embeddings: what it draws without injection is the generator's, and gradients reach the prompt."""

from pathlib import Path

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.protocols import GenerateJob
from flenwheel_core.models.registry import open_generator, open_prompt_model

SAMPLER = Sampler(steps=2, guidance=3.5, true_cfg=1.0, width=128, height=128)
TEXT = "photo of a person, smiling, front view"


def test_without_injection_it_draws_what_the_generator_draws(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, gpu="cpu")
    with open_generator("nano", settings) as generator:
        (wanted,) = generator.generate([GenerateJob("x", TEXT, 5, SAMPLER)])
    with open_prompt_model("nano", settings) as model:
        prompt = model.encode([TEXT])[TEXT]
        assert model.draw(prompt, SAMPLER, 5).tobytes() == wanted.image.tobytes()
        latents = torch.stack(model.latents([wanted.image], (128, 128)))
        given = prompt.with_tokens(prompt.tokens.clone().requires_grad_())
        model.velocity([given], latents, torch.tensor([0.7]), (128, 128)).square().sum().backward()
        assert given.tokens.grad is not None and (given.tokens.grad.abs().sum(1) > 0).all()
        place = model.places(TEXT, "person")
        other = TEXT.replace("person", "forest")
        changed = (model.encode([other])[other].tokens - prompt.tokens).abs().sum(1)
        assert int(changed.argmax()) in place
