"""What ComfyUI's graphs are made of: nodes by number, in the form its API takes and its window opens by drag and drop."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from flenwheel_core.base.ids import Json
from flenwheel_core.documents.images import Sampler

Link = list[str | int]
"""A node's output: its number and which one."""


@dataclass(frozen=True)
class GraphFacts:
    """What a graph draws: one picture with one LoRA."""

    lora_file: str
    name: str
    prompt: str
    seed: int
    sampler: Sampler
    weight: float = 1.0


@dataclass
class Graph:
    """Nodes in the order in which they were added."""

    nodes: dict[str, Json] = field(default_factory=dict)

    def add(self, kind: str, **inputs: "Json | Link") -> Link:
        """Adds a node and returns its first output."""
        number = str(len(self.nodes) + 1)
        self.nodes[number] = {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
        return [number, 0]

    def to_bytes(self) -> bytes:
        """The file."""
        return json.dumps(self.nodes, indent=1).encode()


def loaded(
    graph: Graph, facts: GraphFacts, *, model: str, vae: str, text: Mapping[str, str]
) -> tuple[Link, Link, Link]:
    """Base model with the LoRA on it, text encoder, autoencoder. `text` are the inputs of a CLIPLoader, or of a DualCLIPLoader."""
    base = graph.add("UNETLoader", unet_name=model, weight_dtype="default")
    worn = graph.add("LoraLoaderModelOnly", model=base, lora_name=facts.lora_file, strength_model=facts.weight)
    clip = graph.add("DualCLIPLoader" if "clip_name2" in text else "CLIPLoader", **text)
    return worn, clip, graph.add("VAELoader", vae_name=vae)


def sampled_by_guider(graph: Graph, facts: GraphFacts, *, guider: Link, sigmas: Link, latent: Link, vae: Link) -> None:
    """Euler steps with noise from the seed, decoded and saved."""
    drawn = graph.add(
        "SamplerCustomAdvanced",
        noise=graph.add("RandomNoise", noise_seed=facts.seed),
        guider=guider,
        sampler=graph.add("KSamplerSelect", sampler_name="euler"),
        sigmas=sigmas,
        latent_image=latent,
    )
    saved(graph, facts, drawn, vae)


def sampled(graph: Graph, facts: GraphFacts, *, model: Link, clip: Link, vae: Link) -> None:
    """The plain sampler with classifier-free guidance, decoded and saved."""
    sampler = facts.sampler
    size = {"width": sampler.width, "height": sampler.height, "batch_size": 1}
    drawn = graph.add(
        "KSampler",
        model=model,
        positive=graph.add("CLIPTextEncode", clip=clip, text=facts.prompt),
        negative=graph.add("CLIPTextEncode", clip=clip, text=""),
        latent_image=graph.add("EmptySD3LatentImage", **size),
        seed=facts.seed,
        steps=sampler.steps,
        cfg=sampler.true_cfg,
        sampler_name="euler",
        scheduler="simple",
        denoise=1.0,
    )
    saved(graph, facts, drawn, vae)


def saved(graph: Graph, facts: GraphFacts, latent: Link, vae: Link) -> None:
    """Decodes and saves."""
    image = graph.add("VAEDecode", samples=latent, vae=vae)
    graph.add("SaveImage", images=image, filename_prefix=facts.name)
