"""The household of the demo, read from `household.toml` and `meals.toml`."""

import tomllib
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from freshly.domains.meal_plans.schemas import SlotName

Weekday = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS: tuple[Weekday, ...] = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)  # fmt: skip


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stock(_Data):
    name: str
    quantity: Decimal
    unit: str
    expires: int | None = None  # in days after the Monday of the planned week

    def expires_on(self, monday: date) -> date | None:
        return None if self.expires is None else monday + timedelta(days=self.expires)


class PlannedSlot(_Data):
    day: Weekday
    slot: SlotName
    servings: int | None = None
    meals: list[str]
    portions: Mapping[str, int] = Field(default_factory=dict)

    @property
    def day_number(self) -> int:
        return DAYS.index(self.day)


class Dish(_Data):
    """A meal of the household. Its fields have the names of the API."""

    name: str
    meal_type: str
    cuisine: str
    difficulty: str
    servings: int
    prep_time: int
    cook_time: int
    calories: int
    macros: Mapping[str, int]
    tags: list[str]
    diet_compatibility: list[str]
    goal_fit: list[str]
    cooking_tools: list[str]
    instructions: list[str]
    ingredients: Mapping[str, str]  # amounts by name

    def request_body(self, family_id: int) -> dict[str, object]:
        return {
            **self.model_dump(),
            "ingredients": [
                {"name": name, "amount": amount} for name, amount in self.ingredients.items()
            ],
            "total_time": self.prep_time + self.cook_time,
            "image": "",
            "family_id": family_id,
        }


class Household(_Data):
    family: str
    plan: str
    people: list[str]
    pantry: list[Stock]
    week: list[PlannedSlot]
    meals: list[Dish]

    @model_validator(mode="after")
    def _check_that_planned_meals_exist(self) -> Self:
        names = {dish.name for dish in self.meals}
        for slot in self.week:
            if unknown := (set(slot.meals) - names) | (set(slot.portions) - set(slot.meals)):
                raise ValueError(f"{slot.day} {slot.slot}: no meal named {sorted(unknown)}")
        return self


def read_household() -> Household:
    """Return the household of the two data files."""
    return Household.model_validate({**_read("household.toml"), **_read("meals.toml")})


def _read(name: str) -> dict[str, Any]:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return tomllib.loads(text, parse_float=Decimal)


def next_monday(today: date) -> date:
    """Return the first Monday after today, so that the whole week is in the future."""
    return today + timedelta(days=7 - today.weekday())
