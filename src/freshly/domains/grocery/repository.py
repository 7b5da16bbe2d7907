from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, bindparam, case, delete, func, select
from sqlalchemy.orm import joinedload, selectinload

from freshly.chassis.data.functions import json_size, now
from freshly.chassis.data.inserts import add_in_turns
from freshly.chassis.data.page_bytes import row_bytes
from freshly.chassis.data.pagination import KeysetQuery, ListQuery, PageRows, as_text
from freshly.chassis.data.queries import Columns, struct_for
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.domains.families.access import GuardedRepository, OwnedRepository, Owner
from freshly.domains.families.models import Membership, Role
from freshly.domains.grocery.errors import ItemNotFound, ListAccessDenied, ListNotFound
from freshly.domains.grocery.models import (
    GroceryList,
    GroceryListItem,
    GroceryNeed,
    GroceryReservation,
)
from freshly.domains.grocery.schemas import GroceryListRead, ItemSummary
from freshly.domains.ingredients.models import Ingredient, UnitRow

# Names, numbers and dates of a list, and of a line, in a response.
LIST_FRAME_BYTES, ITEM_FRAME_BYTES = 400, 400
lists, items = GroceryList.__table__.c, GroceryListItem.__table__.c
memberships = Membership.__table__.c
ITEM_COLUMNS = (
    items.id.label("item_id"),
    items.ingredient_id,
    Ingredient.__table__.c.name.label("ingredient_name"),
    as_text(items.quantity),
    UnitRow.__table__.c.code.label("unit_code"),
    *(items.checked, items.note, items.is_purchased, items.is_manual),
    *(as_text(items.canonical_quantity_needed), items.canonical_unit),
)
# The family's owner with the lowest membership id.
LOWEST_OWNER = (
    select(memberships.user_id)
    .where(memberships.family_id == lists.family_id, memberships.role == Role.OWNER)
    .order_by(memberships.id)
    .limit(1)
    .scalar_subquery()
)
OWNER = case(
    (lists.family_id.is_(None), lists.owner_user_id),
    (lists.created_by_user_id == bindparam("reader"), lists.created_by_user_id),
    else_=LOWEST_OWNER,
).label("owner_user_id")
SCOPE = case((lists.family_id.is_(None), "personal"), else_="family").label("scope")
LIST_STRUCT, ITEM_STRUCT = struct_for(GroceryListRead), struct_for(ItemSummary)
LIST_FIELDS = LIST_STRUCT.__struct_fields__[:-1]  # all but the items
ITEM_FIELDS = ("item_id", *ITEM_STRUCT.__struct_fields__[1:])
LIST_COLUMNS = {column.key: column for column in (*lists, OWNER, SCOPE)}


def _with_items(page: Select[Any]) -> Select[Any]:
    """Return a statement for the lists of a page and their items: a row for each item."""
    page_lists = page.subquery()
    return (
        select(*page_lists.c, *ITEM_COLUMNS)
        .outerjoin_from(
            page_lists, GroceryListItem.__table__, items.grocery_list_id == page_lists.c.id
        )
        .outerjoin(Ingredient.__table__, Ingredient.__table__.c.id == items.ingredient_id)
        .outerjoin(UnitRow.__table__, UnitRow.__table__.c.id == items.unit_id)
        .order_by(page_lists.c.created_at, page_lists.c.id, items.id)
    )


ITEMS_BYTES = (
    select(
        func.coalesce(
            func.sum(row_bytes(ITEM_FRAME_BYTES, items.note, Ingredient.__table__.c.name)), 0
        )
    )
    .outerjoin_from(
        GroceryListItem.__table__, Ingredient.__table__, Ingredient.id == items.ingredient_id
    )
    .where(items.grocery_list_id == lists.id)
    .scalar_subquery()
)


def _lists(*where: ColumnElement[bool]) -> KeysetQuery:
    return KeysetQuery(
        select(*(LIST_COLUMNS[name] for name in LIST_FIELDS)).where(*where),
        *(lists.created_at, lists.id),
        with_children=_with_items,
        size=row_bytes(LIST_FRAME_BYTES, lists.title) + ITEMS_BYTES,
    )


