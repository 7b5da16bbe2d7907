from typing import Any

from sqlalchemy import Float, ForeignKey, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Base, Created, Updated
from freshly.chassis.data.functions import empty_list
from freshly.chassis.data.types import IntList, TextList


def _amount() -> Any:
    return mapped_column(Float(53), default=None)


class UserPreference(Created, Updated, Base):
    __tablename__ = "user_preferences"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), unique=True, index=True
    )
    age: Mapped[int | None] = mapped_column(default=None)
    gender: Mapped[str | None] = mapped_column(Text, default=None)
    height_cm: Mapped[float | None] = _amount()
    weight_kg: Mapped[float | None] = _amount()
    diet_codes: Mapped[list[str]] = mapped_column(
        TextList(), server_default=empty_list(), default_factory=list
    )
    diet_type: Mapped[str | None] = mapped_column(Text, default=None)
    allergen_ingredient_ids: Mapped[list[int]] = mapped_column(
        IntList(), server_default=empty_list(), default_factory=list
    )
    food_allergies: Mapped[list[str]] = mapped_column(
        TextList(), server_default=empty_list(), default_factory=list
    )
    disliked_ingredient_ids: Mapped[list[int]] = mapped_column(
        IntList(), server_default=empty_list(), default_factory=list
    )
    goal: Mapped[str] = mapped_column(Text, server_default="balanced", default="balanced")
    is_athlete: Mapped[bool] = mapped_column(server_default=false(), default=False)
    training_level: Mapped[str | None] = mapped_column(Text, default=None)
    calorie_target: Mapped[int] = mapped_column(server_default=text("2000"), default=2000)
    protein_grams: Mapped[float | None] = _amount()
    carb_grams: Mapped[float | None] = _amount()
    fat_grams: Mapped[float | None] = _amount()
    protein_calories: Mapped[float | None] = _amount()
    carb_calories: Mapped[float | None] = _amount()
    fat_calories: Mapped[float | None] = _amount()
    calorie_min: Mapped[int | None] = mapped_column(default=None)
    calorie_max: Mapped[int | None] = mapped_column(default=None)

    def ingredient_ids(self) -> frozenset[int]:
        """Return the ids of the ingredients that the user avoids or dislikes."""
        return frozenset((*self.allergen_ingredient_ids, *self.disliked_ingredient_ids))
