from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import joinedload, selectinload

from freshly.chassis.columns import now
from freshly.chassis.pages import ListQuery, Slice, paginate
from freshly.domains.families.access import GuardedRepository, OwnedRepository, Owner
from freshly.domains.grocery.errors import ItemNotFound, ListAccessDenied, ListNotFound
from freshly.domains.grocery.models import (
    GroceryList,
    GroceryListItem,
    GroceryNeed,
    GroceryReservation,
)

ITEM_PARTS = (joinedload(GroceryListItem.ingredient), joinedload(GroceryListItem.unit))


class ListRepository(OwnedRepository[GroceryList]):
    model = GroceryList
    not_found = ListNotFound
    forbidden = ListAccessDenied

    def visible(self) -> Select[Any]:
        return super().visible().options(selectinload(GroceryList.items).options(*ITEM_PARTS))

    async def page(self, owner: Owner, status: str | None, query: ListQuery) -> Slice[GroceryList]:
        lists = self.owned_by(owner)
        if status is not None:
            lists = lists.where(GroceryList.status == status)
        return await paginate(self.session, lists, (GroceryList.created_at, GroceryList.id), query)

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