OF_FAMILY = lists.family_id == bindparam("owner")
OF_USER = lists.owner_user_id == bindparam("owner")
OF_STATUS = lists.status == bindparam("status")
FAMILY_LISTS, FAMILY_LISTS_BY_STATUS = _lists(OF_FAMILY), _lists(OF_FAMILY, OF_STATUS)
PERSONAL_LISTS, PERSONAL_LISTS_BY_STATUS = _lists(OF_USER), _lists(OF_USER, OF_STATUS)


@dataclass
class GroceryListReader:
    """Reads pages of lists as structs with the fields of GroceryListRead.

    `owner_user_id` of a family's list depends on the user who reads it (`reader`).
    """

    db: CurrentDatabase

    async def page(
        self, owner: Owner, reader: int | None, status: str | None, query: ListQuery
    ) -> PageRows[Any]:
        if owner.family_id is None:
            query_lists = PERSONAL_LISTS if status is None else PERSONAL_LISTS_BY_STATUS
        else:
            query_lists = FAMILY_LISTS if status is None else FAMILY_LISTS_BY_STATUS
        params = {} if status is None else {"status": status}
        rows, next_cursor = await query_lists.page(
            self.db, query, owner=owner.id, reader=reader, **params
        )
        return PageRows(_grouped_by_list(rows), next_cursor)


def _grouped_by_list(rows: Columns) -> list[Struct]:
    """Group rows, which hold one item each, into lists with their items."""
    columns = rows.columns
    list_columns = [columns[name] for name in LIST_FIELDS]
    item_structs = list(map(ITEM_STRUCT, *[columns[name] for name in ITEM_FIELDS]))
    ids = pairwise((None, *columns["id"]))
    starts = [row for row, (previous_id, list_id) in enumerate(ids) if previous_id != list_id]
    return [
        LIST_STRUCT(
            *[column[start] for column in list_columns],
            item_structs[start:end] if columns["item_id"][start] is not None else [],
        )
        for start, end in pairwise((*starts, len(rows)))
    ]


REBUILT_COLUMNS = (
    *("quantity", "unit_id", "canonical_quantity_needed", "note"),
    *("needed_quantity", "needed_unit"),
)
ITEM_RELATIONSHIPS = (joinedload(GroceryListItem.ingredient), joinedload(GroceryListItem.unit))


class ListRepository(OwnedRepository[GroceryList]):
    model = GroceryList
    not_found = ListNotFound
    forbidden = ListAccessDenied

    def visible(self) -> Select[Any]:
        return (
            super().visible().options(selectinload(GroceryList.items).options(*ITEM_RELATIONSHIPS))
        )

    async def locked_with(self, item_id: int) -> GroceryList | None:
        """Lock and return the list of an item, without its items. Return None if not visible.

        All changes of items take this lock.
        """
        list_id = select(GroceryListItem.grocery_list_id).where(GroceryListItem.id == item_id)
        row: GroceryList | None = await self.session.scalar(
            super()
            .visible()
            .where(GroceryList.id == list_id.scalar_subquery())
            .with_for_update(of=GroceryList)
            .execution_options(populate_existing=True)
        )
        return row

    async def refreshed(self, id: int) -> GroceryList:
        """Read the list and its items again from the database."""
        row: GroceryList | None = await self.session.scalar(
            self.visible().where(GroceryList.id == id).execution_options(populate_existing=True)
        )
        if row is None:
            raise ListNotFound
        return row

    async def of_plan(self, plan_id: int, owner: Owner) -> GroceryList | None:
        """Return the owner's oldest list for a meal plan."""
        row: GroceryList | None = await self.session.scalar(
            self.owned_by(owner)
            .where(GroceryList.meal_plan_id == plan_id)
            .order_by(GroceryList.id)
            .limit(1)
            .execution_options(populate_existing=True)
        )
        return row

    async def touch(self, grocery_list: GroceryList) -> None:
        grocery_list.updated_at = (await self.session.execute(select(now()))).scalar_one()
        await self.session.flush()


def _line_key(item: GroceryListItem) -> tuple[int, str | None]:
    return item.ingredient_id, item.canonical_unit


