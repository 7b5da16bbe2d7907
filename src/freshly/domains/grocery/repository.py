from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, and_, bindparam, case, delete, func, or_, select
from sqlalchemy.orm import joinedload, selectinload

from freshly.chassis.data.functions import now
from freshly.chassis.data.pagination import KeysetQuery, ListQuery, PageRows, as_text
from freshly.chassis.data.queries import Found, struct_for
from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.domains.families.access import GuardedRepository, OwnedRepository, Owner
from freshly.domains.families.models import Membership, Role
from freshly.domains.grocery.errors import ItemNotFound, ListAccessDenied, ListNotFound
from freshly.domains.grocery.models import (
    GroceryList,
    GroceryListItem,
    GroceryNeed,
    GroceryReservation,
    ListStatus,
)
from freshly.domains.grocery.schemas import GroceryListRead, ItemSummary
from freshly.domains.ingredients.models import Ingredient, UnitRow
from freshly.domains.meal_plans.models import MealPlan, MealSlot, SlotMeal

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
# Of the list's family: the owner with the lowest membership id.
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
LIST_PARAMETERS, LINE = struct_for(GroceryListRead), struct_for(ItemSummary)
HEAD = LIST_PARAMETERS.__struct_fields__[:-1]  # all but the items
OF_LINE = ("item_id", *LINE.__struct_fields__[1:])
KNOWN = {column.key: column for column in (*lists, OWNER, SCOPE)}


def _with_items(page: Select[Any]) -> Select[Any]:
    """One statement for the lists of a page and all that is on them."""
    head = page.subquery()
    return (
        select(*head.c, *ITEM_COLUMNS)
        .outerjoin_from(head, GroceryListItem.__table__, items.grocery_list_id == head.c.id)
        .outerjoin(Ingredient.__table__, Ingredient.__table__.c.id == items.ingredient_id)
        .outerjoin(UnitRow.__table__, UnitRow.__table__.c.id == items.unit_id)
        .order_by(head.c.created_at, head.c.id, items.id)
    )


def _lists(*where: ColumnElement[bool]) -> KeysetQuery:
    rows = select(*(KNOWN[name] for name in HEAD)).where(*where)
    return KeysetQuery(rows, lists.created_at, lists.id, with_children=_with_items)


OF_FAMILY = lists.family_id == bindparam("owner")
OF_PERSON = lists.owner_user_id == bindparam("owner")
OF_STATUS = lists.status == bindparam("status")
FAMILYS, FAMILYS_OF_STATUS = _lists(OF_FAMILY), _lists(OF_FAMILY, OF_STATUS)
OWN, OWN_OF_STATUS = _lists(OF_PERSON), _lists(OF_PERSON, OF_STATUS)


@dataclass
class GroceryListReader:
    """Records with the fields of GroceryListRead, as `reader` sees them."""

    db: CurrentDatabase

    async def page(
        self, owner: Owner, reader: int | None, status: str | None, query: ListQuery
    ) -> PageRows[Any]:
        if owner.family_id is None:
            listing = OWN if status is None else OWN_OF_STATUS
        else:
            listing = FAMILYS if status is None else FAMILYS_OF_STATUS
        asked = {} if status is None else {"status": status}
        found, more = await listing.page(self.db, query, owner=owner.id, reader=reader, **asked)
        return PageRows(_told(found), more)


def _told(found: Found) -> list[Struct]:
    """The lists with their lines, of rows that are one for each line."""
    columns = found.columns
    heads = [columns[name] for name in HEAD]
    lines = list(map(LINE, *[columns[name] for name in OF_LINE]))
    around = pairwise((None, *columns["id"]))
    starts = [place for place, (one, other) in enumerate(around) if one != other]
    return [
        LIST_PARAMETERS(
            *[column[start] for column in heads],
            lines[start:end] if columns["item_id"][start] is not None else [],
        )
        for start, end in pairwise((*starts, len(found)))
    ]


REMADE = (
    *("quantity", "unit_id", "canonical_quantity_needed", "note"),
    *("needed_quantity", "needed_unit"),
)
ITEM_PARTS = (joinedload(GroceryListItem.ingredient), joinedload(GroceryListItem.unit))


class ListRepository(OwnedRepository[GroceryList]):
    model = GroceryList
    not_found = ListNotFound
    forbidden = ListAccessDenied

    def visible(self) -> Select[Any]:
        return super().visible().options(selectinload(GroceryList.items).options(*ITEM_PARTS))

    async def locked_with(self, item_id: int) -> GroceryList | None:
        """The list that an item is on, its items not loaded: whoever changes one waits here."""
        its_list = select(GroceryListItem.grocery_list_id).where(GroceryListItem.id == item_id)
        found: GroceryList | None = await self.session.scalar(
            super()
            .visible()
            .where(GroceryList.id == its_list.scalar_subquery())
            .with_for_update(of=GroceryList)
            .execution_options(populate_existing=True)
        )
        return found

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


