from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from freshly.chassis.web.schemas import QuantityOut, ReadSchema
from freshly.settings.types import TimeZone


class QuotaRead(BaseModel):
    quota: str
    used: int
    limit: Annotated[int | None, Field(description="Null if there is no limit.")]
    unit: Literal["rows", "bytes"]


class FamilyUsageRead(BaseModel):
    family_id: int
    quotas: list[QuotaRead]


class StorageUsageRead(BaseModel):
    """The amounts that the user and each of their families store, beside the quotas."""

    person: list[QuotaRead]
    families: list[FamilyUsageRead]


class SavedRead(ReadSchema):
    unit: str
    quantity: QuantityOut
    times: int


class CountsRead(BaseModel):
    meals: Annotated[int, Field(description="Meals that I keep.")]
    meal_plans: Annotated[int, Field(description="Plans that I created and may still see.")]
    grocery_lists: Annotated[int, Field(description="Lists that I created and may still see.")]
    items_bought: Annotated[
        int, Field(description="Lines of these lists that are ticked off or bought.")
    ]
    food_saved: Annotated[
        list[SavedRead],
        Field(description="What these lists took from the pantry, and so not from the shop."),
    ]


class StreakRead(BaseModel):
    """Days in a row with a planned meal, on plans that I may see, within two years."""

    current_days: Annotated[int, Field(description="Up to today, or to yesterday.")]
    longest_days: int


class StorageRead(BaseModel):
    """Bytes that count towards my quotas."""

    texts: int
    pictures: int


class StatsRead(CountsRead):
    streak: StreakRead
    storage: StorageRead


class StatsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    timezone: Annotated[
        TimeZone | None,
        Field(max_length=64, description="Decides which day is today, such as Europe/Berlin."),
    ] = None
