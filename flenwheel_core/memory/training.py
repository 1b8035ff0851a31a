"""How much video memory a training step needs, and the fastest way to stay within what the card has.

The peak is at the end of the forward pass: frozen weights, adapters with their gradients and optimizer state, what each
block keeps for its backward pass (all of it, or only its input when it is recomputed), and one block's working memory.
Coefficients were fitted to measurements at full size (benchmarks/speed/memory_plan.py); nothing here knows a model.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.kernels.frozen_weights import BYTES_PER_WEIGHT, Storage
from flenwheel_core.memory.card import GIB, RECORDED_GIB
from flenwheel_core.memory.levels import plan_at_level

RESERVE_GIB = 0.3 + RECORDED_GIB
"""Left free for what the prediction misses, and for what the driver keeps of recorded steps."""
ADAPTER_BYTES: Mapping[str, float] = {"adamw": 22.2, "adamw8bit": 16.7, "adafactor": 15.2, "prodigy": 30.2}
"""Bytes a trained weight: float32 master, gradients (their own and the recorded step's) and optimizer state."""


@dataclass(frozen=True)
class BlockSpec:
    """Blocks of one kind."""

    count: int
    weights: int
    """Frozen weights of the linears of one block."""
    channels: int
    kept_bytes: Mapping[Storage, float]
    """What a kept block keeps of its activations, in bytes a token and channel."""
    kept_weight_bytes: Mapping[Storage, float]
    """What a kept block keeps of its weights for the backward pass, in bytes a weight: fp8 transposed, NF4 unpacked."""
    input_bytes: float
    """What a recomputed block keeps: its input."""
    before_adapters: int = 0
    """So many of them, from the first, stand before the first adapter: no gradient goes back through them, and they keep nothing."""


@dataclass(frozen=True)
class ModelSpec:
    """What the plan must know of a model."""

    blocks: tuple[BlockSpec, ...]
    modulation_weights: int
    other_bytes: float
    """Embedders, norms, biases: always kept in the compute dtype."""
    working_bytes: float
    """Working memory at the peak, in bytes a token and channel."""
    working_weight_bytes: Mapping[Storage, float]
    """Working memory of one recomputed block, in bytes a weight."""
    fixed_bytes: float
    attention_bytes: float = 0.0
    """What a recomputed block keeps beside its input if it keeps attention's output, in bytes a token and channel; 0: it cannot.

    Where it can, all blocks are recomputed or none, and memory decides how many keep it: attention is the dearest part to compute again.
    """
    adapter_bytes: Mapping[str, float] = field(default_factory=lambda: ADAPTER_BYTES)
    reserve_gib: float = RESERVE_GIB


@dataclass(frozen=True)
class MemoryPlan:
    """A storage, which blocks are recomputed, and the predicted peak."""

    storage: Storage
    modulation: Storage
    transposed: bool
    recompute: tuple[int, ...]
    """How many blocks of each kind are recomputed, from the first."""
    predicted_gib: float
    attention_kept: int = 0
    """So many of the recomputed blocks keep attention's output."""

    def describe(self, spec: ModelSpec) -> str:
        """One line for people."""
        total = sum(block.count for block in spec.blocks)
        extra = " kept twice" if self.transposed else ""
        kept = f", {self.attention_kept} of them keep attention's output" if spec.attention_bytes else ""
        return f"{self.storage} weights{extra}, {sum(self.recompute)} of {total} blocks recomputed{kept}, {self.predicted_gib:.1f} GiB"


def predict_gib(
    spec: ModelSpec,
    *,
    storage: Storage,
    modulation: Storage,
    transposed: bool,
    recompute: Sequence[int],
    tokens: int,
    adapter_weights: int,
    optimizer: str = "adamw",
    attention_kept: int = 0,
) -> float:
    """The peak reserved memory of a training step in GiB; `tokens` counts text and picture tokens of the whole batch."""
    doubled = transposed and storage == "fp8"
    per_weight = BYTES_PER_WEIGHT[storage] + (1.0 if doubled else 0.0)
    total = spec.fixed_bytes + spec.other_bytes + spec.modulation_weights * BYTES_PER_WEIGHT[modulation]
    total += adapter_weights * spec.adapter_bytes[optimizer]
    total += tokens * spec.blocks[0].channels * attention_kept * spec.attention_bytes
    for block, recomputed in zip(spec.blocks, recompute, strict=True):
        total += block.count * block.weights * per_weight
        again = max(0, recomputed - block.before_adapters)
        kept = block.count - block.before_adapters - again
        total += tokens * block.channels * (kept * block.kept_bytes[storage] + again * block.input_bytes)
        if not doubled:
            total += kept * block.weights * block.kept_weight_bytes[storage]
    if any(recompute):
        total += spec.blocks[0].weights * spec.working_weight_bytes[storage]
    total += tokens * spec.blocks[0].channels * spec.working_bytes
    return total / GIB


def choose_plan(
    spec: ModelSpec,
    *,
    usable_gib: float,
    tokens: int,
    adapter_weights: int,
    optimizer: str,
    storages: Sequence[Storage],
    tighter: int = 0,
    what: str = "Training",
    remedy: str = "Lower train.resolution, train.batch_size or train.lora.rank, or take optimizer = 'adamw8bit'.",
) -> MemoryPlan:
    """The fastest plan within the budget: storages in the given order, first with everything kept, then recomputing.

    `tighter` counts the out-of-memory errors before: each asks for the next plan that needs really less. Raises ResourceError
    with the smallest plan's need if none fits, or if there is no tighter one; `what` and `remedy` are its words.
    """
    usable = usable_gib - spec.reserve_gib
    smallest = float("inf")

    def plans() -> Iterator[MemoryPlan]:
        nonlocal smallest
        for storage, transposed, recompute, attention_kept in _candidates(spec, storages):
            need = predict_gib(
                spec,
                storage=storage,
                modulation=storage,
                transposed=transposed,
                recompute=recompute,
                tokens=tokens,
                adapter_weights=adapter_weights,
                optimizer=optimizer,
                attention_kept=attention_kept,
            )
            smallest = min(smallest, need)
            if need <= usable:
                yield MemoryPlan(storage, storage, transposed, recompute, need, attention_kept)

    chosen = plan_at_level(plans(), lambda plan: plan.predicted_gib, tighter)
    if chosen is not None:
        return chosen
    raise ResourceError(
        f"{what} needs {smallest + spec.reserve_gib:.1f} GiB of video memory at least, and {usable_gib:.1f} GiB may be used.",
        why=f"even with {storages[-1]} weights and every block recomputed it does not fit {tokens} tokens a step.",
        remedy=remedy,
    )


def _candidates(spec: ModelSpec, storages: Sequence[Storage]) -> Iterator[tuple[Storage, bool, tuple[int, ...], int]]:
    """Storage, whether weights are kept transposed too, what is recomputed, and attention outputs kept; the fastest first."""
    nothing, everything = tuple(0 for _ in spec.blocks), tuple(block.count for block in spec.blocks)
    for storage in storages:
        if spec.attention_bytes:
            yield storage, False, nothing, 0
            for kept in range(sum(everything), -1, -1):
                yield storage, False, everything, kept
            continue
        if storage == "fp8":
            yield storage, True, nothing, 0
        for recompute in recompute_steps(spec):
            yield storage, False, recompute, 0


def recompute_steps(spec: ModelSpec) -> list[tuple[int, ...]]:
    """From nothing recomputed to everything, the same share of each kind, in as many steps as blocks could keep something."""
    learning = [block.count - block.before_adapters for block in spec.blocks]
    total = sum(learning)
    steps = [
        tuple(
            block.before_adapters + round(own * step / total) for block, own in zip(spec.blocks, learning, strict=True)
        )
        for step in range(1, total + 1)
    ]
    return [tuple(0 for _ in spec.blocks), *steps]


def before_adapters(spec: ModelSpec, adapted: Sequence[Collection[int]]) -> ModelSpec:
    """The spec for an adapter that sits on these blocks of each kind only; kinds stand in the order in which a call passes them."""
    blocks, reached = [], False
    for block, numbers in zip(spec.blocks, adapted, strict=True):
        first = 0 if reached else min(numbers, default=block.count)
        reached = reached or bool(numbers)
        blocks.append(replace(block, before_adapters=first))
    return replace(spec, blocks=tuple(blocks))
