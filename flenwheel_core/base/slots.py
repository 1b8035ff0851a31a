"""A slot for each card: which cards work on several of them takes, and the name, the limit and the lock of each.

Everybody who uses a card takes the slot of that card, whatever other cards the settings name beside it. Locks are taken in the order
given here, so that two who want the same cards never wait for each other.
"""

from dataclasses import dataclass
from pathlib import Path

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.given_settings import AUTO, CPU, cards_named
from flenwheel_core.base.settings import LIMIT_PREFIX, Settings


@dataclass(frozen=True)
class Slot:
    """One card's: whoever holds it is alone on the card."""

    name: str
    lock: Path

    @property
    def limit(self) -> str:
        """Its limit in Prefect."""
        return LIMIT_PREFIX + self.name


def cards_for(settings: Settings, count: int = 1) -> tuple[str, ...]:
    """The cards of work that wants so many, the one of all other work here first; on processors there is one of all.

    A machine's worker for one card goes on to the machine's next cards, in a circle. Raises ResourceError if fewer are named.
    """
    if settings.gpu == CPU:
        return (CPU,)
    named = _in_order(settings)
    if not named:
        return tuple(str(index) for index in range(count))
    if len(named) < count:
        raise ResourceError(
            f"train.gpus asks for {count} cards and this worker may use {len(named)}.",
            why=f"The setting gpu is {settings.gpu!r}, and cards is {','.join(settings.cards) or 'unset'}.",
            remedy="Lower train.gpus, or name the cards: FLENWHEEL_GPU=0,1; where each card has a worker, FLENWHEEL_CARDS=0,1 or all.",
        )
    return named[:count]


def slots_offered(settings: Settings) -> tuple[str, ...]:
    """The slots' names of all cards that work of this worker may take, in its order: work on so many takes the first ones."""
    return _names(settings, _in_order(settings) or cards_for(settings))


def _in_order(settings: Settings) -> tuple[str, ...]:
    named = cards_named(settings.gpu)
    machine = tuple(card for card in settings.cards if card not in (AUTO, CPU))
    if len(named) == 1 and named[0] in machine:
        place = machine.index(named[0])
        named = machine[place:] + machine[:place]
    return named


def slots_for(settings: Settings, count: int = 1) -> tuple[Slot, ...]:
    """Their slots, in the order in which their locks are to be taken. Raises ResourceError if fewer cards are named."""
    return _slots(settings, cards_for(settings, count))


def slots_named(settings: Settings) -> tuple[Slot, ...]:
    """The slots of all cards that the setting `gpu` names."""
    return _slots(settings, cards_for(settings) if settings.gpu == AUTO else cards_named(settings.gpu))


def _slots(settings: Settings, cards: tuple[str, ...]) -> tuple[Slot, ...]:
    by_lock = {settings.lock_of(name): name for name in _names(settings, cards)}
    return tuple(Slot(by_lock[lock], lock) for lock in sorted(by_lock))


def _names(settings: Settings, cards: tuple[str, ...]) -> tuple[str, ...]:
    # FLENWHEEL_SLOT names the slot of the first card; the others are called after the machine.
    return (settings.slot_name, *(f"{settings.machine_name}:{card}" for card in cards[1:]))
