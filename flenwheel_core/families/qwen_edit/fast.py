"""The Qwen-Image-Edit transformer for speed: frozen weights in bf16, fp8 or NF4, adapters grouped, blocks compiled, cuDNN attention.

Equality with diffusers is tested. Not covered: padded prompts of different lengths in one batch (a mask costs the fast kernels: train with
batch size 1); those run on diffusers' own modules.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from flenwheel_core.families.flux.blocks import DoubleWeights, Linear, block_options
from flenwheel_core.families.flux.fast import AdapterPlan, FastPlan, LoraParameters
from flenwheel_core.families.flux.sources import WeightSource, load_blocks
from flenwheel_core.families.qwen_edit.blocks import Kept, attend, enter, halves, leave
from flenwheel_core.training.heads import Rope
from flenwheel_core.training.lora_linear import Adapter
from flenwheel_core.training.storage import Fp8Weight, FrozenWeight, dequantise, store, transposed_codes

if TYPE_CHECKING:
    from diffusers import QwenImageTransformer2DModel

MEMBERS: dict[str, tuple[str, ...]] = {
    "qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "text_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "out": ("attn.to_out.0",),
    "text_out": ("attn.to_add_out",),
    "up": ("img_mlp.net.0.proj",),
    "down": ("img_mlp.net.2",),
    "text_up": ("txt_mlp.net.0.proj",),
    "text_down": ("txt_mlp.net.2",),
}
"""Linears that share their input are one weight."""
_NORMS = ("attn.norm_q", "attn.norm_k", "attn.norm_added_q", "attn.norm_added_k")
_MODULATIONS = ("img_mod.1", "txt_mod.1")
TEXT_STEP = 128
"""Prompts are padded to a multiple of so many tokens, outside of attention: one compiled block serves many lengths."""


class FastQwen(torch.nn.Module):
    """The transformer. `lora` holds the adapters' float32 matrices under PEFT's names."""

    def __init__(self, config: Mapping[str, Any], source: WeightSource, plan: FastPlan, adapters: AdapterPlan) -> None:
        super().__init__()
        self.plan = plan
        self.lora: dict[str, torch.nn.Parameter] = {}
        self._source, self._adapters = source, adapters
        self.rest = _outer_parts(config, source)
        heads = int(config["num_attention_heads"])
        self._options = block_options(heads, self.rest.device, cudnn=plan.cudnn, compact=plan.compact)
        blocks = load_blocks(self._load_block, int(config["num_layers"]), self.rest.device)
        self._blocks = [(weights, modulations) for weights, modulations, _ in blocks]
        for _, _, lora in blocks:
            self.lora |= lora
        self.recompute = plan.recompute_double
        """So many blocks, from the first, are recomputed in the backward pass."""
        self.keep_attention = 0
        """So many of them keep attention's output, the dearest part of a block beside its size."""
        self._ropes: dict[tuple[tuple[tuple[int, int, int], ...], int], Rope] = {}
        self._with_adapter = True
        self._enter: Callable[..., Any] = enter
        self._leave: Callable[..., Any] = leave
        self._run_modulation: Callable[..., Any] = _modulation
        if plan.compile:
            torch._dynamo.config.recompile_limit = 64
            self._enter = torch.compile(enter, dynamic=False, fullgraph=True)
            self._leave = torch.compile(leave, dynamic=False, fullgraph=True)
            self._run_modulation = torch.compile(_modulation, dynamic=False, fullgraph=True)

    def run_eagerly(self) -> None:
        """Without compiled blocks, from now on."""
        self._enter, self._leave, self._run_modulation = enter, leave, _modulation

    @property
    def config(self) -> Any:
        return self.rest.config

    @property
    def dtype(self) -> torch.dtype:
        return cast(torch.dtype, self.rest.dtype)

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """The base model within this block."""
        self._with_adapter = False
        try:
            yield
        finally:
            self._with_adapter = True

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        img_shapes: Sequence[Sequence[tuple[int, int, int]]],
        encoder_hidden_states_mask: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """As QwenImageTransformer2DModel.forward; always returns a tuple. Raises ValueError for padded prompts."""
        if encoder_hidden_states_mask is not None:
            raise ValueError("padded prompts need diffusers' own transformer")
        with torch.no_grad():
            picture = self.rest.img_in(hidden_states)
            text = self.rest.txt_in(self.rest.txt_norm(encoder_hidden_states))
            time = timestep.to(picture.dtype)
            own = None
            if self.rest.config.zero_cond_t:  # the references are clean: for them it is the end of time
                own = math.prod(img_shapes[0][0])
                time = torch.cat([time, torch.zeros_like(time)])
            time = self.rest.time_text_embed(time, picture)
            tokens = picture.shape[1] + text.shape[1]
            text = torch.nn.functional.pad(text, (0, 0, 0, -text.shape[1] % TEXT_STEP))
            rope = self._rope(img_shapes, text.shape[1], picture.device)
            silu = torch.nn.functional.silu(time)
            batch = len(hidden_states)
        for index, (weights, modulations) in enumerate(self._blocks):
            with torch.no_grad():
                shifts = self._run_modulation(silu, modulations[0]), self._run_modulation(silu[:batch], modulations[1])
            recompute = index < self.recompute and torch.is_grad_enabled()
            kept: Kept | None = [] if recompute and index < self.keep_attention else None
            run = partial(self._block, rope=rope, weights=self._chosen(weights), tokens=tokens, own=own, kept=kept)
            if recompute:
                picture, text = checkpoint(run, picture, text, shifts, use_reentrant=False, preserve_rng_state=False)
            else:
                picture, text = run(picture, text, shifts)
        return (self.rest.proj_out(self.rest.norm_out(picture, time[:batch])),)

    def _block(
        self,
        picture: Tensor,
        text: Tensor,
        modulations: tuple[Tensor, Tensor],
        *,
        rope: Rope,
        weights: DoubleWeights,
        tokens: int,
        own: int | None,
        kept: Kept | None,
    ) -> tuple[Tensor, Tensor]:
        """`tokens` counts picture and real text; what follows is padding. `own` counts noisy tokens, where they are told apart."""
        entry, exit_ = halves(weights)
        q, k, v = self._enter(picture, text, modulations, rope, entry, self._options, own)
        y = attend(q, k, v, tokens, kept, cudnn=self._options.cudnn)
        changed: tuple[Tensor, Tensor] = self._leave(picture, text, y, modulations, exit_, self._options, own)
        return changed

    def _rope(self, shapes: Sequence[Sequence[tuple[int, int, int]]], text_tokens: int, device: torch.device) -> Rope:
        """Cosines and sines (picture and text tokens, channels of a head)."""
        key = (tuple(shapes[0]), text_tokens)
        if key not in self._ropes:
            picture, text = self.rest.pos_embed([list(shapes[0])], max_txt_seq_len=text_tokens, device=device)
            turns = torch.cat([picture, text])
            self._ropes[key] = (
                turns.real.float().repeat_interleave(2, -1),
                turns.imag.float().repeat_interleave(2, -1),
            )
        return self._ropes[key]

    def _chosen(self, weights: DoubleWeights) -> DoubleWeights:
        if self._with_adapter and self._adapters.ranks:
            return weights
        bare = {name: getattr(weights, name)._replace(adapter=None) for name in MEMBERS}
        return weights._replace(**bare)

    # loading

    def _load_block(self, index: int) -> tuple[DoubleWeights, tuple[FrozenWeight, ...], LoraParameters]:
        stem, lora = f"transformer_blocks.{index}.", LoraParameters()
        linears = {name: self._load_linear(stem, members, lora) for name, members in MEMBERS.items()}
        norms = tuple(self._source.tensor(f"{stem}{name}.weight") for name in _NORMS)
        modulations = tuple(self._frozen((f"{stem}{name}",), self.plan.modulation) for name in _MODULATIONS)
        return DoubleWeights(**linears, norms=norms), modulations, lora  # type: ignore[arg-type]

    def _frozen(self, names: tuple[str, ...], storage: Any) -> FrozenWeight:
        weight = torch.cat([self._source.tensor(f"{name}.weight") for name in names])
        return store(weight, torch.cat([self._source.tensor(f"{name}.bias") for name in names]), storage)

    def _load_linear(self, stem: str, members: tuple[str, ...], lora: LoraParameters) -> Linear:
        names = tuple(stem + member for member in members)
        weight = self._frozen(names, self.plan.storage)
        if self.plan.keep_transposed and isinstance(weight, Fp8Weight):
            weight = weight._replace(transposed=transposed_codes(weight.codes))
        outputs = [self._source.shape(f"{name}.weight")[0] for name in names]
        inputs = self._source.shape(f"{names[0]}.weight")[1]
        present = [i for i, name in enumerate(names) if name in self._adapters.ranks]
        if not present:
            return Linear(weight, None)
        a = tuple(self._new(lora, names[i], "A", (self._adapters.ranks[names[i]], inputs), weight) for i in present)
        b = tuple(self._new(lora, names[i], "B", (outputs[i], self._adapters.ranks[names[i]]), weight) for i in present)
        scale = tuple(self._adapters.scales[names[i]] for i in present)
        return Linear(weight, Adapter(a, b, scale, tuple(sum(outputs[:i]) for i in present)))

    def _new(
        self, lora: LoraParameters, name: str, matrix: str, shape: tuple[int, int], like: FrozenWeight
    ) -> torch.nn.Parameter:
        parameter = torch.nn.Parameter(torch.zeros(shape, device=like.bias.device, dtype=self._adapters.dtype))
        lora[f"{name}.lora_{matrix}.default.weight"] = parameter
        return parameter


