"""Computes the amounts to buy: the needs minus the stock that is still good on the day of need.

Pure functions on values; the services read and write the rows. Needs are met in the order of their
days, each from the lots that expire first. No amount is reserved twice.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(frozen=True)
class Key:
    """A food and a unit. Amounts with the same key add up; others cannot be compared."""

    food: int  # ingredient id
    unit: str


@dataclass(frozen=True)
class Need:
    """An amount of a food that is needed on a day."""

    key: Key
    on: date
    quantity: Decimal


@dataclass(frozen=True)
class Lot:
    """A pantry item with its amount."""

    id: int
    key: Key
    quantity: Decimal
    expires_at: date | None  # good through this day


@dataclass(frozen=True)
class Reservation:
    """The part of a lot that covers a need."""

    lot: Lot
    quantity: Decimal


@dataclass
class Line:
    """The result for a key. `needed` is exactly the sum of `reserved` plus `to_buy`."""

    key: Key
    needed: Decimal = ZERO
    reserved: dict[int, Reservation] = field(default_factory=dict)  # by lot id

    @property
    def to_buy(self) -> Decimal:
        return self.needed - sum((r.quantity for r in self.reserved.values()), ZERO)


def _good_through(lot: Lot) -> date:
    return lot.expires_at or date.max


class Stock:
    """Lots, and how much of each is not reserved yet."""

    def __init__(self, lots: Iterable[Lot]) -> None:
        self._lots: dict[Key, list[Lot]] = {}
        self._left: dict[int, Decimal] = {}
        for lot in sorted(lots, key=lambda lot: (_good_through(lot), lot.id)):
            self._lots.setdefault(lot.key, []).append(lot)
            self._left[lot.id] = max(lot.quantity, ZERO)

    def reserve(self, need: Need) -> list[Reservation]:
        """Reserve as much of the need as possible from the lots that are good on its day."""
        missing, reserved = need.quantity, list[Reservation]()
        lots = self._lots.get(need.key, [])
        first_good = bisect_left(lots, need.on, key=_good_through)
        while missing > 0 and first_good < len(lots):
            lot = lots[first_good]
            amount = min(missing, self._left[lot.id])
            if amount > 0:
                self._left[lot.id] -= amount
                missing -= amount
                reserved.append(Reservation(lot, amount))
            if self._left[lot.id] <= 0:
                del lots[first_good]  # so that no later need looks at it
        return reserved


def net(needs: Iterable[Need], lots: Iterable[Lot]) -> dict[Key, Line]:
    """Return a line for each food and unit, in the order in which they are first needed."""
    stock, lines = Stock(lots), dict[Key, Line]()
    for need in sorted(needs, key=lambda need: need.on):
        line = lines.setdefault(need.key, Line(need.key))
        line.needed += need.quantity
        for part in stock.reserve(need):
            before = line.reserved.get(part.lot.id)
            total = part.quantity + (before.quantity if before else ZERO)
            line.reserved[part.lot.id] = Reservation(part.lot, total)
    return lines
