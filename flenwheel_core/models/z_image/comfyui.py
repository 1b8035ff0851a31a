"""A ComfyUI graph that draws with a LoRA of Z-Image."""

from flenwheel_core.adapters.comfyui import Graph, GraphFacts, loaded, sampled

MODEL, VAE = "z_image_bf16.safetensors", "ae.safetensors"
TEXT = {"clip_name": "qwen_3_4b.safetensors", "type": "lumina2"}
SHIFT = 3.0


def graph(facts: GraphFacts) -> bytes:
    """The file; the shift is ComfyUI's own for this model, near to the pipeline's."""
    made = Graph()
    model, clip, vae = loaded(made, facts, model=MODEL, vae=VAE, text=TEXT)
    model = made.add("ModelSamplingAuraFlow", model=model, shift=SHIFT)
    sampled(made, facts, model=model, clip=clip, vae=vae)
    return made.to_bytes()
