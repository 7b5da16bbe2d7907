from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import ScalarSelect, Select, delete, select
from sqlalchemy.orm import joinedload, selectinload

from freshly.chassis.columns import now
from freshly.chassis.pages import ListQuery, Slice, paginate
from freshly.domains.families.access import GuardedRepository, OwnedRepository, Owner
from freshly.domains.families.models import Membership, Role
from freshly.domains.grocery.errors import ItemNotFound, ListAccessDenied, ListNotFound
from freshly.domains.grocery.models import (
    GroceryList,
    GroceryListItem,
    GroceryNeed,
    GroceryReservation,
)
from freshly.domains.ingredients.models import Ingredient, UnitRow

ITEM_COLUMNS = (
    GroceryListItem.id.label("item_id"),
    GroceryListItem.ingredient_id,
    Ingredient.name.label("ingredient_name"),
    GroceryListItem.quantity,
    UnitRow.code.label("unit_code"),
    *(GroceryListItem.checked, GroceryListItem.note),
    *(GroceryListItem.is_purchased, GroceryListItem.is_manual),
    *(GroceryListItem.canonical_quantity_needed, GroceryListItem.canonical_unit),
)


def _lowest_owner() -> ScalarSelect[int]:
    """Of the list's family: the owner with the lowest membership id."""
    return (
        select(Membership.user_id)
        .where(Membership.family_id == GroceryList.family_id, Membership.role == Role.OWNER)
        .order_by(Membership.id)
        .limit(1)
        .scalar_subquery()
    )


def _with_items(lists: Select[Any]) -> Select[Any]:
    """One statement for the lists of a page and all that is on them."""
    page = lists.subquery()
    return (
        select(*page.c, *ITEM_COLUMNS)
        .outerjoin(GroceryListItem, GroceryListItem.grocery_list_id == page.c.id)
        .outerjoin(Ingredient, Ingredient.id == GroceryListItem.ingredient_id)
        .outerjoin(UnitRow, UnitRow.id == GroceryListItem.unit_id)
        .order_by(page.c.created_at, page.c.id, GroceryListItem.id)
    )


ITEM_PARTS = (joinedload(GroceryListItem.ingredient), joinedload(GroceryListItem.unit))


class ListRepository(OwnedRepository[GroceryList]):
    model = GroceryList
    not_found = ListNotFound
    forbidden = ListAccessDenied

    def visible(self) -> Select[Any]:
        return super().visible().options(selectinload(GroceryList.items).options(*ITEM_PARTS))

    async def page(self, owner: Owner, status: str | None, query: ListQuery) -> Slice[Any]:
        """Rows of lists, each with the user id of the family's owner and the rows of its items."""
        lists = select(*GroceryList.__table__.columns, _lowest_owner().label("family_owner")).where(
            self.is_owned_by(owner)
        )
        if status is not None:
            lists = lists.where(GroceryList.status == status)
        keys = (GroceryList.created_at, GroceryList.id)
        found = await paginate(self.session, lists, keys, query, columns=True, within=_with_items)
        grouped = groupby(found.items, key=attrgetter("id"))
        return Slice([(rows[0], rows) for _, (*rows,) in grouped], found.next_cursor)

    async def refreshed(self, id: int) -> GroceryList:
        """As it is now in the database, items included."""
        found: GroceryList | None = await self.session.scalar(
            self.visible().where(GroceryList.id == id).execution_options(populate_existing=True)
        )
        if found is None:
            raise ListNotFound
        return found

    async def of_plan(self, plan_id: int, owner: Owner) -> GroceryList | None:
        found: GroceryList | None = await self.session.scalar(
            self.owned_by(owner)
            .where(GroceryList.meal_plan_id == plan_id)
            .order_by(GroceryList.id)
            .limit(1)
            .execution_options(populate_existing=True)
        )
        return found

    async def touch(self, grocery_list: GroceryList) -> None:
        grocery_list.updated_at = (await self.session.execute(select(now()))).scalar_one()
        await self.session.flush()


class ItemRepository(GuardedRepository[GroceryListItem]):
    model = GroceryListItem
    not_found = ItemNotFound
    forbidden = ListAccessDenied

    def visible(self) -> Select[Any]:
        return super().visible().options(*ITEM_PARTS)

    async def refreshed(self, id: int) -> GroceryListItem:
        found: GroceryListItem | None = await self.session.scalar(
            self.visible().where(GroceryListItem.id == id).execution_options(populate_existing=True)
        )
        if found is None:
            raise ItemNotFound
        return found

    async def list_of(self, id: int) -> int | None:
        """Which list an item is on, so that the list can be locked before the item is read."""
        return await self.session.scalar(
            self.visible()
            .with_only_columns(GroceryListItem.grocery_list_id)
            .where(GroceryListItem.id == id)
        )

    async def add_all(self, items: Iterable[GroceryListItem]) -> None:
        self.session.add_all(items)
        await self.session.flush()

    async def remove(self, items: Iterable[GroceryListItem]) -> int:
        gone = [item.id for item in items]
        await self.session.execute(delete(GroceryListItem).where(GroceryListItem.id.in_(gone)))
        return len(gone)

    async def remove_checked(self, grocery_list: GroceryList) -> int:
        gone = await self.session.scalars(
            delete(GroceryListItem)
            .where(
                GroceryListItem.grocery_list_id == grocery_list.id,
                GroceryListItem.checked.is_(True),
            )
            .returning(GroceryListItem.id)
        )
        return len(gone.all())


class ReasonRepository(GuardedRepository[GroceryNeed]):
    """Why a list is as it is: what is needed, and what of the pantry was counted on."""

    model = GroceryNeed
    not_found = ListNotFound

    async def needs(self, grocery_list: GroceryList) -> Sequence[GroceryNeed]:
        found = await self.session.scalars(
            self.visible()
            .where(GroceryNeed.grocery_list_id == grocery_list.id)
            .order_by(GroceryNeed.needed_on, GroceryNeed.id)
        )
        return found.all()

    async def reservations(self, grocery_list: GroceryList) -> Sequence[GroceryReservation]:
        found = await self.session.scalars(
            select(GroceryReservation)
            .where(
                GroceryReservation.grocery_list_id == grocery_list.id,
                GroceryReservation.visible_to(self.access),
            )
            .order_by(GroceryReservation.id)
        )
        return found.all()

    async def replace_needs(self, grocery_list: GroceryList, needs: Iterable[GroceryNeed]) -> None:
        await self.session.execute(
            delete(GroceryNeed).where(GroceryNeed.grocery_list_id == grocery_list.id)
        )
        self.session.add_all(needs)
        await self.session.flush()

    async def replace_reservations(
        self, grocery_list: GroceryList, reservations: Iterable[GroceryReservation]
    ) -> None:
        await self.session.execute(
            delete(GroceryReservation).where(GroceryReservation.grocery_list_id == grocery_list.id)
        )
        self.session.add_all(reservations)
        await self.session.flush()
