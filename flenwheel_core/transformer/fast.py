"""A transformer made for training and wearing LoRAs: fused linears, chosen storage, compiled blocks, chosen recomputing.

A family says what its blocks are called (`BlockLayout`) and how they run (`forward`); loading, adapters and compiling are the same for all.
Not covered: adapters outside of the named linears, DoRA and dropout; those train through diffusers' own modules.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch.utils.checkpoint import checkpoint

from flenwheel_core.adapters.lora_linear import Adapter
from flenwheel_core.kernels.frozen_weights import Fp8Weight, FrozenWeight, Storage, dequantise, store
from flenwheel_core.kernels.heads import Rope
from flenwheel_core.kernels.transpose import transposed_codes
from flenwheel_core.kernels.vector import times_vector
from flenwheel_core.transformer.blocks import Linear, block_options
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.sources import WeightSource, load_blocks

LoraParameters = dict[str, torch.nn.Parameter]
MOST_COMPILED_SHAPES = 64


@dataclass(frozen=True)
class BlockLayout:
    """Blocks of one kind, as their weights are named on disk."""

    modules: str
    """The module list that holds them, such as transformer_blocks."""
    count: int
    weights: Any
    """The named tuple that a block's function takes: one `Linear` a member, and `norms`."""
    members: Mapping[str, tuple[str, ...]]
    """For each linear of the tuple its parts: linears that share their input are one weight."""
    norms: tuple[str, ...]
    modulations: tuple[str, ...] = ()
    """Linears from the time embedding to shift, scale and gate: no adapter sits on them here."""


@dataclass(frozen=True)
class Block:
    """A loaded block."""

    weights: Any
    modulations: tuple[FrozenWeight, ...]
    lora: LoraParameters = field(default_factory=dict)


def fast_names(*members: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Endings of the linears that may have an adapter here."""
    return tuple(f".{part}" for kind in members for parts in kind.values() for part in parts)


Config = Mapping[str, Any]
"""A transformer's config.json."""


class FastTransformer(torch.nn.Module):
    """The part that all families share. `lora` holds the adapters' matrices under PEFT's names."""

    def __init__(
        self,
        rest: Any,
        heads: int,
        layouts: tuple[BlockLayout, ...],
        functions: Mapping[str, Callable[..., Any]],
        source: WeightSource,
        plan: FastPlan,
        adapters: AdapterPlan,
    ) -> None:
        """`rest` is diffusers' transformer without blocks, `functions` what runs a block, by name."""
        super().__init__()
        self.plan = plan
        self.rest = rest
        self.options = block_options(heads, rest.device, cudnn=plan.cudnn, compact=plan.compact)
        self._source = source
        self._adapters = adapters
        self._layouts = layouts
        self._with_adapter = True
        self._functions: dict[str, Callable[..., Any]] = {"modulation": modulate, **functions}
        self.blocks = tuple(
            load_blocks(partial(self._load_block, layout), layout.count, rest.device) for layout in layouts
        )
        self.lora: LoraParameters = {}
        for block in (block for kind in self.blocks for block in kind):
            self.lora |= block.lora
        self.recompute = tuple(plan.recomputed(kind) for kind in range(len(layouts)))
        """So many blocks of each kind, from the first, are recomputed in the backward pass."""
        self.run = dict(self._functions)
        """The functions as they are called: compiled, if the plan says so."""
        if plan.compile:
            torch._dynamo.config.recompile_limit = MOST_COMPILED_SHAPES
            self.run = {name: compile_for_any_length(function) for name, function in self._functions.items()}

    @property
    def hidden_weights(self) -> int:
        """How many weights the blocks have: they are no parameters of this module."""
        names = (
            f"{layout.modules}.{index}.{part}.weight"
            for layout in self._layouts
            for index in range(layout.count)
            for parts in layout.members.values()
            for part in parts
        )
        return sum(math.prod(self._source.shape(name)) for name in names)

    def run_eagerly(self) -> None:
        """Without compiled blocks, from now on."""
        self.run = dict(self._functions)

    @property
    def compiled(self) -> bool:
        return self.run["modulation"] is not modulate

    @property
    def transposed(self) -> bool:
        """True if fp8 weights are kept transposed too."""
        weight = self.blocks[-1][0].weights.out.weight
        return isinstance(weight, Fp8Weight) and weight.transposed is not None

    def keep_transposed(self) -> None:
        """Keep fp8 weights transposed too, from now on."""
        self.blocks = tuple(
            [Block(_with_transposed(block.weights), block.modulations, block.lora) for block in kind]
            for kind in self.blocks
        )

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
        """diffusers' pipelines ask for it; nothing is cached between calls here."""
        yield

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """The base model within this context."""
        self._with_adapter = False
        try:
            yield
        finally:
            self._with_adapter = True

    # for a family's forward pass

    @torch.no_grad()
    def modulated(self, silu: torch.Tensor, block: Block) -> tuple[torch.Tensor, ...]:
        """silu of the time embedding (batch, channels) to each modulation of a block."""
        return tuple(self.run["modulation"](silu, weight) for weight in block.modulations)

    def chosen(self, block: Block) -> Any:
        """The block's weights, with the adapters or without."""
        if self._with_adapter or not self._adapters.ranks:
            return block.weights
        linears = {n: part for n, part in block.weights._asdict().items() if n != "norms"}
        return block.weights._replace(**{name: part._replace(adapter=None) for name, part in linears.items()})

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, recompute: bool) -> Any:
        """`function(*arguments)`, recomputed in the backward pass if asked for."""
        if recompute and torch.is_grad_enabled():
            return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
        return function(*arguments)

    def put_on(self, adapters: AdapterPlan) -> None:
        """Other adapters in place of its own, on the same weights; their matrices are zero, as after loading."""
        self._adapters = adapters
        self.lora = {}
        self.blocks = tuple(
            [self._dressed(layout, index, block) for index, block in enumerate(kind)]
            for layout, kind in zip(self._layouts, self.blocks, strict=True)
        )

    def _dressed(self, layout: BlockLayout, index: int, block: Block) -> Block:
        stem, lora, linears = f"{layout.modules}.{index}.", LoraParameters(), {}
        for name, parts in layout.members.items():
            weight = getattr(block.weights, name).weight
            linears[name] = Linear(weight, self._adapter(stem, parts, weight, lora))
        self.lora |= lora
        return Block(block.weights._replace(**linears), block.modulations, lora)

    # loading

    def _load_block(self, layout: BlockLayout, index: int) -> Block:
        stem, lora = f"{layout.modules}.{index}.", LoraParameters()
        linears = {name: self._load_linear(stem, parts, lora) for name, parts in layout.members.items()}
        norms = tuple(self._source.tensor(f"{stem}{name}.weight") for name in layout.norms)
        modulations = tuple(self._frozen((f"{stem}{name}",), self.plan.modulation) for name in layout.modulations)
        return Block(layout.weights(**linears, norms=norms), modulations, lora)

    def _frozen(self, names: tuple[str, ...], storage: Storage) -> FrozenWeight:
        weight = torch.cat([self._source.tensor(f"{name}.weight") for name in names])
        return store(weight, torch.cat([self._bias(name) for name in names]), storage)

    def _bias(self, name: str) -> torch.Tensor:
        """Zeros where the linear has none: every product then adds a bias, which costs nothing beside it."""
        if self._source.has(f"{name}.bias"):
            return self._source.tensor(f"{name}.bias")
        return torch.zeros(self._source.shape(f"{name}.weight")[0], device=self.device, dtype=self.dtype)

    def _load_linear(self, stem: str, parts: tuple[str, ...], lora: LoraParameters) -> Linear:
        names = tuple(stem + part for part in parts)
        weight = self._frozen(names, self.plan.storage)
        if self.plan.keep_transposed and isinstance(weight, Fp8Weight):
            weight = weight._replace(transposed=transposed_codes(weight.codes))
        return Linear(weight, self._adapter(stem, parts, weight, lora))

    def _adapter(self, stem: str, parts: tuple[str, ...], weight: FrozenWeight, lora: LoraParameters) -> Adapter | None:
        """The adapters on the parts of a linear, entered in `lora`; None if it has none."""
        names = tuple(stem + part for part in parts)
        outputs = [self._source.shape(f"{name}.weight")[0] for name in names]
        inputs = self._source.shape(f"{names[0]}.weight")[1]
        present = [i for i, name in enumerate(names) if name in self._adapters.ranks]
        if not present:
            return None
        rank = {i: self._adapters.ranks[names[i]] for i in present}
        a = tuple(self._matrix(lora, names[i], "A", (rank[i], inputs), weight) for i in present)
        b = tuple(self._matrix(lora, names[i], "B", (outputs[i], rank[i]), weight) for i in present)
        scale = tuple(self._adapters.scales[names[i]] for i in present)
        return Adapter(a, b, scale, tuple(sum(outputs[:i]) for i in present))

    def _matrix(
        self, lora: LoraParameters, name: str, matrix: str, shape: tuple[int, int], like: FrozenWeight
    ) -> torch.nn.Parameter:
        parameter = torch.nn.Parameter(torch.zeros(shape, device=like.bias.device, dtype=self._adapters.dtype))
        lora[f"{name}.lora_{matrix}.default.weight"] = parameter
        return parameter


