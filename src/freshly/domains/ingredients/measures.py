"""From what a cook writes to what can be added up, and back to what is read at the stove."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from freshly.chassis.data.types import LARGEST_QUANTITY, THOUSANDTH
from freshly.domains.ingredients.units import BASE, SHOWN_AS, Kind, Unit, folded, unit_named

ONE_KILO = 1000  # g or ml, from which kilograms and litres are shown


@dataclass(frozen=True)
class FoodFacts:
    """What is known of a food. Weights in g, density in g/ml.

    `measures` are grams of household units: `{"clove": 3, "head": 40}`.
    """

    kind: Kind | None = None
    unit: str | None = None
    density: Decimal | None = None
    piece_weight: Decimal | None = None
    measures: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def canonical(self) -> Unit | None:
        """The unit that amounts of this food are added up in; None: each in its own."""
        given = unit_named(self.unit)
        if self.kind is None:
            return given if given and given.kind in BASE else None
        if given and given.kind is self.kind:
            return given
        return unit_named(BASE[self.kind])


@dataclass(frozen=True)
class Measured:
    """A quantity in a unit that may be compared with others of the same unit."""

    quantity: Decimal
    unit: str

    def rounded(self) -> "Measured":
        return Measured(to_thousandths(self.quantity), self.unit)


def to_thousandths(quantity: Decimal) -> Decimal:
    return quantity.quantize(THOUSANDTH, ROUND_HALF_UP)


def fits(quantity: Decimal) -> bool:
    """Whether a column can hold it."""
    return quantity.is_finite() and 0 <= quantity <= LARGEST_QUANTITY


def is_household_measure(unit: str) -> bool:
    """A clove, a can: what it weighs depends on the food."""
    known = unit_named(unit)
    return known is not None and known.kind is Kind.HOUSEHOLD


def normalize(quantity: Decimal, unit: str, food: FoodFacts) -> Measured | None:
    """In the food's canonical unit; unchanged without one; None where no factor leads there."""
    canonical = food.canonical
    if canonical is None:
        return Measured(quantity, unit)
    given = unit_named(unit)
    if given is None:
        return None
    base = _convert(quantity * given.factor, given, canonical.kind, food)
    return None if base is None else Measured(base / canonical.factor, canonical.code)


def comparable(quantity: Decimal, unit: str | None, food: FoodFacts) -> Measured:
    """As `normalize`; what cannot be normalised keeps a unit of its own, folded.

    "1 kg" and "500 g" of something that is measured in ml and has no density still compare.
    """
    code = folded(unit)
    known = unit_named(code)
    if food.canonical is None:
        # Unchanged, as the existing app has it; only a litre is a thousand millilitres always.
        if known is None or not known.is_metric or known.kind not in BASE:
            return Measured(quantity, code)
        return Measured(quantity * known.factor, BASE[known.kind]).rounded()
    if measured := normalize(quantity, code, food):
        return measured.rounded()
    if known is None or known.kind not in BASE:
        return Measured(quantity, code)
    return Measured(quantity * known.factor, BASE[known.kind]).rounded()


def convert(quantity: Decimal, unit: str, to: str, food: FoodFacts) -> Decimal | None:
    """A quantity of a food in another unit; None where no factor leads there."""
    if folded(unit) == folded(to):
        return quantity
    given, wanted = unit_named(unit), unit_named(to)
    if given is None or wanted is None:
        return None
    base = _convert(quantity * given.factor, given, wanted.kind, food, wanted)
    return None if base is None else base / wanted.factor


def _convert(
    base: Decimal, given: Unit, kind: Kind, food: FoodFacts, wanted: Unit | None = None
) -> Decimal | None:
    """`base` g, ml, pieces or household units of the food, in the base unit of `kind`."""
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
        Kind.HOUSEHOLD: food.measures.get(wanted.code) if wanted else None,
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
    """As it is read: 1250 g are 1.25 kg, 1.2 pieces are 2 pcs, and nothing needed shows as 0."""
    known = unit_named(unit)
    if known is None or known.kind not in BASE:
        return _at_least(quantity, "0.01", folded(unit))
    if known.kind is not Kind.COUNT and known.factor >= 1 and known.is_metric:
        return _shown_metric(quantity * known.factor, known.kind)
    if known.kind is Kind.COUNT:
        return Measured((quantity * known.factor).quantize(Decimal(1), ROUND_CEILING), "pcs")
    return _at_least(quantity, "0.01", known.code)


def _shown_metric(base: Decimal, kind: Kind) -> Measured:
    code = BASE[kind]
    if base >= ONE_KILO:
        large = "kg" if kind is Kind.WEIGHT else SHOWN_AS["l"]
        return _at_least(base / ONE_KILO, "0.01", large)
    return _at_least(base, "0.1", code)


def _at_least(quantity: Decimal, step: str, unit: str) -> Measured:
    """Rounded to steps; but what is more than nothing is never shown as nothing."""
    smallest = Decimal(step)
    rounded = quantity.quantize(smallest, ROUND_HALF_UP)
    if not rounded and quantity:
        rounded = smallest
    return Measured(_trimmed(rounded), unit)


def _trimmed(quantity: Decimal) -> Decimal:
    """1250.00 is 1250, 1.50 is 1.5; never 1.25E+3."""
    whole = quantity == quantity.to_integral_value()
    return quantity.quantize(Decimal(1)) if whole else quantity.normalize()
