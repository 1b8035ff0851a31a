"""A ComfyUI graph that draws with a LoRA of FLUX.2 klein."""

from flenwheel_core.adapters.comfyui import Graph, GraphFacts, loaded, sampled_by_guider

MODEL, VAE = "flux-2-klein-base-4b.safetensors", "flux2-vae.safetensors"
TEXT = {"clip_name": "qwen_3_4b.safetensors", "type": "flux2"}


def graph(facts: GraphFacts) -> bytes:
    """The file; of another size of klein the names of model and text encoder are to be chosen in ComfyUI."""
    made, sampler = Graph(), facts.sampler
    size = {"width": sampler.width, "height": sampler.height}
    model, clip, vae = loaded(made, facts, model=MODEL, vae=VAE, text=TEXT)
    guider = made.add(
        "CFGGuider",
        model=model,
        positive=made.add("CLIPTextEncode", clip=clip, text=facts.prompt),
        negative=made.add("CLIPTextEncode", clip=clip, text=""),
        cfg=sampler.true_cfg,
    )
    sampled_by_guider(
        made,
        facts,
        guider=guider,
        sigmas=made.add("Flux2Scheduler", steps=sampler.steps, **size),
        latent=made.add("EmptyFlux2LatentImage", **size, batch_size=1),
        vae=vae,
    )
    return made.to_bytes()
