"""What was made, as tables that read the same on a screen and in a file."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from freshly.commands.demo.household import DAYS
from freshly.commands.demo.making import PlannedWeek
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
ELSEWHERE = "elsewhere"  # foods that the catalogue knows no aisle of
LARGER = {"g": "kg", "ml": "l"}
ONE_KILO = 1000
STEPS = {"g": Decimal("0.1"), "ml": Decimal("0.1"), "kg": Decimal("0.001"), "l": Decimal("0.001")}
STEP = Decimal("0.01")
SHARES = (3, 7, 6, 2)  # of the width, for the columns of the explanation
FAR_OFF = timedelta(days=60)


@dataclass
class Teller:
    console: Console
    week: PlannedWeek

    def tell(self, *, sign_in: bool) -> None:
        self._household(sign_in=sign_in)
        self._plan()
        self._list()
        self._explanation()

    def _household(self, *, sign_in: bool) -> None:
        week, monday = self.week, self.week.plan.week_start
        names = [member.user.name or member.user.email for member in week.members]
        self._heading(week.family.display_name)
        self._say(
            f"{_enumerated(names)}: {week.family.count} people, {len(week.pantry)} things in the "
            f"pantry, {week.meals} meals that they cook, {len(week.slots)} meal times planned."
        )
        if gone := [item for item in week.pantry if item.expires_at and item.expires_at < monday]:
            told = [f"{_stock(item)} ({_day(item.expires_at)})" for item in gone]
            self._say(f"Past their date, so counted for nothing: {_enumerated(told)}.")
        if sign_in:
            founder = week.members[0]
            self._say(f"To look around, sign in as {founder.user.email}, {founder.password}")

    def _plan(self) -> None:
        plan = self.week.plan
        last = plan.week_end or plan.week_start
        self._heading(f"{plan.title}: {_day(plan.week_start)} to {_day(last)}")
        table = _table("Day", *(slot.title() for slot in SLOTS), lines=True)
        planned = {(slot.day, slot.slot): slot for slot in self.week.slots}
        for number in range(len(DAYS)):
            slots = [planned.get((number, name)) for name in SLOTS]
            day = _day(plan.week_start + timedelta(days=number))
            table.add_row(day, *(_eaten(slot) if slot else "" for slot in slots))
        self.console.print(table)
        self._say('In brackets for how many; "as written" is what the recipe makes.')

    def _list(self) -> None:
        shopping = self.week.shopping
        self._heading(f"To buy: {len(shopping.to_buy.items)} things")
        table = _table("Aisle", "Item", "Amount", "Note", right="Amount")
        for aisle, items in self._by_aisle(shopping.to_buy):
            for number, item in enumerate(items):
                shown = _amount_as_shown(item)
                table.add_row("" if number else aisle, item.ingredient_name, shown, item.note)
            table.add_section()
        self.console.print(table)

    def _by_aisle(self, to_buy: GroceryListRead) -> Iterable[tuple[str, list[ItemSummary]]]:
        """In the list's own order, which is that of the aisles."""
        aisles = self.week.shopping.aisles
        for aisle, items in groupby(
            to_buy.items, key=lambda item: aisles.get(item.ingredient_id) or ELSEWHERE
        ):
            yield aisle, list(items)

    def _explanation(self) -> None:
        explanation = self.week.shopping.explanation
        bought = [line for line in explanation.lines if line.item_id is not None]
        covered = [line for line in explanation.lines if line.item_id is None]
        self._heading("Why: what is needed, what the pantry has of it, what is left to buy")
        self.console.print(self._reasons(bought, left=True))
        self._heading("Nothing to buy: the pantry covers all of it")
        self.console.print(self._reasons(covered, left=False))
        self._heading("Without an amount that could be read: look whether there is enough")
        self.console.print(_unquantified(explanation.unquantified))

    def _reasons(self, lines: Iterable[ExplainedLine], *, left: bool) -> Table:
        columns = ("Item", "Needed", "In the pantry", *(["To buy"] if left else []))
        table = _table(*columns, lines=True, right="To buy")
        table.expand = True
        for column, share in zip(table.columns, SHARES, strict=False):
            column.ratio = share
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
        return f"{_exact(part.quantity, unit)}{whole}{self._good_to(part.expires_at)}"

    def _good_to(self, day: date | None) -> str:
        if day is None:
            return ""
        is_near = day - self.week.plan.week_start < FAR_OFF
        return f", good to {_day(day) if is_near else format(day, '%b %Y')}"

    def _heading(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold"))
        self.console.print()

    def _say(self, text: str) -> None:
        self.console.print(Text(text))


def _table(*columns: str, lines: bool = False, right: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_lines=lines, pad_edge=False, padding=(0, 1))
    for column in columns:
        table.add_column(column, justify="right" if column == right else "left", overflow="fold")
    return table


def _unquantified(found: Iterable[Unquantified]) -> Table:
    """One row for each text, for "to taste" comes with every salt and pepper."""
    names = defaultdict(list)
    for one in found:
        names[one.text].append(one.ingredient_name)
    table = _table("The recipes say", "of")
    for text, foods in names.items():
        table.add_row(text, ", ".join(foods))
    return table


def _eaten(slot: SlotRead) -> str:
    dishes = " + ".join(_dish(meal) for meal in slot.meals)
    return f"{dishes} ({slot.servings or 'as written'})"


def _dish(meal: SlotMealRead) -> str:
    return f"{meal.portions} x {meal.name}" if meal.portions else meal.name


def _need(need: NeedRead, unit: str) -> str:
    return f"{need.on:%a} {_exact(need.quantity, unit)}, {need.meal_name}"


def _stock(item: PantryItemRead) -> str:
    return f"{_plain(item.quantity or Decimal(0))} {item.unit or ''} {item.ingredient_name}"


def _amount_as_shown(item: ItemSummary) -> str:
    if item.quantity is None:
        return ""
    return f"{_plain(item.quantity)} {item.unit_code or ''}".rstrip()


def _exact(quantity: Decimal, unit: str) -> str:
    """Rounded less than on the list, so that the sums can be followed."""
    if quantity >= ONE_KILO and unit in LARGER:
        quantity, unit = quantity / ONE_KILO, LARGER[unit]
    rounded = _plain(quantity.quantize(STEPS.get(unit, STEP)))
    return rounded if unit == "count" else f"{rounded} {unit}"


def _plain(quantity: Decimal) -> str:
    text = f"{quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _day(day: date | None) -> str:
    return f"{day:%a} {day.day} {day:%b}" if day else ""


def _enumerated(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
