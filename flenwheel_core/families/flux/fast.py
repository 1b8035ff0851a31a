"""A FLUX transformer made for training LoRAs: fused linears, chosen storage, compiled blocks, chosen checkpointing.

Behaves like diffusers' FluxTransformer2DModel towards FluxPipeline and the training task. Not covered: adapters on
modulation or embedders, DoRA, dropout and ControlNet inputs; those train through diffusers' own modules.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.checkpoint import checkpoint

from flenwheel_core.families.flux.blocks import (
    DoubleWeights,
    Linear,
    SingleWeights,
    block_options,
    double_block,
    single_block,
)
from flenwheel_core.families.flux.sources import WeightSource, load_blocks
from flenwheel_core.training.frozen_product import times_vector
from flenwheel_core.training.heads import Rope
from flenwheel_core.training.lora_linear import Adapter
from flenwheel_core.training.storage import Fp8Weight, FrozenWeight, Storage, dequantise, store, transposed_codes

if TYPE_CHECKING:
    from diffusers import FluxTransformer2DModel

DOUBLE_MEMBERS: dict[str, tuple[str, ...]] = {
    "qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "text_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "out": ("attn.to_out.0",),
    "text_out": ("attn.to_add_out",),
    "up": ("ff.net.0.proj",),
    "down": ("ff.net.2",),
    "text_up": ("ff_context.net.0.proj",),
    "text_down": ("ff_context.net.2",),
}
SINGLE_MEMBERS: dict[str, tuple[str, ...]] = {
    "qkv_mlp": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "out": ("proj_out",),
}
_DOUBLE_NORMS = ("attn.norm_q", "attn.norm_k", "attn.norm_added_q", "attn.norm_added_k")
_SINGLE_NORMS = ("attn.norm_q", "attn.norm_k")


LoraParameters = dict[str, torch.nn.Parameter]
FrozenStore = Callable[[str, Storage, Callable[[], FrozenWeight]], FrozenWeight]
"""(name, storage, how to make it): gives a frozen weight, from disk if it is there."""


@dataclass(frozen=True)
class FastPlan:
    """How the weights are stored and what is recomputed in the backward pass."""

    storage: Storage = "dense"
    modulation: Storage = "dense"
    keep_transposed: bool = False
    """Keep fp8 weights transposed too: no transposing in the backward pass, at one more byte a weight."""
    compact: bool = True
    """Keep linear inputs in fp8 for the adapters' gradients."""
    recompute_double: int = 0
    """So many double blocks, from the first, are recomputed in the backward pass."""
    recompute_single: int = 0
    compile: bool = True
    cudnn: bool = True


@dataclass(frozen=True)
class AdapterPlan:
    """Rank and scale of each linear with an adapter, by module name."""

    ranks: Mapping[str, int]
    scales: Mapping[str, float]
    dtype: torch.dtype = torch.float32
    """float32 masters are trained; what is only worn takes half of it."""


