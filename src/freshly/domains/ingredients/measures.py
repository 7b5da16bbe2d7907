"""Converts amounts to units that can be added up, and back to units for display."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from freshly.chassis.data.types import LARGEST_QUANTITY, THOUSANDTH
from freshly.domains.ingredients.units import BASE, DISPLAY_CODES, Kind, Unit, find_unit, folded

KILO = 1000  # g or ml; from here on amounts are displayed in kg or L


@dataclass(frozen=True)
class FoodFacts:
    """The known weights of a food. The density is in g/ml, the piece weight in g.

    `measures` are the grams of household units: `{"clove": 3, "head": 40}`.
    """

    kind: Kind | None = None
    unit: str | None = None
    density: Decimal | None = None
    piece_weight: Decimal | None = None
    measures: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def canonical(self) -> Unit | None:
        """Return the unit in which amounts of this food are added up, or None if there is none."""
        given = find_unit(self.unit)
        if self.kind is None:
            return given if given and given.kind in BASE else None
        if given and given.kind is self.kind:
            return given
        return find_unit(BASE[self.kind])


@dataclass(frozen=True)
class Measured:
    """A quantity that can be compared with others of the same unit."""

    quantity: Decimal
    unit: str

    def rounded(self) -> "Measured":
        return Measured(to_thousandths(self.quantity), self.unit)


def to_thousandths(quantity: Decimal) -> Decimal:
    return quantity.quantize(THOUSANDTH, ROUND_HALF_UP)


def fits(quantity: Decimal) -> bool:
    """Return True if a Quantity column can store the number."""
    return quantity.is_finite() and 0 <= quantity <= LARGEST_QUANTITY


def depends_on_food(unit: str, food: FoodFacts) -> bool:
    """Return True if conversion to the food's canonical unit needs a fact about the food."""
    known_unit, canonical = find_unit(unit), food.canonical
    return bool(known_unit and canonical and known_unit.kind is not canonical.kind)


def normalize(quantity: Decimal, unit: str, food: FoodFacts) -> Measured | None:
    """Convert to the food's canonical unit. Return None if the conversion factor is unknown.

    An amount of a food without a canonical unit is returned unchanged.
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
    """Convert to a unit in which amounts of the food can be compared.

    This is the canonical unit, or else the base unit of the given one, or else its folded text.
    So "1 kg" and "500 g" of a food that is measured in ml and has no density still compare.
    """
    code = folded(unit)
    known_unit = find_unit(code)
    if food.canonical is None:
        # The existing app leaves these amounts unchanged. Metric units are the same for each food.
        if known_unit is None or not known_unit.is_metric or known_unit.kind not in BASE:
            return Measured(quantity, code)
        return Measured(quantity * known_unit.factor, BASE[known_unit.kind]).rounded()
    if measured := normalize(quantity, code, food):
        return measured.rounded()
    if known_unit is None or known_unit.kind not in BASE:
        return Measured(quantity, code)
    return Measured(quantity * known_unit.factor, BASE[known_unit.kind]).rounded()


def convert(quantity: Decimal, unit: str, to: str, food: FoodFacts) -> Decimal | None:
    """Convert a quantity of a food. Return None if the conversion factor is unknown."""
    if folded(unit) == folded(to):
        return quantity
    given, target = find_unit(unit), find_unit(to)
    if given is None or target is None:
        return None
    base = _convert(quantity * given.factor, given, target.kind, food, target)
    return None if base is None else base / target.factor


def _convert(
    base: Decimal, given: Unit, kind: Kind, food: FoodFacts, target: Unit | None = None
) -> Decimal | None:
    """Convert `base` g, ml, pieces or household units of the food to the base unit of `kind`."""
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


def for_display(quantity: Decimal, unit: str) -> Measured:
    """Choose a readable unit and round: 1250 g are 1.25 kg, and 1.2 pieces are 2 pcs.

    A positive amount is never rounded to 0.
    """
    known_unit = find_unit(unit)
    if known_unit is None or known_unit.kind not in BASE:
        return _at_least(quantity, "0.01", folded(unit))
    if known_unit.kind is not Kind.COUNT and known_unit.factor >= 1 and known_unit.is_metric:
        return _metric_for_display(quantity * known_unit.factor, known_unit.kind)
    if known_unit.kind is Kind.COUNT:
        return Measured((quantity * known_unit.factor).quantize(Decimal(1), ROUND_CEILING), "pcs")
    return _at_least(quantity, "0.01", known_unit.code)


def _metric_for_display(base: Decimal, kind: Kind) -> Measured:
    code = BASE[kind]
    if base >= KILO:
        large = "kg" if kind is Kind.WEIGHT else DISPLAY_CODES["l"]
        return _at_least(base / KILO, "0.01", large)
    return _at_least(base, "0.1", code)


def _at_least(quantity: Decimal, step: str, unit: str) -> Measured:
    """Round to a multiple of `step`, but a positive quantity at least to one step."""
    smallest = Decimal(step)
    rounded = quantity.quantize(smallest, ROUND_HALF_UP)
    if not rounded and quantity:
        rounded = smallest
    return Measured(_trimmed(rounded), unit)


def _trimmed(quantity: Decimal) -> Decimal:
    """Drop trailing zeros: 1250.00 is 1250 and 1.50 is 1.5, without an exponent."""
    whole = quantity == quantity.to_integral_value()
    return quantity.quantize(Decimal(1)) if whole else quantity.normalize()
