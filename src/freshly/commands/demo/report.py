"""Prints the created week as tables that look the same in a terminal and in a file."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from math import ceil

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from freshly.commands.demo.builder import PlannedWeek
from freshly.commands.demo.household import DAYS
from freshly.domains.grocery.schemas import (
    CoverRead,
    ExplainedLine,
    GroceryListRead,
    ItemSummary,
    NeedRead,
    Unquantified,
)
from freshly.domains.meal_plans.schemas import SlotMealRead, SlotRead
from freshly.domains.pantry.schemas import PantryItemRead

SLOTS = ("breakfast", "lunch", "dinner", "snack")
NO_AISLE = "elsewhere"  # for foods that have no aisle in the catalogue
LARGER_UNITS = {"g": "kg", "ml": "l"}
LIST_UNITS = {"L": "l"}  # as in the reasons
LARGER_UNIT_FACTOR = 1000
ROUNDING_STEPS = {
    "g": Decimal("0.1"),
    "ml": Decimal("0.1"),
    "kg": Decimal("0.001"),
    "l": Decimal("0.001"),
}
DEFAULT_ROUNDING_STEP = Decimal("0.01")
A_LITTLE_G = Decimal(5)  # less than this is not weighed in a shop
LIGHTEST_PIECE_G = 20  # lighter pieces, such as a clove of garlic, are not sold one by one
SPARE_PIECE = 0.1  # a tenth of a piece more is not worth another one
COLUMN_RATIOS = (3, 7, 6, 2)  # of the widths of the columns in the explanation
DISTANT_EXPIRY = timedelta(days=60)  # from here on the month is shown instead of the day


@dataclass
class Report:
    console: Console
    week: PlannedWeek

    def print(self) -> None:
        self._household()
        self._plan()
        self._list()
        self._explanation()

    def _household(self) -> None:
        week, monday = self.week, self.week.plan.week_start
        names = [member.user.name or member.user.email for member in week.members]
        self._heading(week.family.display_name)
        self._paragraph(
            f"{_enumerated(names)}: {week.family.count} people, {len(week.pantry)} things in the "
            f"pantry, {week.meals} meals that they cook, {len(week.slots)} meal times planned."
        )
        if expired := [
            item for item in week.pantry if item.expires_at and item.expires_at < monday
        ]:
            items = [f"{_stock(item)} ({_day(item.expires_at)})" for item in expired]
            self._paragraph(f"Expired before the week, so not counted: {_enumerated(items)}.")

    def _plan(self) -> None:
        plan = self.week.plan
        last = plan.week_end or plan.week_start
        self._heading(f"{plan.title}: {_day(plan.week_start)} to {_day(last)}")
        table = _table("Day", *(slot.title() for slot in SLOTS), lines=True)
        planned = {(slot.day, slot.slot): slot for slot in self.week.slots}
        for number in range(len(DAYS)):
            slots = [planned.get((number, name)) for name in SLOTS]
            day = _day(plan.week_start + timedelta(days=number))
            table.add_row(day, *(_slot_cell(slot) if slot else "" for slot in slots))
        self.console.print(table)
        self._paragraph('Servings are in brackets; "as written" means those of the recipe.')

    def _list(self) -> None:
        shopping = self.week.shopping
        self._heading(f"To buy: {len(shopping.to_buy.items)} things")
        table = _table("Aisle", "Item", "Amount", "Note", right="Amount")
        for aisle, items in self._by_aisle(shopping.to_buy):
            for number, item in enumerate(items):
                amount = _list_amount(item)
                note = item.note or self._in_the_shop(item)
                table.add_row("" if number else aisle, item.ingredient_name, amount, note)
            table.add_section()
        self.console.print(table)

    def _by_aisle(self, to_buy: GroceryListRead) -> Iterable[tuple[str, list[ItemSummary]]]:
        """Yield aisles with their items. The list is already sorted by aisle."""
        for aisle, items in groupby(to_buy.items, key=self._aisle):
            yield aisle, list(items)

    def _aisle(self, item: ItemSummary) -> str:
        food = self.week.shopping.foods.get(item.ingredient_id)
        return (food and food.category) or NO_AISLE

    def _in_the_shop(self, item: ItemSummary) -> str:
        """Return how a shopper takes an amount in grams: in pieces, or not worth weighing."""
        if item.quantity is None or item.unit_code != "g":
            return ""
        if item.quantity < A_LITTLE_G:
            return "a little"
        food = self.week.shopping.foods.get(item.ingredient_id)
        weight_g = (food and food.avg_weight_per_unit_g) or 0
        if self._aisle(item) != "produce" or weight_g < LIGHTEST_PIECE_G:
            return ""
        return f"about {ceil(float(item.quantity) / weight_g - SPARE_PIECE)} pcs"

    def _explanation(self) -> None:
        explanation = self.week.shopping.explanation
        bought = [line for line in explanation.lines if line.item_id is not None]
        covered = [line for line in explanation.lines if line.item_id is None]
        self._heading("Why: what is needed, what the pantry has of it, what is left to buy")
        self.console.print(self._reasons(bought, left=True))
        self._heading("Nothing to buy: the pantry covers all of it")
        self.console.print(self._reasons(covered, left=False))
        self._heading("Without a readable amount: check that there is enough")
        self.console.print(_unquantified(explanation.unquantified))

    def _reasons(self, lines: Iterable[ExplainedLine], *, left: bool) -> Table:
        columns = ("Item", "Needed", "In the pantry", *(["To buy"] if left else []))
        table = _table(*columns, lines=True, right="To buy")
        table.expand = True
        for column, ratio in zip(table.columns, COLUMN_RATIOS, strict=False):
            column.ratio = ratio
        pantry = {item.id: item for item in self.week.pantry}
        for line in lines:
            needed = [_need(need, line.unit) for need in line.needed]
            if len(needed) > 1:
                total = sum((need.quantity for need in line.needed), Decimal(0))
                needed.append(f"= {_exact(total, line.unit)} in all")
            lots = [self._lot(part, line.unit, pantry) for part in line.covered]
            cells = [line.ingredient_name, "\n".join(needed), "\n".join(lots)]
            table.add_row(*cells, *([_exact(line.to_buy, line.unit)] if left else []))
        return table

    def _lot(self, part: CoverRead, unit: str, pantry: dict[int, PantryItemRead]) -> str:
        lot = pantry.get(part.pantry_item_id or 0)
        whole = f" of {_stock(lot)}" if lot else ""
        return f"{_exact(part.quantity, unit)}{whole}{self._expiry(part.expires_at)}"

    def _expiry(self, day: date | None) -> str:
        if day is None:
            return ""
        is_near = day - self.week.plan.week_start < DISTANT_EXPIRY
        return f", good to {_day(day) if is_near else format(day, '%b %Y')}"

    def _heading(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold"))
        self.console.print()

    def _paragraph(self, text: str) -> None:
        self.console.print(Text(text))


def _table(*columns: str, lines: bool = False, right: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_lines=lines, pad_edge=False, padding=(0, 1))
    for column in columns:
        table.add_column(column, justify="right" if column == right else "left", overflow="fold")
    return table


def _unquantified(lines: Iterable[Unquantified]) -> Table:
    """Return a table with a row for each text, since "to taste" occurs with many foods."""
    names = defaultdict(list)
    for line in lines:
        names[line.text].append(line.ingredient_name)
    table = _table("Text in the recipe", "Foods")
    for text, foods in names.items():
        table.add_row(text, ", ".join(foods))
    return table


def _slot_cell(slot: SlotRead) -> str:
    dishes = " + ".join(_dish(meal) for meal in slot.meals)
    return f"{dishes} ({slot.servings or 'as written'})"


def _dish(meal: SlotMealRead) -> str:
    return f"{meal.portions} x {meal.name}" if meal.portions else meal.name


def _need(need: NeedRead, unit: str) -> str:
    return f"{need.on:%a} {_exact(need.quantity, unit)}, {need.meal_name}"


def _stock(item: PantryItemRead) -> str:
    return f"{_plain(item.quantity or Decimal(0))} {item.unit or ''} {item.ingredient_name}"


def _list_amount(item: ItemSummary) -> str:
    if item.quantity is None:
        return ""
    unit = LIST_UNITS.get(item.unit_code or "", item.unit_code or "")
    return f"{_plain(item.quantity)} {unit}".rstrip()


def _exact(quantity: Decimal, unit: str) -> str:
    """Return the quantity rounded less than on the list, so that readers can check the sums."""
    if quantity >= LARGER_UNIT_FACTOR and unit in LARGER_UNITS:
        quantity, unit = quantity / LARGER_UNIT_FACTOR, LARGER_UNITS[unit]
    rounded = _plain(quantity.quantize(ROUNDING_STEPS.get(unit, DEFAULT_ROUNDING_STEP)))
    return rounded if unit == "count" else f"{rounded} {unit}"


def _plain(quantity: Decimal) -> str:
    text = f"{quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _day(day: date | None) -> str:
    return f"{day:%a} {day.day} {day:%b}" if day else ""


def _enumerated(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
