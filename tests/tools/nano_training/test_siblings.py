"""What trains nano klein and nano Z-Image gives the numbers of the libraries; a second reference gives nothing of the answer away."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import torch
from diffusers import ZImageTransformer2DModel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux2.geometry import picture_places, text_places
from flenwheel_core.models.z_image import geometry as z_geometry
from flenwheel_core.nano.models import klein, qwen3, z_image
from flenwheel_core.nano.models.flux import unpack
from tests.kit.siblings import shaken
from tools.nano_training.data import PICTURES_PER_CHARACTER, SCENE_PICTURES
from tools.nano_training.loop import Plan, Training
from tools.nano_training.sibling_models import TOKENS, KleinModel, ZImageModel, encoder_taps
from tools.nano_training.sibling_words import prompt_ids
from tools.nano_training.siblings import Z_TEXT_TOKENS, other_scene
from tools.nano_training.siblings_run import BASE_PLAN

CPU = torch.device("cpu")
TEXTS = [
    "photo of ohwx_char person, smiling, half-left view, forest background",
    "photo of a person",
    "full body photo of a person with bob blonde hair and light skin and a long face and brown eyes and a scar, "
    "standing pose, sad, half-right view, forest background, day lighting",
]


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return qwen3.load_tokenizer(weights_folder("editor") / "tokenizer")


def read() -> tuple[list[Tensor], Tensor, tuple[Tensor, ...]]:
    """Taps, valid tokens, and all hidden states of the library."""
    torch.manual_seed(0)
    encoder = qwen3.build_encoder(tokenizer()).eval()
    ids = torch.from_numpy(prompt_ids(tokenizer(), TEXTS)).long()
    valid = ids != tokenizer().pad_token_id
    with torch.no_grad():
        out = encoder(input_ids=ids, attention_mask=valid.long(), output_hidden_states=True)
        return encoder_taps(encoder, ids, valid), valid, out.hidden_states


def test_prompts_are_tokens_as_the_pipelines_make_them() -> None:
    templated = tokenizer().apply_chat_template(
        [{"role": "user", "content": TEXTS[0]}], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert templated == qwen3.chat(TEXTS[0])
    ids = prompt_ids(tokenizer(), TEXTS)
    assert ids.shape == (3, qwen3.TEXT_TOKENS)
    assert (ids[:, -1] == tokenizer().pad_token_id).all()


def test_encoder_is_read_where_both_families_read() -> None:
    taps, _, states = read()
    for tap, layer in zip(taps, qwen3.TAPS, strict=True):
        torch.testing.assert_close(tap, states[layer])
    torch.testing.assert_close(taps[-1], states[-2])
    for one, other in pairwise(taps):
        assert (one - other).abs().max() > 0.1
    assert taps[-1].std() > 0.2


@torch.no_grad()
def test_klein_with_and_without_references() -> None:
    taps, _, _ = read()
    text, sigma = torch.cat(taps, -1), torch.tensor([0.2, 0.5, 0.9])
    transformer = shaken(klein.build_transformer())
    model = KleinModel(transformer, qwen3.TEXT_TOKENS, CPU)
    noisy, *references = torch.randn(3, 3, TOKENS, 64).unbind()
    for count in range(3):
        places = [picture_places(8, 8, time=time) for time in (0, 10, 20)[: count + 1]]
        expected = transformer(
            hidden_states=torch.cat([noisy, *references[:count]], dim=1),
            encoder_hidden_states=text,
            timestep=sigma,
            img_ids=torch.cat(places),
            txt_ids=text_places(text.shape[1]),
            return_dict=False,
        )[0][:, :TOKENS]
        assert expected.std() > 0.05
        torch.testing.assert_close(model.velocity(noisy, sigma, text, tuple(references[:count])), expected)


@torch.no_grad()
def test_z_image_with_prompts_of_all_lengths() -> None:
    taps, valid, _ = read()
    sigma = torch.tensor([0.2, 0.5, 0.9])
    noisy = torch.randn(3, TOKENS, 64)
    transformer = shaken(z_image.build_transformer())
    prompts = [words[kept] for words, kept in zip(taps[-1], valid, strict=True)]
    assert len({-(-len(prompt) // 32) for prompt in prompts}) > 1
    expected = torch.cat(
        [
            z_geometry.velocity(transformer, unpack(noisy[i : i + 1], 16, 16), sigma[i : i + 1], prompts[i : i + 1])
            for i in range(3)
        ]
    )
    assert expected.std() > 0.05
    model = ZImageModel(transformer, Z_TEXT_TOKENS, CPU)
    found = unpack(model.velocity(noisy, sigma, taps[-1], valid), 16, 16)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_second_reference_is_the_same_character_in_another_scene() -> None:
    rows = torch.arange(3 * PICTURES_PER_CHARACTER).repeat(20)
    others = other_scene(rows)
    assert torch.equal(others // PICTURES_PER_CHARACTER, rows // PICTURES_PER_CHARACTER)
    assert not (others // SCENE_PICTURES == rows // SCENE_PICTURES).any()
    assert len(others[rows == 0].unique()) > 8


STEADY = replace(BASE_PLAN, warmup_steps=1)
FIRST_PLAN = replace(STEADY, learning_rate=1.2e-3, rates={})
"""Of the first long run on a card, which diverged."""


def changed_by_a_step(module: nn.Module, name: str, say: Callable[[], Tensor], plan: Plan = STEADY) -> float:
    """How far one step at the highest rate of a plan moves what a part says, as a share of it."""
    before = say().detach()
    loss = (say() * torch.randn(before.shape, generator=torch.Generator().manual_seed(0))).mean()
    training = Training({name.partition(".")[0]: module}, lambda: loss, plan)
    training._set_rate(0, 0.0)
    training._step()
    return float((say().detach() - before).norm() / before.norm())


def test_one_step_hardly_changes_what_others_have_to_read() -> None:
    torch.manual_seed(0)
    encoders = [qwen3.build_encoder(tokenizer()) for _ in range(2)]
    drawings = [z_image.build_transformer() for _ in range(2)]
    editing = klein.build_transformer()
    ids = torch.from_numpy(prompt_ids(tokenizer(), TEXTS)).long()
    valid = ids != tokenizer().pad_token_id
    times = torch.linspace(0, 1, 9)

    def read_by(encoder: Qwen3ForCausalLM, plan: Plan) -> float:
        return changed_by_a_step(encoder, "encoder", lambda: encoder_taps(encoder, ids, valid)[-1][valid], plan)

    def timed_by(model: ZImageTransformer2DModel, plan: Plan) -> float:
        return changed_by_a_step(model, "z_image", lambda: model.t_embedder(times * model.t_scale), plan)

    assert read_by(encoders[0], STEADY) < 0.1 and timed_by(drawings[0], STEADY) < 0.1
    assert changed_by_a_step(editing, "klein", lambda: editing.time_guidance_embed(times * 1000, None)) < 0.1
    found = read_by(encoders[1], FIRST_PLAN), timed_by(drawings[1], FIRST_PLAN)
    assert min(found) > 0.5, found
