from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, false, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from freshly.chassis.cache.invalidation import CacheTopic, InvalidatesFor
from freshly.chassis.data.base import Created, Updated
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Quantity
from freshly.domains.families.access import Access, Guarded, Owned, covers, exactly_one_owner
from freshly.domains.ingredients.models import BASE_FOOD, Ingredient, UnitRow

GROCERY = CacheTopic("grocery")


class ListStatus(StrEnum):
    DRAFT = "draft"
    FINALIZED = "finalized"
    PURCHASED = "purchased"


class GroceryList(Owned, Created, Updated, Guarded):
    __tablename__ = "grocery_lists"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    created_by_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True, default=None
    )
    meal_plan_id: Mapped[int | None] = mapped_column(
        ForeignKey("meal_plans.id", ondelete="SET NULL"), index=True, default=None
    )
    title: Mapped[str | None] = mapped_column(Text, default=None)
    status: Mapped[str] = mapped_column(Text, server_default="draft", default=ListStatus.DRAFT)
    items: Mapped[list["GroceryListItem"]] = relationship(
        init=False, lazy="raise", order_by="GroceryListItem.id", passive_deletes="all"
    )

    __cache_tags__ = (InvalidatesFor(GROCERY, family="family_id", person="owner_user_id"),)
    __quotas__ = (CountsTowards("grocery_lists", family="family_id", person="owner_user_id"),)
    __table_args__: Any = (
        exactly_one_owner("grocery_list_scope_xor"),
        Index("idx_grocery_list_family_status", "family_id", "status"),
        Index("idx_grocery_list_owner_status", "owner_user_id", "status"),
    )

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return covers(access, cls.family_id, cls.owner_user_id)


class ListChild(Guarded):
    """Base of rows that belong to a list. Users who see the list see them."""

    __abstract__ = True

    grocery_list_id: Mapped[int] = mapped_column(
        ForeignKey("grocery_lists.id", ondelete="CASCADE"), index=True
    )

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        lists = select(GroceryList.id).where(GroceryList.visible_to(access))
        return cls.grocery_list_id.in_(lists)

    @classmethod
    def is_of_closed_family(cls) -> ColumnElement[bool]:
        lists = select(GroceryList.id).where(GroceryList.is_of_closed_family())
        return cls.grocery_list_id.in_(lists)


class GroceryListItem(ListChild):
    """A line of a list.

    `quantity`, `unit_id` and the canonical columns hold the amount to buy. `needed_quantity` and
    `needed_unit` hold the amount needed in all, from which the amount to buy is computed again.
    """

    __tablename__ = "grocery_list_items"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    ingredient_id: Mapped[int] = mapped_column(ForeignKey("ingredients.id"))
    quantity: Mapped[Decimal | None] = mapped_column(Quantity(), default=None)
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"), default=None)
    checked: Mapped[bool] = mapped_column(server_default=false(), default=False)
    note: Mapped[str | None] = mapped_column(Text, default=None)
    canonical_quantity_needed: Mapped[Decimal | None] = mapped_column(Quantity(), default=None)
    canonical_unit: Mapped[str | None] = mapped_column(String(16), default=None)
    is_purchased: Mapped[bool] = mapped_column(server_default=false(), default=False)
    is_manual: Mapped[bool] = mapped_column(server_default=false(), default=False)
    source_meal_plan_id: Mapped[int | None] = mapped_column(
        ForeignKey("meal_plans.id", ondelete="SET NULL"), index=True, default=None
    )
    needed_quantity: Mapped[Decimal | None] = mapped_column(Quantity(), default=None)
    needed_unit: Mapped[str | None] = mapped_column(String(64), default=None)
    ingredient: Mapped[Ingredient] = relationship(init=False, lazy="raise", viewonly=True)
    unit: Mapped[UnitRow | None] = relationship(init=False, lazy="raise", viewonly=True)

    __cache_tags__ = (InvalidatesFor(through="grocery_list_id"),)
    __quotas__ = (
        CountsTowards("grocery_items", through="grocery_list_id"),
        CountsTowards("texts", through="grocery_list_id", bytes_of=("note",)),
    )

    @property
    def ingredient_name(self) -> str:
        return self.ingredient.name

    @property
    def unit_code(self) -> str | None:
        return self.unit.code if self.unit else None


class GroceryNeed(ListChild):
    """The reason for a line: the amount of an ingredient that a planned meal needs on a day."""

    __tablename__ = "grocery_needs"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    ingredient_id: Mapped[int] = mapped_column(
        ForeignKey("ingredients.id"), index=True, info=BASE_FOOD
    )
    meal_id: Mapped[int | None] = mapped_column(
        ForeignKey("meals.id", ondelete="SET NULL"), index=True
    )
    meal_name: Mapped[str] = mapped_column(Text)
    needed_on: Mapped[date] = mapped_column()
    # Null if the amount in `text` could not be read.
    quantity: Mapped[Decimal | None] = mapped_column(Quantity(), default=None)
    unit: Mapped[str | None] = mapped_column(String(64), default=None)
    text: Mapped[str | None] = mapped_column(Text, default=None)


class GroceryReservation(ListChild):
    """The amount of a pantry item that the list reserved when it was computed."""

    __tablename__ = "grocery_reservations"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    ingredient_id: Mapped[int] = mapped_column(
        ForeignKey("ingredients.id"), index=True, info=BASE_FOOD
    )
    pantry_item_id: Mapped[int | None] = mapped_column(
        ForeignKey("pantry_items.id", ondelete="SET NULL"), index=True
    )
    quantity: Mapped[Decimal] = mapped_column(Quantity())
    unit: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[date | None] = mapped_column(default=None)

    __cache_tags__ = (InvalidatesFor(through="grocery_list_id"),)
