from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshly.domains.ingredients.amounts import parse_amount, scaled, split_amount
from freshly.domains.ingredients.measures import (
    FoodFacts,
    comparable,
    convert,
    fits,
    for_display,
    normalize,
    to_thousandths,
)
from freshly.domains.ingredients.units import UNITS, Kind, find_unit

READ = [
    # text, food, quantity, unit
    ("200 g", "", "200", "g"),
    ("200g", "", "200", "g"),
    ("1.5 kg", "", "1.5", "kg"),
    ("1,5 kg", "", "1.5", "kg"),
    ("0,250 kg", "", "0.25", "kg"),
    ("1,500 g", "", "1500", "g"),
    (".5 l", "", "0.5", "l"),
    ("3", "egg", "3", "count"),
    ("1/2 cup", "", "0.5", "cup"),
    ("1/2 cups", "", "0.5", "cup"),
    ("1 1/2 cups", "", "1.5", "cup"),
    ("1½ cups", "", "1.5", "cup"),
    ("½ tsp", "", "0.5", "tsp"),
    ("1⁄4 tsp", "", "0.25", "tsp"),
    ("⅔ Tbsp", "", "0.6667", "tbsp"),
    ("2-3 tbsp", "", "3", "tbsp"),
    ("2 – 3 EL", "", "3", "tbsp"),
    ("1 to 2 cups", "", "2", "cup"),
    ("1 bis 2 TL", "", "2", "tsp"),
    ("2 x 400 g", "", "800", "g"),
    ("2 × 400g cans", "", "800", "g"),
    ("2 cans (400 g)", "", "800", "g"),
    ("2 (400 g) cans", "", "800", "g"),
    ("1 (14 oz) can", "", "14", "oz"),
    ("2 cans", "", "2", "can"),
    ("3 carrots (300 g)", "carrot", "300", "g"),
    ("4 fillets (150 g each)", "salmon", "600", "g"),
    ("2 carrots (60 g each)", "carrot", "120", "g"),
    ("a pinch", "", "1", "pinch"),
    ("pinch of salt", "salt", "1", "pinch"),
    ("eine Prise", "", "1", "pinch"),
    ("1 Bund", "", "1", "bunch"),
    ("2 c. à s.", "", "2", "tbsp"),
    ("1 cuillère à soupe", "", "1", "tbsp"),
    ("3 cdas", "", "3", "tbsp"),
    ("1 T", "", "1", "tbsp"),
    ("1 t", "", "1", "tsp"),
    ("5 dl", "", "5", "dl"),
    ("8 fl oz", "", "8", "fl oz"),
    ("1 pint", "", "1", "pint"),
    ("2 quarts", "", "2", "quart"),
    ("1 gal", "", "1", "gallon"),
    ("3 cloves, minced", "garlic", "3", "clove"),
    ("2 large cloves", "garlic", "2", "clove"),
    ("2 large", "onion", "2", "count"),
    ("2 onions", "onion", "2", "count"),
    ("2 large onions, diced", "onion", "2", "count"),
    ("juice of 1 lemon", "", "1", "count"),
    ("zest and juice of 2 limes", "lime", "2", "count"),
    ("half a lemon", "lemon", "0.5", "count"),
    ("a dozen", "egg", "1", "dozen"),
    ("about 200 g", "", "200", "g"),
    ("1 lb 4 oz", "", "1.25", "lb"),
    ("1 cup + 2 tbsp", "", "1.125", "cup"),
    ("250 ml cold water", "water", "250", "ml"),
    ("2 heaped tbsp", "", "2", "tbsp"),
]
UNREADABLE = [
    "",
    "to taste",
    "as needed",
    "some",
    "2 blobs",
    "-5 g",
    "1/0 cup",
    "99999999 kg",
    "1" * 400,
    "nach Geschmack",
]


@pytest.mark.parametrize(("text", "food", "quantity", "unit"), READ, ids=[r[0] for r in READ])
def test_amounts_are_read_as_cooks_write_them(text, food, quantity, unit):
    amount = parse_amount(text, food)

    assert amount is not None
    assert amount.unit == unit
    assert abs(amount.quantity - Decimal(quantity)) < Decimal("0.001")


@pytest.mark.parametrize("text", UNREADABLE, ids=[t[:12] for t in UNREADABLE])
def test_an_unreadable_text_is_no_amount(text):
    assert parse_amount(text) is None


