"""Graphs for ComfyUI: whole, with every link leading somewhere, and drawing the sample picture with its seed."""

import json

import pytest

from flenwheel_core.adapters.comfyui import GraphFacts
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.registry import families, load_entry

FACTS = GraphFacts(
    lora_file="mira.comfyui.safetensors",
    name="mira",
    prompt="photo of ohwx_mira person",
    seed=43,
    sampler=Sampler(steps=17, guidance=2.5, true_cfg=4.0, width=832, height=1216),
)
INPUTS = {
    "UNETLoader": {"unet_name", "weight_dtype"},
    "LoraLoaderModelOnly": {"model", "lora_name", "strength_model"},
    "DualCLIPLoader": {"clip_name1", "clip_name2", "type"},
    "CLIPLoader": {"clip_name", "type"},
    "VAELoader": {"vae_name"},
    "CLIPTextEncode": {"clip", "text"},
    "FluxGuidance": {"conditioning", "guidance"},
    "ModelSamplingFlux": {"model", "max_shift", "base_shift", "width", "height"},
    "ModelSamplingAuraFlow": {"model", "shift"},
    "BasicGuider": {"model", "conditioning"},
    "CFGGuider": {"model", "positive", "negative", "cfg"},
    "BasicScheduler": {"model", "scheduler", "steps", "denoise"},
    "Flux2Scheduler": {"steps", "width", "height"},
    "EmptySD3LatentImage": {"width", "height", "batch_size"},
    "EmptyFlux2LatentImage": {"width", "height", "batch_size"},
    "RandomNoise": {"noise_seed"},
    "KSamplerSelect": {"sampler_name"},
    "SamplerCustomAdvanced": {"noise", "guider", "sampler", "sigmas", "latent_image"},
    "KSampler": {
        "model", "positive", "negative", "latent_image", "seed", "steps", "cfg", "sampler_name", "scheduler", "denoise",
    },
    "VAEDecode": {"samples", "vae"},
    "SaveImage": {"images", "filename_prefix"},
}  # fmt: skip
"""What ComfyUI's own nodes ask for."""


@pytest.mark.parametrize("family", [family for family in families() if family.comfyui], ids=lambda family: family.name)
def test_a_graph_is_whole(family: object) -> None:
    nodes = json.loads(load_entry(family.comfyui)(FACTS))  # type: ignore[attr-defined]
    used = set()
    for node in nodes.values():
        assert set(node["inputs"]) == INPUTS[node["class_type"]], node
        for value in node["inputs"].values():
            if isinstance(value, list):
                assert value[0] in nodes and value[1] == 0
                used.add(value[0])
    unused = [node["class_type"] for number, node in nodes.items() if number not in used]
    assert unused == ["SaveImage"]
    text = json.dumps(nodes)
    assert '"photo of ohwx_mira person"' in text and '"mira.comfyui.safetensors"' in text
    kinds = {node["class_type"]: node["inputs"] for node in nodes.values()}
    seeds = [kinds[kind][key] for kind, key in (("RandomNoise", "noise_seed"), ("KSampler", "seed")) if kind in kinds]
    assert seeds == [43] and "832" in text and "1216" in text and "17" in text
    assert "2.5" in text or "4.0" in text


def test_every_family_whose_base_is_trained_has_one() -> None:
    shipped = [family for family in families() if str(family.trainer or "").startswith("flenwheel_core.")]
    assert {family.name for family in shipped} == {family.name for family in families() if family.comfyui}