class ItemRepository(GuardedRepository[GroceryListItem]):
    model = GroceryListItem
    not_found = ItemNotFound
    forbidden = ListAccessDenied

    def visible(self) -> Select[Any]:
        return super().visible().options(*ITEM_RELATIONSHIPS)

    async def refreshed(self, id: int) -> GroceryListItem:
        row: GroceryListItem | None = await self.session.scalar(
            self.visible().where(GroceryListItem.id == id).execution_options(populate_existing=True)
        )
        if row is None:
            raise ItemNotFound
        return row

    async def size_of(self, grocery_list: GroceryList) -> tuple[int, int]:
        """Return the number of lines of a list, and the bytes of their notes in a response."""
        notes = func.coalesce(func.sum(json_size(GroceryListItem.note)), 0)
        row = await self.session.execute(
            select(func.count(), notes).where(GroceryListItem.grocery_list_id == grocery_list.id)
        )
        lines, size = row.one()
        return lines, size

    async def add_all(self, items: Iterable[GroceryListItem]) -> None:
        await add_in_turns(self.session, list(items))

    async def replace(
        self, old_items: Sequence[GroceryListItem], new_items: Iterable[GroceryListItem]
    ) -> bool:
        """Replace the old items by the new ones. Return True if any row changed.

        A line of the same food and unit keeps its row, because a client in the shop may hold its
        id. It stays checked unless more of it is needed now.
        """
        unmatched = {item.id: item for item in old_items}
        ids_by_key = {_line_key(item): item.id for item in old_items}
        added, changed = [], False
        for new in new_items:
            old = unmatched.pop(ids_by_key.get(_line_key(new), 0), None)
            if old is None:
                added.append(new)
                continue
            more_needed = (new.canonical_quantity_needed or 0) > (
                old.canonical_quantity_needed or 0
            )
            old.checked = old.checked and not more_needed
            for column in REBUILT_COLUMNS:
                setattr(old, column, getattr(new, column))
            changed = changed or self.session.is_modified(old)
        await self.remove(unmatched.values())
        await self.add_all(added)
        return bool(unmatched or added or changed)

    async def remove(self, items: Iterable[GroceryListItem]) -> int:
        ids = [item.id for item in items]
        await self.session.execute(delete(GroceryListItem).where(GroceryListItem.id.in_(ids)))
        return len(ids)

    async def remove_checked(self, grocery_list: GroceryList) -> int:
        deleted = await self.session.scalars(
            delete(GroceryListItem)
            .where(
                GroceryListItem.grocery_list_id == grocery_list.id,
                GroceryListItem.checked.is_(True),
            )
            .returning(GroceryListItem.id)
        )
        return len(deleted.all())


class ReasonRepository(GuardedRepository[GroceryNeed]):
    """The reasons for the lines of a list: needs, and reservations of pantry items."""

    model = GroceryNeed
    not_found = ListNotFound

    async def needs(self, grocery_list: GroceryList) -> Sequence[GroceryNeed]:
        rows = await self.session.scalars(
            self.visible()
            .where(GroceryNeed.grocery_list_id == grocery_list.id)
            .order_by(GroceryNeed.needed_on, GroceryNeed.id)
        )
        return rows.all()

    async def reservations(self, grocery_list: GroceryList) -> Sequence[GroceryReservation]:
        rows = await self.session.scalars(
            select(GroceryReservation)
            .where(
                GroceryReservation.grocery_list_id == grocery_list.id,
                GroceryReservation.visible_to(self.access),
            )
            .order_by(GroceryReservation.id)
        )
        return rows.all()

    async def replace_needs(self, grocery_list: GroceryList, needs: Iterable[GroceryNeed]) -> None:
        await self.session.execute(
            delete(GroceryNeed).where(GroceryNeed.grocery_list_id == grocery_list.id)
        )
        await add_in_turns(self.session, list(needs))

    async def replace_reservations(
        self, grocery_list: GroceryList, reservations: Iterable[GroceryReservation]
    ) -> None:
        await self.session.execute(
            delete(GroceryReservation).where(GroceryReservation.grocery_list_id == grocery_list.id)
        )
        await add_in_turns(self.session, list(reservations))
