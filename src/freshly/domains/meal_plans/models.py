from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Text, and_, or_, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from freshly.chassis.cache.invalidation import CacheTopic, InvalidatesFor
from freshly.chassis.data.base import Created
from freshly.chassis.data.quotas import CountsTowards
from freshly.domains.families.access import Access, Guarded
from freshly.domains.meals.models import Meal

PLANS = CacheTopic("plans")
# A change of any other column leaves the shopping lists as they are.
PLAN_SHOPPING_COLUMNS = ("week_start",)


class MealPlan(Created, Guarded):
    """A week of a family or of a user."""

    __tablename__ = "meal_plans"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    week_start: Mapped[date] = mapped_column()
    family_id: Mapped[int | None] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), index=True, default=None
    )
    title: Mapped[str | None] = mapped_column(Text, default=None)
    week_end: Mapped[date | None] = mapped_column(default=None)
    created_by_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True, default=None
    )

    __cache_tags__ = (InvalidatesFor(PLANS, family="family_id", person="created_by_user_id"),)
    __quotas__ = (CountsTowards("meal_plans", family="family_id", person="created_by_user_id"),)

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        personal = and_(cls.family_id.is_(None), cls.created_by_user_id == access.user_id)
        return or_(personal, cls.family_id.in_(list(access.roles)))

    def shopping(self) -> Sequence[Any]:
        """Return the values that shopping lists depend on, to compare before and after a change."""
        return [getattr(self, name) for name in PLAN_SHOPPING_COLUMNS]


@dataclass(frozen=True)
class PlannedPortions:
    """The values of a slot that shopping lists depend on, for one of its meals."""

    meal_id: int
    portions: int | None
    servings: int | None


class MealSlot(Guarded):
    """A meal time: a day from 0 to 6 after the start, and breakfast, lunch, dinner or snack."""

    __tablename__ = "meal_slots"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    meal_plan_id: Mapped[int] = mapped_column(
        ForeignKey("meal_plans.id", ondelete="CASCADE"), index=True
    )
    day: Mapped[int] = mapped_column()
    slot: Mapped[str] = mapped_column(Text)
    servings: Mapped[int | None] = mapped_column(default=None)
    notes: Mapped[str | None] = mapped_column(Text, default=None)
    meals: Mapped[list["SlotMeal"]] = relationship(
        default_factory=list,
        lazy="raise",
        order_by="SlotMeal.id",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    __quotas__ = (CountsTowards("texts", through="meal_plan_id", bytes_of=("notes",)),)

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return cls.meal_plan_id.in_(select(MealPlan.id).where(MealPlan.visible_to(access)))

    def date_in(self, plan: MealPlan) -> date:
        return plan.week_start + timedelta(days=self.day)


class SlotMeal(Guarded):
    __tablename__ = "meal_slot_meals"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    meal_slot_id: Mapped[int] = mapped_column(
        ForeignKey("meal_slots.id", ondelete="CASCADE"), index=True, init=False
    )
    meal_id: Mapped[int] = mapped_column(ForeignKey("meals.id", ondelete="CASCADE"), index=True)
    portions: Mapped[int | None] = mapped_column(default=None)
    meal: Mapped[Meal] = relationship(init=False, lazy="raise", viewonly=True)

    __quotas__ = (CountsTowards("planned_meals", through="meal_slot_id"),)

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return cls.meal_slot_id.in_(select(MealSlot.id).where(MealSlot.visible_to(access)))
