"""A ComfyUI graph that draws with a LoRA of FLUX.1: the pipeline's own schedule, guidance and seed."""

from flenwheel_core.adapters.comfyui import Graph, GraphFacts, loaded, sampled_by_guider

MODEL, VAE = "flux1-dev.safetensors", "ae.safetensors"
TEXT = {"clip_name1": "clip_l.safetensors", "clip_name2": "t5xxl_fp16.safetensors", "type": "flux"}


def graph(facts: GraphFacts) -> bytes:
    """The file. ModelSamplingFlux with these shifts and the schedule `simple` are diffusers' levels of noise for this size."""
    made, sampler = Graph(), facts.sampler
    size = {"width": sampler.width, "height": sampler.height}
    model, clip, vae = loaded(made, facts, model=MODEL, vae=VAE, text=TEXT)
    model = made.add("ModelSamplingFlux", model=model, max_shift=1.15, base_shift=0.5, **size)
    words = made.add("CLIPTextEncode", clip=clip, text=facts.prompt)
    said = made.add("FluxGuidance", conditioning=words, guidance=sampler.guidance)
    sampled_by_guider(
        made,
        facts,
        guider=made.add("BasicGuider", model=model, conditioning=said),
        sigmas=made.add("BasicScheduler", model=model, scheduler="simple", steps=sampler.steps, denoise=1.0),
        latent=made.add("EmptySD3LatentImage", **size, batch_size=1),
        vae=vae,
    )
    return made.to_bytes()
