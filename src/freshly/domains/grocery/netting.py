"""What is needed, minus what is in the kitchen and still good on the day it is needed.

Plain arithmetic on values; where they come from and go to is the services' affair. Needs are met
day by day, each from the stock that expires first, and no gram is reserved twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

NOTHING = Decimal(0)


@dataclass(frozen=True)
class Key:
    """Amounts of one food in one unit add up; others do not compare."""

    food: int
    unit: str


@dataclass(frozen=True)
class Need:
    key: Key
    on: date
    quantity: Decimal


@dataclass(frozen=True)
class Lot:
    id: int
    key: Key
    quantity: Decimal
    expires_at: date | None  # good through this day


@dataclass(frozen=True)
class Reservation:
    lot: Lot
    quantity: Decimal


@dataclass
class Line:
    """needed = reserved + to_buy, exactly."""

    key: Key
    needed: Decimal = NOTHING
    reserved: dict[int, Reservation] = field(default_factory=dict)  # by lot

    @property
    def to_buy(self) -> Decimal:
        return self.needed - sum((r.quantity for r in self.reserved.values()), NOTHING)


class Stock:
    """The kitchen while needs are met from it."""

    def __init__(self, lots: Iterable[Lot]) -> None:
        self._lots: dict[Key, list[Lot]] = {}
        self._left: dict[int, Decimal] = {}
        for lot in sorted(lots, key=lambda lot: (lot.expires_at or date.max, lot.id)):
            self._lots.setdefault(lot.key, []).append(lot)
            self._left[lot.id] = max(lot.quantity, NOTHING)

    def reserve(self, need: Need) -> list[Reservation]:
        """As much of the need as there is, of what is good on that day."""
        missing, reserved = need.quantity, []
        for lot in self._lots.get(need.key, ()):
            if lot.expires_at is not None and lot.expires_at < need.on:
                continue
            taken = min(missing, self._left[lot.id])
            if taken > 0:
                self._left[lot.id] -= taken
                missing -= taken
                reserved.append(Reservation(lot, taken))
        return reserved


def net(needs: Iterable[Need], lots: Iterable[Lot]) -> dict[Key, Line]:
    """One line for each food and unit, in the order in which they are first needed."""
    stock, lines = Stock(lots), dict[Key, Line]()
    for need in sorted(needs, key=lambda need: need.on):
        line = lines.setdefault(need.key, Line(need.key))
        line.needed += need.quantity
        for part in stock.reserve(need):
            before = line.reserved.get(part.lot.id)
            total = part.quantity + (before.quantity if before else NOTHING)
            line.reserved[part.lot.id] = Reservation(part.lot, total)
    return lines