@given(st.text(max_size=60), st.text(max_size=20))
def test_parsing_any_text_never_raises(text, food):
    amount = parse_amount(text, food)

    assert amount is None or fits(amount.quantity)


AMOUNTS = st.from_regex(
    r"[0-9]{0,9}( ?[/.,x+-] ?[0-9]{1,9}){0,3} ?\(?(g|kg|cup|EL|c\. a s\.|can|½|1/2|to|x)?\)?.{0,5}",
    fullmatch=True,
)


@given(AMOUNTS)
def test_parsing_text_that_looks_like_an_amount_never_raises(text):
    amount = parse_amount(text)

    assert amount is None or fits(amount.quantity)


@given(st.decimals(min_value=0, max_value=9999, places=3), st.sampled_from(UNITS))
def test_a_written_amount_is_read_back_unchanged(quantity, unit):
    amount = parse_amount(f"{quantity} {unit.code}")

    assert (amount.quantity, amount.unit) == (quantity, unit.code)


def test_a_scaled_amount_is_written_with_its_new_quantity():
    assert scaled("2 cups", Decimal(2)) == "4 cups"
    assert scaled("1 pinch", Decimal(2)) == "2 pinches"
    assert scaled("2 leaves", Decimal(2)) == "4 leaves"
    assert scaled("2 cups", Decimal("0.5")) == "1 cup"
    assert scaled("1 cup", Decimal("0.5")) == "0.5 cup"
    assert scaled("100 g", Decimal(2)) == "200 g"
    assert scaled("1 tbsp", Decimal(3)) == "3 tbsp"
    assert scaled("1 dozen", Decimal(2)) == "2 dozen"
    assert scaled("3", Decimal("1.5"), "egg") == "4.5"
    assert scaled("to taste", Decimal(2)) == "to taste"
    assert scaled("2 cups", Decimal(1)) == "2 cups"


def test_every_spelling_of_a_unit_means_one_unit():
    spellings = [spelling for unit in UNITS for spelling in (unit.code, *unit.aliases)]

    assert len({spelling.casefold() for spelling in spellings}) == len(spellings)
    for unit in UNITS:
        for spelling in (unit.code, *unit.aliases):
            assert find_unit(f" {spelling.upper()}. ") == unit or spelling in "tc"


FLOUR = FoodFacts(kind=Kind.WEIGHT, unit="g", density=Decimal("0.53"))
EGG = FoodFacts(kind=Kind.COUNT, unit="count", piece_weight=Decimal(50))
MILK = FoodFacts(kind=Kind.VOLUME, unit="ml", density=Decimal("1.03"))
GARLIC = FoodFacts(kind=Kind.WEIGHT, unit="g", measures={"clove": Decimal(3), "head": Decimal(40)})
RICE = FoodFacts(kind=Kind.WEIGHT, unit="kg", density=Decimal("0.8"))
LEMON_JUICE = FoodFacts(
    kind=Kind.VOLUME, unit="ml", density=Decimal("1.03"), piece_weight=Decimal(48)
)


@pytest.mark.parametrize(
    ("quantity", "unit", "food", "result"),
    [
        ("4", "cups", FLOUR, ("508.8", "g")),
        ("2", "lbs", FLOUR, ("907.184", "g")),
        ("1", "L", MILK, ("1000", "ml")),
        ("300", "g", EGG, ("6", "count")),
        ("2", "pcs", EGG, ("2", "count")),
        ("1", "dozen", EGG, ("12", "count")),
        ("3", "cloves", GARLIC, ("9", "g")),
        ("1", "head", GARLIC, ("40", "g")),
        ("500", "g", RICE, ("0.5", "kg")),
        ("1", "count", LEMON_JUICE, ("46.602", "ml")),
        ("1", "bunch", FLOUR, None),
        ("1", "blob", FLOUR, None),
        ("1", "piece", FLOUR, None),
        ("7", "blobs", FoodFacts(), ("7", "blobs")),
    ],
)
def test_amounts_are_converted_to_the_foods_own_unit(quantity, unit, food, result):
    measured = normalize(Decimal(quantity), unit, food)

    if result is None:
        assert measured is None
    else:
        assert (
            str(to_thousandths(measured.quantity).normalize() + 0),
            measured.unit,
        ) == result or (to_thousandths(measured.quantity) == Decimal(result[0]))