class FastFlux(torch.nn.Module):
    """The transformer. `lora` holds the adapters' float32 matrices under PEFT's names."""

    def __init__(
        self,
        config: Mapping[str, Any],
        source: WeightSource,
        plan: FastPlan,
        adapters: AdapterPlan,
        keep: FrozenStore | None = None,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.lora: dict[str, torch.nn.Parameter] = {}
        self._source = source
        self._keep = keep or _make_always
        self._adapters = adapters
        self._layers = (int(config["num_layers"]), int(config["num_single_layers"]))
        self._full_config = config
        self.rest = _outer_parts(config, source)
        self._options = block_options(
            int(config["num_attention_heads"]), self.rest.device, cudnn=plan.cudnn, compact=plan.compact
        )
        double = load_blocks(self._load_double, self._layers[0], self.rest.device)
        single = load_blocks(self._load_single, self._layers[1], self.rest.device)
        self._double = [(weights, modulations) for weights, modulations, _ in double]
        self._single = [(weights, modulations) for weights, modulations, _ in single]
        for block in (*double, *single):
            self.lora |= block[2]
        self._with_adapter = True
        self.recompute = (plan.recompute_double, plan.recompute_single)
        self._run_double = double_block
        self._run_single = single_block
        self._run_modulation = _modulation
        if plan.compile:
            torch._dynamo.config.recompile_limit = 64
            self._run_double = torch.compile(double_block, dynamic=False, fullgraph=True)
            self._run_single = torch.compile(single_block, dynamic=False, fullgraph=True)
            self._run_modulation = torch.compile(_modulation, dynamic=False, fullgraph=True)

    def run_eagerly(self) -> None:
        """Without compiled blocks, from now on."""
        self._run_double, self._run_single, self._run_modulation = double_block, single_block, _modulation

    @property
    def compiled(self) -> bool:
        return self._run_single is not single_block

    @property
    def transposed(self) -> bool:
        """True if fp8 weights are kept transposed too."""
        weight = self._single[0][0].out.weight
        return isinstance(weight, Fp8Weight) and weight.transposed is not None

    def keep_transposed(self) -> None:
        """Keep fp8 weights transposed too, from now on."""
        self._double = [(_with_transposed(w), m) for w, m in self._double]
        self._single = [(_with_transposed(w), m) for w, m in self._single]

    # what FluxPipeline and the training task ask for

    @property
    def config(self) -> Any:
        return self.rest.config

    @property
    def dtype(self) -> torch.dtype:
        return cast(torch.dtype, self.rest.dtype)

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.rest.device)

    @contextmanager
    def cache_context(self, name: str) -> Iterator[None]:
        yield

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
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        pooled_projections: torch.Tensor,
        timestep: torch.Tensor,
        img_ids: torch.Tensor,
        txt_ids: torch.Tensor,
        guidance: torch.Tensor | None = None,
        joint_attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """As FluxTransformer2DModel.forward; always returns a tuple."""
        with torch.no_grad():
            picture = self.rest.x_embedder(hidden_states)
            text = self.rest.context_embedder(encoder_hidden_states)
            time = timestep.to(picture.dtype) * 1000
            extra = () if guidance is None else (guidance.to(picture.dtype) * 1000,)
            temb = self.rest.time_text_embed(time, *extra, pooled_projections)
            rope: Rope = self.rest.pos_embed(torch.cat((txt_ids, img_ids), dim=0))
            silu = torch.nn.functional.silu(temb)
        for index, (weights, modulations) in enumerate(self._double):
            shift = self._modulate(silu, modulations)
            arguments = (picture, text, *shift, rope, self._chosen(weights), self._options)
            picture, text = self._call(self._run_double, arguments, recompute=index < self.recompute[0])
        x = torch.cat([text, picture], dim=1)
        for index, (single, modulations) in enumerate(self._single):
            arguments = (x, *self._modulate(silu, modulations), rope, self._chosen(single), self._options)
            x = self._call(self._run_single, arguments, recompute=index < self.recompute[1])
        picture = self.rest.norm_out(x[:, text.shape[1] :], temb)
        return (self.rest.proj_out(picture),)

    def _call(self, run: Callable[..., Any], arguments: tuple[Any, ...], *, recompute: bool) -> Any:
        if recompute and torch.is_grad_enabled():
            return checkpoint(run, *arguments, use_reentrant=False, preserve_rng_state=False)
        return run(*arguments)

    @torch.no_grad()
    def _modulate(self, silu: torch.Tensor, weights: tuple[FrozenWeight, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(self._run_modulation(silu, weight) for weight in weights)

    def _chosen(self, weights: Any) -> Any:
        if self._with_adapter:
            return weights
        bare = {name: part._replace(adapter=None) for name, part in weights._asdict().items() if name != "norms"}
        return weights._replace(**bare)

    # loading

    def _load_double(self, index: int) -> tuple[DoubleWeights, tuple[FrozenWeight, ...], LoraParameters]:
        stem, lora = f"transformer_blocks.{index}.", LoraParameters()
        linears = {name: self._load_linear(stem, members, lora) for name, members in DOUBLE_MEMBERS.items()}
        norms = tuple(self._source.tensor(f"{stem}{name}.weight") for name in _DOUBLE_NORMS)
        modulations = tuple(self._load_frozen(f"{stem}{n}.linear") for n in ("norm1", "norm1_context"))
        return DoubleWeights(**linears, norms=norms), modulations, lora  # type: ignore[arg-type]

    def _load_single(self, index: int) -> tuple[SingleWeights, tuple[FrozenWeight, ...], LoraParameters]:
        stem, lora = f"single_transformer_blocks.{index}.", LoraParameters()
        linears = {name: self._load_linear(stem, members, lora) for name, members in SINGLE_MEMBERS.items()}
        norms = tuple(self._source.tensor(f"{stem}{name}.weight") for name in _SINGLE_NORMS)
        modulations = (self._load_frozen(f"{stem}norm.linear"),)
        return SingleWeights(**linears, norms=norms), modulations, lora  # type: ignore[arg-type]

    def _load_frozen(self, name: str) -> FrozenWeight:
        def make() -> FrozenWeight:
            return store(
                self._source.tensor(f"{name}.weight"), self._source.tensor(f"{name}.bias"), self.plan.modulation
            )

        return self._keep(name, self.plan.modulation, make)

    def _load_linear(self, stem: str, members: tuple[str, ...], lora: LoraParameters) -> Linear:
        names = [stem + member for member in members]

        def make() -> FrozenWeight:
            parts = [self._source.tensor(f"{name}.weight") for name in names]
            bias = torch.cat([self._source.tensor(f"{name}.bias") for name in names])
            return store(torch.cat(parts), bias, self.plan.storage)

        weight = self._keep("+".join(names), self.plan.storage, make)
        if self.plan.keep_transposed and isinstance(weight, Fp8Weight):
            weight = weight._replace(transposed=transposed_codes(weight.codes))
        outputs = [self._source.shape(f"{name}.weight")[0] for name in names]
        inputs = self._source.shape(f"{names[0]}.weight")[1]
        present = [i for i, name in enumerate(names) if name in self._adapters.ranks]
        if not present:
            return Linear(weight, None)
        ranks = [self._adapters.ranks[name] for name in names if name in self._adapters.ranks]
        device = weight.bias.device
        a = tuple(self._new(lora, names[i], "A", (r, inputs), device) for i, r in zip(present, ranks, strict=True))
        b = tuple(self._new(lora, names[i], "B", (outputs[i], r), device) for i, r in zip(present, ranks, strict=True))
        scale = tuple(self._adapters.scales[names[i]] for i in present)
        return Linear(weight, Adapter(a, b, scale, tuple(sum(outputs[:i]) for i in present)))

    def _new(
        self, lora: LoraParameters, name: str, matrix: str, shape: tuple[int, int], device: torch.device
    ) -> torch.nn.Parameter:
        parameter = torch.nn.Parameter(torch.zeros(shape, device=device, dtype=self._adapters.dtype))
        lora[f"{name}.lora_{matrix}.default.weight"] = parameter
        return parameter


def _make_always(name: str, storage: Storage, make: Callable[[], FrozenWeight]) -> FrozenWeight:
    return make()


def _with_transposed(weights: Any) -> Any:
    changed = {}
    for name, part in weights._asdict().items():
        if name != "norms" and isinstance(part.weight, Fp8Weight):
            changed[name] = part._replace(weight=part.weight._replace(transposed=transposed_codes(part.weight.codes)))
    return weights._replace(**changed)


def _modulation(silu: torch.Tensor, weight: FrozenWeight) -> torch.Tensor:
    """silu (batch, channels) to (batch, outputs): one token, so it is the weight's bytes that cost."""
    if isinstance(weight, Fp8Weight):
        return times_vector(silu, weight.codes, weight.scale, weight.bias)
    return torch.nn.functional.linear(silu, dequantise(weight, silu.dtype), weight.bias)


def _outer_parts(config: Mapping[str, Any], source: WeightSource) -> "FluxTransformer2DModel":
    """diffusers' transformer without blocks: embedders, rotary positions, last norm and projection."""
    from diffusers import FluxTransformer2DModel

    empty = {**config, "num_layers": 0, "num_single_layers": 0}
    with torch.device("meta"):
        rest = FluxTransformer2DModel.from_config(empty)
    tensors = {name: source.tensor(name) for name in rest.state_dict()}
    rest.load_state_dict(tensors, assign=True)
    return rest.requires_grad_(False).eval()


def fast_flux_names() -> tuple[str, ...]:
    """Endings of the linears that FastFlux can put an adapter on."""
    return tuple(m for members in (*DOUBLE_MEMBERS.values(), *SINGLE_MEMBERS.values()) for m in members)
