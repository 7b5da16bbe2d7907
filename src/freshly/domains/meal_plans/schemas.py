from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from freshly.chassis.web.schemas import Id, LongText, ReadSchema, Schema, Title, example

Day = Annotated[int, Field(ge=0, le=6, description="Days from the start of the week.")]
SlotName = Literal["breakfast", "lunch", "dinner", "snack"]
Count = Annotated[int, Field(ge=1, le=1000)]
# A week after the last planned day is still a valid date.
PlannedDay = Annotated[date, Field(ge=date(1900, 1, 1), le=date(9000, 1, 1))]
MOST_MEALS = 20  # at one time of day; stored rows may have more


class MealPlanCreate(Schema):
    model_config = example({"family_id": 1, "week_start": "2030-01-07", "title": "First week"})

    family_id: Id
    title: Title | None = None
    week_start: PlannedDay
    week_end: PlannedDay | None = None


class PersonalMealPlanCreate(Schema):
    """A `family_id` is ignored."""

    model_config = example({"week_start": "2030-01-07"})

    title: Title | None = None
    week_start: PlannedDay
    week_end: PlannedDay | None = None


class MealPlanUpdate(Schema):
    model_config = example({"title": "A lighter week"})

    title: Title | None = None
    week_start: PlannedDay | None = None
    week_end: PlannedDay | None = None


class MealPlanRead(ReadSchema):
    id: int
    family_id: int | None
    title: str | None
    week_start: date
    week_end: date | None
    created_by_user_id: int | None
    created_at: datetime


class PlannedMeal(Schema):
    meal_id: Id
    portions: Count | None = None


class SlotWrite(Schema):
    model_config = example({"servings": 4, "meals": [{"meal_id": 1}]})

    servings: Annotated[Count | None, Field(description="Number of people who eat.")] = None
    notes: LongText | None = None
    meals: Annotated[list[PlannedMeal], Field(max_length=MOST_MEALS)]


class SlotMealRead(BaseModel):
    meal_id: int
    name: str
    portions: int | None


class SlotRead(BaseModel):
    day: int
    slot: str
    servings: int | None
    notes: str | None
    meals: list[SlotMealRead]