def test_amounts_that_do_not_convert_to_the_foods_unit_can_still_be_compared():
    cream = FoodFacts(kind=Kind.VOLUME, unit="ml")

    assert comparable(Decimal(1), "kg", cream) == comparable(Decimal(1000), "grams", cream)
    assert comparable(Decimal(1), "kg", cream).unit == "g"
    assert comparable(Decimal(2), "Bund", FLOUR).unit == "bunch"
    assert comparable(Decimal(2), None, FoodFacts()).unit == "count"
    assert comparable(Decimal("1.5"), "L", FoodFacts()) == comparable(
        Decimal(1500), "ml", FoodFacts()
    )
    assert comparable(Decimal(1), "tbsp", FoodFacts()).unit == "tbsp"


FOODS = st.builds(
    FoodFacts,
    kind=st.sampled_from([Kind.WEIGHT, Kind.VOLUME, Kind.COUNT]),
    density=st.decimals(min_value="0.05", max_value="2", places=3),
    piece_weight=st.decimals(min_value="0.5", max_value="2000", places=1),
    measures=st.fixed_dictionaries({"clove": st.just(Decimal(3)), "can": st.just(Decimal(400))}),
)


@given(
    st.decimals(min_value=0, max_value=99999, places=3),
    st.sampled_from([u.code for u in UNITS if u.kind is not Kind.HOUSEHOLD] + ["clove", "can"]),
    st.sampled_from([u.code for u in UNITS if u.kind is not Kind.HOUSEHOLD] + ["clove", "can"]),
    FOODS,
)
def test_converting_to_another_unit_and_back_only_rounds(quantity, unit, other, food):
    converted = convert(quantity, unit, other, food)
    back = convert(converted, other, unit, food)

    assert abs(back - quantity) <= Decimal("0.001") * max(quantity, 1)


@given(st.decimals(min_value=0, max_value=9_999_999, places=3), st.sampled_from(UNITS))
def test_a_displayed_amount_is_close_to_the_real_one_and_never_zero(quantity, unit):
    display = for_display(quantity, unit.code)
    displayed_unit = find_unit(display.unit)
    base, displayed_base = quantity * unit.factor, display.quantity * displayed_unit.factor

    assert displayed_unit.kind is unit.kind
    assert (display.quantity > 0) == (quantity > 0)
    if unit.kind is Kind.COUNT:
        assert 0 <= displayed_base - base < 1
    elif base >= 1:
        assert abs(displayed_base - base) <= max(base / 100, Decimal("0.05") * unit.factor)


@pytest.mark.parametrize(
    ("quantity", "unit", "display"),
    [
        ("1250", "g", "1.25 kg"),
        ("226.796", "g", "226.8 g"),
        ("999.96", "g", "1000 g"),
        ("1500", "ml", "1.5 L"),
        ("30", "ml", "30 ml"),
        ("5.2", "count", "6 pcs"),
        ("2", "tsp", "2 tsp"),
        ("0.333333", "bunch", "0.33 bunch"),
        ("0.04", "g", "0.1 g"),
        ("2", "kg", "2 kg"),
    ],
)
def test_amounts_are_displayed_in_units_that_are_easy_to_read(quantity, unit, display):
    result = for_display(Decimal(quantity), unit)

    assert f"{result.quantity:f} {result.unit}" == display


@pytest.mark.parametrize(
    ("name", "amount", "expected"),
    [
        ("2 chicken breasts", "1", ("chicken breasts", "2")),
        ("3 cloves garlic", "1", ("garlic", "3 cloves")),
        ("3 cloves garlic, minced", " 1 ", ("garlic, minced", "3 cloves")),
        ("1 1/2 cups of milk", "1", ("milk", "1 1/2 cups")),
        ("½ cup milk", "1", ("milk", "½ cup")),
        ("500g flour", "1", ("flour", "500g")),
        ("2 chicken breasts", "2", ("2 chicken breasts", "2")),
        ("2 chicken breasts", "", ("2 chicken breasts", "")),
        ("garlic", "1", ("garlic", "1")),
        ("2% milk", "1", ("2% milk", "1")),
        ("7-up", "1", ("7-up", "1")),
        ("00", "1", ("00", "1")),
        ("", "1", ("", "1")),
    ],
)
def test_an_amount_in_front_of_a_name_counts_if_the_amount_is_a_bare_one(name, amount, expected):
    assert split_amount(name, amount) == expected
