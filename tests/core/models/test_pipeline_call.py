"""What a pipeline is called with is what its class takes, and guidance is on where it was on, and off where it was off."""

import inspect

import diffusers
import pytest

from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.pipeline_call import lora_call, pipeline_call
from flenwheel_core.models.qwen_image import conditioning
from flenwheel_core.models.qwen_image import pipeline_call as qwen_image
from flenwheel_core.models.registry import families
from flenwheel_core.models.z_image import geometry
from flenwheel_core.models.z_image import pipeline_call as z_image

SHIPPED = [family for family in families() if family.trainer.startswith("flenwheel_core.")]
"""Other tests register families of their own."""
DRAWING = [(family, name) for family in SHIPPED for name in family.classes_for("generator")]
PLAIN = {"num_inference_steps": 7, "width": 96, "height": 64}


def sampler(true_cfg: float) -> Sampler:
    return Sampler(steps=7, guidance=2.5, true_cfg=true_cfg, width=96, height=64)


def named(name: str, true_cfg: float) -> dict[str, object]:
    family = next(one for one in families() if one.name == name)
    return dict(pipeline_call(family, sampler(true_cfg)))


@pytest.mark.parametrize("true_cfg", [1.0, 4.0])
@pytest.mark.parametrize(("family", "name"), DRAWING, ids=[name for _, name in DRAWING])
def test_each_pipeline_takes_its_arguments(family: object, name: str, true_cfg: float) -> None:
    one = next(known for known in families() if known is family)
    assert one.pipeline_call, f"{one.name} does not say how its pipeline is called"
    call = pipeline_call(one, sampler(true_cfg))
    taken = inspect.signature(getattr(diffusers, name).__call__)
    taken.bind(None, prompt="a", generator=None, **call)  # TypeError for a name that it does not know
    assert PLAIN.items() <= call.items()


def test_guidance_has_its_name_in_each_family() -> None:
    assert named("FLUX.1", 1.0) == PLAIN | {"guidance_scale": 2.5}
    assert named("FLUX.1", 4.0) == PLAIN | {"guidance_scale": 2.5, "true_cfg_scale": 4.0, "negative_prompt": ""}
    assert named("FLUX.2", 1.0) == PLAIN | {"guidance_scale": 1.0}
    assert named("FLUX.2", 4.0) == PLAIN | {"guidance_scale": 4.0}
    assert named("Qwen-Image", 1.0) == PLAIN | {"true_cfg_scale": 1.0}
    assert named("Qwen-Image", 4.0) == PLAIN | {"true_cfg_scale": 4.0, "negative_prompt": " "}
    assert named("Z-Image", 1.0) == PLAIN | {"guidance_scale": 0.0}
    assert named("Z-Image", 4.0) == PLAIN | {"guidance_scale": 3.0, "negative_prompt": ""}
    assert pipeline_call(None, sampler(4.0)) == PLAIN


def test_what_is_steered_away_from_is_what_the_families_steer_away_from() -> None:
    assert qwen_image.NO_PROMPT == conditioning.NO_PROMPT and z_image.NO_PROMPT == geometry.NO_PROMPT


@pytest.mark.parametrize(
    ("architecture", "base", "more"),
    [
        ("z-image/lora", "a/b@main", {"guidance_scale": 3.0, "negative_prompt": ""}),
        ("", "Qwen/Qwen-Image@main", {"true_cfg_scale": 4.0, "negative_prompt": " "}),
        ("", "some/body@main", {}),
        ("of-somebody/lora", "/a/folder@1", {}),
        # Its T5 reads 64 tokens, and padding is seen.
        (
            "",
            "nano@1",
            {"guidance_scale": 2.5, "true_cfg_scale": 4.0, "negative_prompt": "", "max_sequence_length": 64},
        ),
    ],
)
def test_the_file_says_its_family_else_the_base_does(architecture: str, base: str, more: dict[str, object]) -> None:
    import torch

    said = {"modelspec.architecture": architecture} if architecture else {"format": "pt"}
    lora = tensor_bytes({"a.lora_A.weight": torch.zeros(2, 2)}, said)
    assert lora_call(lora, base, sampler(4.0)) == PLAIN | more