def fast_names() -> tuple[str, ...]:
    """Endings of the linears that may have an adapter here."""
    return tuple(f".{name}" for members in MEMBERS.values() for name in members)


def _modulation(silu: Tensor, weight: FrozenWeight) -> Tensor:
    """silu (batch, channels) to (batch, 6 * channels): one token, so it is the weight's bytes that cost."""
    if isinstance(weight, Fp8Weight):
        product = (weight.codes.float()[None] * silu.float()[:, None, :]).sum(-1)
        return (product * weight.scale.t() + weight.bias).to(silu.dtype)
    return torch.nn.functional.linear(silu, dequantise(weight, silu.dtype), weight.bias)


def _outer_parts(config: Mapping[str, Any], source: WeightSource) -> "QwenImageTransformer2DModel":
    """diffusers' transformer without blocks: embedders, rotary positions, last norm and projection."""
    from diffusers import QwenImageTransformer2DModel

    empty = {**config, "num_layers": 0}
    positions = QwenImageTransformer2DModel.from_config(
        {
            **empty,
            "attention_head_dim": config["attention_head_dim"],
            "num_attention_heads": 1,
            "joint_attention_dim": 8,
        }
    ).pos_embed
    with torch.device("meta"):
        rest = QwenImageTransformer2DModel.from_config(empty)
    rest.load_state_dict({name: source.tensor(name) for name in rest.state_dict()}, assign=True)
    rest.pos_embed = positions  # its tables are no part of the weights
    return cast("QwenImageTransformer2DModel", rest.requires_grad_(False).eval())
