"""The plain forward passes that training uses give the same numbers as the libraries' own."""

import torch
from diffusers import AutoencoderKLQwenImage
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.models import editor, flux
from tools.nano_training.editor import IMAGE_SHAPES, EditorModel
from tools.nano_training.qwen_vae import QwenCodec
from tools.nano_training.text import clip_pooled, t5_hidden
from tools.nano_training.vae import FluxCodec

PROMPTS = ["photo of ohwx_char, smiling", "full body photo of a person with red hair, standing pose, half-left view"]


def ids(tokenizer: CLIPTokenizer | T5TokenizerFast) -> torch.Tensor:
    """(2, 64), padded."""
    found: torch.Tensor = tokenizer(PROMPTS, padding="max_length", max_length=64, return_tensors="pt").input_ids
    return found


@torch.no_grad()
def test_text_encoders() -> None:
    folder = weights_folder("flux")
    clip = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2", dtype=torch.float32)
    clip_ids = ids(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    t5_ids = ids(T5TokenizerFast.from_pretrained(folder / "tokenizer_2"))
    torch.testing.assert_close(clip_pooled(clip, clip_ids), clip(clip_ids).pooler_output, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(t5_hidden(t5, t5_ids), t5(t5_ids)[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_editor_transformer_with_padding() -> None:
    torch.manual_seed(0)
    model = editor.build_transformer(128).eval()
    for parameter in model.parameters():
        if not parameter.any():  # else every block is the identity and the test compares zeros
            torch.nn.init.normal_(parameter, std=0.05)
    noisy, source, text = torch.randn(2, 64, 64), torch.randn(2, 64, 64), torch.randn(2, 40, 128)
    sigma, valid = torch.tensor([0.3, 0.8]), torch.arange(40) < torch.tensor([[40], [25]])
    expected = model(
        hidden_states=torch.cat([noisy, source], dim=1),
        encoder_hidden_states=text,
        encoder_hidden_states_mask=valid.long(),
        timestep=sigma,
        img_shapes=IMAGE_SHAPES * 2,
        return_dict=False,
    )[0][:, :64]
    found = EditorModel(model, 40, torch.device("cpu")).velocity(noisy, source, sigma, text, valid)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_editor_autoencoder_on_one_frame() -> None:
    torch.manual_seed(0)
    vae: AutoencoderKLQwenImage = editor.build_vae().eval()
    names = list(vae.state_dict())
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    mean = vae.encode(pixels.unsqueeze(2)).latent_dist.mean
    decoded = vae.decode(mean).sample[:, :, 0]
    codec = QwenCodec(vae)
    assert list(vae.state_dict()) == names
    torch.testing.assert_close(codec.moments(pixels)[0], mean[:, :, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(codec.decode(mean[:, :, 0]).clamp(-1, 1), decoded, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_flux_autoencoder_and_packing() -> None:
    torch.manual_seed(0)
    vae = flux.build_vae().eval()
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    mean = FluxCodec(vae).moments(pixels)[0]
    torch.testing.assert_close(mean, vae.encode(pixels).latent_dist.mean)
    torch.testing.assert_close(flux.unpack(flux.pack(mean), 8, 8), mean)
