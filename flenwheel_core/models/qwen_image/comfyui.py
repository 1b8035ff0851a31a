"""A ComfyUI graph that draws with a LoRA of Qwen-Image."""

from flenwheel_core.adapters.comfyui import Graph, GraphFacts, loaded, sampled

MODEL, VAE = "qwen_image_bf16.safetensors", "qwen_image_vae.safetensors"
TEXT = {"clip_name": "qwen_2.5_vl_7b.safetensors", "type": "qwen_image"}
SHIFT = 3.1


def graph(facts: GraphFacts) -> bytes:
    """The file; the shift is ComfyUI's own for this model, near to the pipeline's."""
    made = Graph()
    model, clip, vae = loaded(made, facts, model=MODEL, vae=VAE, text=TEXT)
    model = made.add("ModelSamplingAuraFlow", model=model, shift=SHIFT)
    sampled(made, facts, model=model, clip=clip, vae=vae)
    return made.to_bytes()
