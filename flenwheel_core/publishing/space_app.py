"""A demo of one LoRA: a prompt, a seed and the LoRA's strength. `space.json` beside this file says what to load and how to draw.

It runs as a Space of the Hub (ZeroGPU or any hardware) and on any machine: `pip install -r requirements.txt`, then `python app.py`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MOST_STRENGTH = 1.5


def load(facts: dict[str, Any]) -> Any:
    """The pipeline with the LoRA on it, on a card if there is one."""
    import torch
    from diffusers import DiffusionPipeline

    on_card = torch.cuda.is_available()
    folder = HERE / facts["base"]
    place = {} if folder.is_dir() else {"revision": facts["revision"]}
    pipeline = DiffusionPipeline.from_pretrained(
        folder if folder.is_dir() else facts["base"],
        dtype=torch.bfloat16 if on_card else torch.float32,
        use_safetensors=True,
        **place,
    )
    pipeline.load_lora_weights(str(HERE), weight_name=facts["lora"], adapter_name="lora")
    return pipeline.to("cuda" if on_card else "cpu")


def drawer(pipeline: Any, facts: dict[str, Any]) -> "Callable[[str, float, float], Any]":
    """Draws the picture of (prompt, seed, strength)."""
    import torch

    def draw(prompt: str, seed: float, strength: float) -> Any:
        pipeline.set_adapters(["lora"], [float(strength)])
        return pipeline(
            prompt=prompt,  # by name: the first place of a pipeline that also edits is a picture's
            generator=torch.Generator().manual_seed(int(seed)),
            **facts["call"],
        ).images[0]

    return draw


def on_zero_gpu(draw: "Callable[[str, float, float], Any]") -> "Callable[[str, float, float], Any]":
    """On ZeroGPU hardware a function asks for its card; elsewhere it stays as it is."""
    try:
        import spaces
    except ImportError:
        return draw
    found: Callable[[str, float, float], Any] = spaces.GPU(draw)
    return found


def page(draw: "Callable[[str, float, float], Any]", facts: dict[str, Any]) -> Any:
    """The page: what to draw on the left, the picture on the right."""
    import gradio as gr

    with gr.Blocks(title=facts["title"]) as shown:
        gr.Markdown(f"# {facts['title']}\nWrite **{facts['words']}** in the prompt. {facts['licence']}.")
        with gr.Row():
            with gr.Column():
                prompt = gr.Textbox(label="Prompt", value=facts["prompts"][0], lines=3, max_length=1000)
                seed = gr.Number(label="Seed", value=facts["seed"], precision=0, minimum=0, maximum=2**31 - 1)
                strength = gr.Slider(
                    0, MOST_STRENGTH, value=facts.get("strength", 1.0), step=0.05, label="Strength of the LoRA"
                )
                button = gr.Button("Draw", variant="primary")
            picture = gr.Image(label="Picture", format="png")
        button.click(draw, [prompt, seed, strength], picture, api_name="draw")
        gr.Examples([[one] for one in facts["prompts"]], [prompt])
    return shown


def main() -> None:
    """Loads everything, then serves."""
    facts = json.loads((HERE / "space.json").read_text())
    page(on_zero_gpu(drawer(load(facts), facts)), facts).queue(max_size=20).launch()


if __name__ == "__main__":
    main()
