"""Which items each forward pass sees: derived from (seed, epoch), so that a resumed run sees what it would have seen."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.engine.randomness import permutation, uniform


@dataclass(frozen=True)
class Order:
    """An endless, reproducible sequence of batches; all items of a batch share a bucket.

    Each epoch has about as many draws as there are items, shared out by weight (fractions by chance), shuffled and cut into
    batches by bucket.
    A bucket whose draws do not fill its last batch fills it from its own start, so that every batch has the same shape.
    """

    buckets: tuple[str, ...]
    weights: tuple[float, ...]
    batch_size: int
    seed: int
    _epochs: dict[int, list[tuple[int, ...]]] = field(default_factory=dict, compare=False, repr=False)

    def batch(self, index: int) -> tuple[int, ...]:
        """The items of batch `index`, counted from the start of training."""
        epoch = 0
        while index >= len(self._epoch(epoch)):
            index -= len(self._epoch(epoch))
            epoch += 1
        return self._epoch(epoch)[index]

    def _epoch(self, epoch: int) -> list[tuple[int, ...]]:
        if epoch not in self._epochs:
            self._epochs[epoch] = self._make(epoch)
        return self._epochs[epoch]

    def _make(self, epoch: int) -> list[tuple[int, ...]]:
        drawn: list[int] = []
        scale = len(self.weights) / sum(self.weights)
        for item, share in enumerate(self.weights):
            weight = share * scale
            whole = int(weight)
            drawn += [item] * (whole + (uniform(self.seed, "draw", epoch, item) < weight - whole))
        if not drawn:
            drawn = list(range(len(self.weights)))
        by_bucket: dict[str, list[int]] = defaultdict(list)
        for position in permutation(len(drawn), self.seed, "shuffle", epoch):
            by_bucket[self.buckets[drawn[position]]].append(drawn[position])
        batches = []
        for items in by_bucket.values():
            for start in range(0, len(items), self.batch_size):
                batch = items[start : start + self.batch_size]
                while len(batch) < self.batch_size:
                    batch += items[: self.batch_size - len(batch)]
                batches.append(tuple(batch))
        return [batches[i] for i in permutation(len(batches), self.seed, "batches", epoch)]


@dataclass(frozen=True)
class Phase:
    """A part of a training that knows only some of the items."""

    start: int
    """Its first batch, counted from the start of training."""
    order: Order
    items: tuple[int, ...]
    """What the order's items are among all."""


@dataclass(frozen=True)
class Curriculum:
    """Orders one after the other: each part of the training has all items that have begun by then, in an order of its own."""

    phases: tuple[Phase, ...]

    def batch(self, index: int) -> tuple[int, ...]:
        """The items of batch `index`, counted from the start of training."""
        phase = next(phase for phase in reversed(self.phases) if phase.start <= index)
        return tuple(phase.items[place] for place in phase.order.batch(index - phase.start))


def order_of(
    buckets: Sequence[str],
    weights: Sequence[float],
    begins: Sequence[float],
    *,
    batch_size: int,
    seed: int,
    batches: int,
) -> Order | Curriculum:
    """The order of items that begin after a share of all `batches`; where all begin at once it is one order."""
    starts = sorted(set(begins))
    if len(starts) == 1:
        return Order(tuple(buckets), tuple(weights), batch_size, seed)
    phases = []
    for number, start in enumerate(starts):
        items = tuple(item for item, begin in enumerate(begins) if begin <= start)
        own = seed if number == 0 else derive_seed(seed, "phase", number) % 2**31
        order = Order(tuple(buckets[item] for item in items), tuple(weights[item] for item in items), batch_size, own)
        phases.append(Phase(math.ceil(start * batches) if number else 0, order, items))
    return Curriculum(tuple(phases))