def _same(item: GroceryListItem) -> tuple[int, str | None]:
    return item.ingredient_id, item.canonical_unit


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

    async def add_all(self, items: Iterable[GroceryListItem]) -> None:
        self.session.add_all(items)
        await self.session.flush()

    async def replace(
        self, former: Sequence[GroceryListItem], made: Iterable[GroceryListItem]
    ) -> bool:
        """Whether anything is another now.

        A line of the same food and unit stays the row that it is, as somebody may be in the shop
        with it; and ticked off, as long as no more of it is needed.
        """
        gone = {item.id: item for item in former}
        same = {_same(item): item.id for item in former}
        added, changed = [], False
        for new in made:
            old = gone.pop(same.get(_same(new), 0), None)
            if old is None:
                added.append(new)
                continue
            less = (old.canonical_quantity_needed or 0) < (new.canonical_quantity_needed or 0)
            old.checked = old.checked and not less
            for column in REMADE:
                setattr(old, column, getattr(new, column))
            changed = changed or self.session.is_modified(old)
        await self.remove(gone.values())
        await self.add_all(added)
        return bool(gone or added or changed)

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


@dataclass
class PlannedListRepository:
    """Lists of meal plans that follow what is in the kitchen and what is planned.

    No Access: it is asked for whoever owns them, whatever person has changed something.
    """

    session: Session

    async def need(
        self,
        ingredient_ids: Iterable[int],
        day: date,
        *,
        family_id: int | None,
        person_id: int | None,
    ) -> bool:
        foods = select(func.coalesce(Ingredient.food_id, Ingredient.id)).where(
            Ingredient.id.in_(list(ingredient_ids))
        )
        needs = (
            self._current(day)
            .join(GroceryNeed, GroceryNeed.grocery_list_id == GroceryList.id)
            .where(_owned(family_id, person_id), GroceryNeed.ingredient_id.in_(foods))
        )
        return bool(await self.session.scalar(select(needs.exists())))

    async def owners(self, plan_id: int, day: date) -> Sequence[tuple[int | None, int | None]]:
        """Of the list of a plan, if there is one: a family or a person."""
        return await self._owners(day, MealPlan.id == plan_id)

    async def planners(self, meal_id: int, day: date) -> Sequence[tuple[int | None, int | None]]:
        """The same, of the lists of all plans with that meal."""
        plans = (
            select(MealSlot.meal_plan_id)
            .join(SlotMeal, SlotMeal.meal_slot_id == MealSlot.id)
            .where(SlotMeal.meal_id == meal_id)
        )
        return await self._owners(day, MealPlan.id.in_(plans))

    async def _owners(
        self, day: date, of_plans: ColumnElement[bool]
    ) -> Sequence[tuple[int | None, int | None]]:
        found = await self.session.execute(
            self._current(day)
            .with_only_columns(GroceryList.family_id, GroceryList.owner_user_id)
            .where(of_plans)
            .distinct()
        )
        return [(row[0], row[1]) for row in found]

    async def plans(
        self, day: date, *, family_id: int | None, person_id: int | None
    ) -> Sequence[int]:
        found = await self.session.scalars(
            self._current(day).where(_owned(family_id, person_id)).distinct().order_by(MealPlan.id)
        )
        return found.all()

    async def member(self, family_id: int) -> int | None:
        found: int | None = await self.session.scalar(
            select(Membership.user_id)
            .where(Membership.family_id == family_id)
            .order_by(Membership.id)
            .limit(1)
        )
        return found

    def _current(self, day: date) -> Select[Any]:
        """Not yet shopped, for a week that is not over, and owned by who owns the plan."""
        of_a_person = and_(
            MealPlan.family_id.is_(None), MealPlan.created_by_user_id == GroceryList.owner_user_id
        )
        return (
            select(MealPlan.id)
            .join(GroceryList, GroceryList.meal_plan_id == MealPlan.id)
            .where(
                GroceryList.status != ListStatus.PURCHASED,
                or_(MealPlan.family_id == GroceryList.family_id, of_a_person),
                or_(MealPlan.week_start > day - timedelta(days=7), MealPlan.week_end >= day),
            )
        )


def _owned(family_id: int | None, person_id: int | None) -> ColumnElement[bool]:
    if family_id is not None:
        return GroceryList.family_id == family_id
    return GroceryList.owner_user_id == person_id