def compile_for_any_length(function: Callable[..., Any], *, backend: Any = "inductor") -> Callable[..., Any]:
    """The function, compiled once for any number of tokens: every picture format has another, and compiling takes longer than most runs.

    Arguments of three dimensions, alone or in a tuple, are (batch, tokens, channels); rotary tables are marked by `of_any_length`.
    All other sizes are fixed.
    """
    once: Callable[..., Any] = torch.compile(function, dynamic=False, fullgraph=True, backend=backend)

    def run(*arguments: Any) -> Any:
        for argument in arguments:
            for part in argument if type(argument) is tuple else (argument,):
                if isinstance(part, torch.Tensor) and part.ndim == 3:
                    torch._dynamo.maybe_mark_dynamic(part, 1)
        return once(*arguments)

    return run


def of_any_length(rope: Rope) -> Rope:
    """Rotary tables (tokens, channels of a head) as compiled functions take them for any number of tokens."""
    for part in rope:
        torch._dynamo.maybe_mark_dynamic(part, 0)
    return rope


def modulate(silu: torch.Tensor, weight: FrozenWeight) -> torch.Tensor:
    """silu (batch, channels) to (batch, outputs): one token, so it is the weight's bytes that cost."""
    if isinstance(weight, Fp8Weight):
        return times_vector(silu, weight.codes, weight.scale, weight.bias)
    return torch.nn.functional.linear(silu, dequantise(weight, silu.dtype), weight.bias)


def _with_transposed(weights: Any) -> Any:
    changed = {}
    for name, part in weights._asdict().items():
        if name != "norms" and isinstance(part.weight, Fp8Weight):
            changed[name] = part._replace(weight=part.weight._replace(transposed=transposed_codes(part.weight.codes)))
    return weights._replace(**changed)
