"""Converts amounts to units in which they can be added up, and back to units for display."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from freshly.chassis.data.types import LARGEST_QUANTITY, THOUSANDTH
from freshly.domains.ingredients.units import BASE, DISPLAY_CODES, Kind, Unit, unit_key, unit_named

KILO_DISPLAY_THRESHOLD = 1000  # g or ml; from here on amounts are displayed in kg or L


@dataclass(frozen=True)
class FoodFacts:
    """The facts that convert amounts of a food.

    `piece_weight` is in g, `density` in g/ml. `measures` are the grams of one household unit:
    `{"clove": 3, "head": 40}`.
    """

    kind: Kind | None = None
    unit: str | None = None
    density: Decimal | None = None
    piece_weight: Decimal | None = None
    measures: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def canonical(self) -> Unit | None:
        """Return the unit in which amounts of this food are added up, or None if there is none."""
        given = unit_named(self.unit)
        if self.kind is None:
            return given if given and given.kind in BASE else None
        if given and given.kind is self.kind:
            return given
        return find_unit(BASE[self.kind])


@dataclass(frozen=True)
class Measured:
    """A quantity that can be compared with others in the same unit."""

    quantity: Decimal
    unit: str

    def rounded(self) -> "Measured":
        return Measured(to_thousandths(self.quantity), self.unit)


def to_thousandths(quantity: Decimal) -> Decimal:
    return quantity.quantize(THOUSANDTH, ROUND_HALF_UP)


def fits(quantity: Decimal) -> bool:
    """Return True if a column of type Quantity can store it."""
    return quantity.is_finite() and 0 <= quantity <= LARGEST_QUANTITY


def is_household_measure(unit: str) -> bool:
    """Return True for units such as clove and can, whose weight depends on the food."""
    known_unit = unit_named(unit)
    return known_unit is not None and known_unit.kind is Kind.HOUSEHOLD


def normalize(quantity: Decimal, unit: str, food: FoodFacts) -> Measured | None:
    """Convert to the food's canonical unit, if it has one.

    Return None if the unit is unknown or the food lacks the fact that the conversion needs.
    """
    canonical = food.canonical
    if canonical is None:
        return Measured(quantity, unit)
    given = find_unit(unit)
    if given is None:
        return None
    base = _convert(quantity * given.factor, given, canonical.kind, food)
    return None if base is None else Measured(base / canonical.factor, canonical.code)


def comparable(quantity: Decimal, unit: str | None, food: FoodFacts) -> Measured:
    """Convert like `normalize`, or to the base unit of the same kind if that is not possible.

    So "1 kg" and "500 g" can be compared for a food that is measured in ml and has no density.
    """
    code = unit_key(unit)
    known_unit = unit_named(code)
    if food.canonical is None:
        # The existing app converts nothing here. Only metric units convert without facts.
        if known_unit is None or not known_unit.is_metric or known_unit.kind not in BASE:
            return Measured(quantity, code)
        return Measured(quantity * known_unit.factor, BASE[known_unit.kind]).rounded()
    if measured := normalize(quantity, code, food):
        return measured.rounded()
    if known_unit is None or known_unit.kind not in BASE:
        return Measured(quantity, code)
    return Measured(quantity * known_unit.factor, BASE[known_unit.kind]).rounded()


def convert(quantity: Decimal, unit: str, to: str, food: FoodFacts) -> Decimal | None:
    """Convert a quantity of a food to another unit. Return None if a needed fact is unknown."""
    if unit_key(unit) == unit_key(to):
        return quantity
    given, target = unit_named(unit), unit_named(to)
    if given is None or target is None:
        return None
    base = _convert(quantity * given.factor, given, target.kind, food, target)
    return None if base is None else base / target.factor


def _convert(
    base: Decimal, given: Unit, kind: Kind, food: FoodFacts, target: Unit | None = None
) -> Decimal | None:
    """Convert `base` (in g, ml, pieces or household units) to the base unit of `kind`."""
    if given.kind is kind and kind in BASE:
        return base
    grams = _grams(base, given, food)
    if grams is None:
        return None
    if kind is Kind.WEIGHT:
        return grams
    per_unit = {
        Kind.VOLUME: food.density,
        Kind.COUNT: food.piece_weight,
        Kind.HOUSEHOLD: food.measures.get(target.code) if target else None,
    }[kind]
    return grams / per_unit if per_unit else None


def _grams(base: Decimal, given: Unit, food: FoodFacts) -> Decimal | None:
    per_unit = {
        Kind.WEIGHT: Decimal(1),
        Kind.VOLUME: food.density,
        Kind.COUNT: food.piece_weight,
        Kind.HOUSEHOLD: food.measures.get(given.code),
    }[given.kind]
    return base * per_unit if per_unit else None


def shown(quantity: Decimal, unit: str) -> Measured:
    """Return the amount for display: 1250 g become 1.25 kg, 1.2 pieces become 2 pcs.

    An amount above zero is never displayed as 0.
    """
    known_unit = unit_named(unit)
    if known_unit is None or known_unit.kind not in BASE:
        return _at_least(quantity, "0.01", unit_key(unit))
    if known_unit.kind is not Kind.COUNT and known_unit.factor >= 1 and known_unit.is_metric:
        return _metric_for_display(quantity * known_unit.factor, known_unit.kind)
    if known_unit.kind is Kind.COUNT:
        pieces = (quantity * known_unit.factor).quantize(Decimal(1), ROUND_CEILING)
        return Measured(pieces, DISPLAY_CODES["count"])
    return _at_least(quantity, "0.01", known_unit.code)


def _metric_for_display(base: Decimal, kind: Kind) -> Measured:
    code = BASE[kind]
    if base >= KILO_DISPLAY_THRESHOLD:
        large = "kg" if kind is Kind.WEIGHT else DISPLAY_CODES["l"]
        return _at_least(base / KILO_DISPLAY_THRESHOLD, "0.01", large)
    return _at_least(base, "0.1", code)


def _at_least(quantity: Decimal, step: str, unit: str) -> Measured:
    """Round to a multiple of `step`. Round an amount above zero to one step at least."""
    smallest = Decimal(step)
    rounded = quantity.quantize(smallest, ROUND_HALF_UP)
    if not rounded and quantity:
        rounded = smallest
    return Measured(_without_trailing_zeros(rounded), unit)


def _without_trailing_zeros(quantity: Decimal) -> Decimal:
    """Return 1250 for 1250.00 and 1.5 for 1.50, never 1.25E+3."""
    whole = quantity == quantity.to_integral_value()
    return quantity.quantize(Decimal(1)) if whole else quantity.normalize()
