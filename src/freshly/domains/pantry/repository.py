import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, case, or_, select
from sqlalchemy.orm import joinedload
from sqlalchemy.orm.attributes import set_committed_value

from freshly.chassis.data.functions import unicode_lower
from freshly.chassis.data.pagination import KeysetQuery, ListQuery, PageRows, columns_for
from freshly.chassis.data.queries import struct_for
from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.chassis.resilience.fairness import ROWS_PER_FLUSH
from freshly.domains.families.access import Access, OwnedRepository, Owner, belongs_to
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.pantry.errors import NotYourPantry, PantryItemNotFound
from freshly.domains.pantry.models import PantryItem
from freshly.domains.pantry.schemas import PantryItemRead

pantry_items, ingredients = PantryItem.__table__.c, Ingredient.__table__.c
ROWS = select(
    *columns_for(
        PantryItemRead,
        PantryItem.__table__,
        ingredients.name.label("ingredient_name"),
        case((pantry_items.family_id.is_(None), "personal"), else_="family").label("scope"),
    )
).outerjoin_from(
    PantryItem.__table__, Ingredient.__table__, ingredients.id == pantry_items.ingredient_id
)
ITEM = struct_for(PantryItemRead)
OF_FAMILY = KeysetQuery(ROWS.where(pantry_items.family_id == bindparam("owner")), pantry_items.id)
OF_USER = KeysetQuery(ROWS.where(pantry_items.owner_user_id == bindparam("owner")), pantry_items.id)


@dataclass
class PantryListReader:
    """Reads the items of an owner as structs with the fields of PantryItemRead."""

    db: CurrentDatabase

    async def page(self, owner: Owner, query: ListQuery) -> PageRows[Any]:
        items = OF_USER if owner.family_id is None else OF_FAMILY
        rows, next_cursor = await items.page(self.db, query, owner=owner.id)
        return PageRows(rows.as_structs(ITEM), next_cursor)


class PantryRepository(OwnedRepository[PantryItem]):
    model = PantryItem
    not_found = PantryItemNotFound
    forbidden = NotYourPantry

    def visible(self) -> Select[Any]:
        return super().visible().options(joinedload(PantryItem.ingredient))

    async def stock(
        self,
        owner: Owner,
        foods: Iterable[int],
        names: Collection[str] = (),
        *,
        lock: bool = False,
    ) -> Sequence[PantryItem]:
        """Return all lots of these foods under any name, the soonest to expire first.

        `names` finds the owner's own foods for the foods of another owner.
        """
        food_ids = list(set(foods))
        found = [Ingredient.id.in_(food_ids), Ingredient.food_id.in_(food_ids)]
        if names:
            found.append(unicode_lower(Ingredient.name).in_({name.lower() for name in names}))
        lots = (
            self.owned_by(owner)
            .where(PantryItem.ingredient_id.in_(select(Ingredient.id).where(or_(*found))))
            .order_by(PantryItem.expires_at.asc().nulls_last(), PantryItem.id)
        )
        if lock:
            lots = lots.with_for_update(of=PantryItem)
        return (await self.session.scalars(lots)).all()

    @staticmethod
    def set_ingredient(item: PantryItem, ingredient: Ingredient) -> None:
        """Point the item at another ingredient and set the loaded relationship."""
        item.ingredient_id = ingredient.id
        set_committed_value(item, "ingredient", ingredient)


@dataclass
class StockRepository:
    """The stock of a household, for listeners. Not scoped by Access: the event names the owner."""

    session: Session

    async def of_foods(
        self, family_id: int | None, owner_user_id: int | None, ingredient_ids: Iterable[int]
    ) -> AsyncIterator[Sequence[PantryItem]]:
        """Lock and yield the items of these foods in batches, each with its changes written.

        All requests lock in the order of ids. Other requests run after each batch.
        """
        items = (
            select(PantryItem)
            .where(
                belongs_to(PantryItem, family_id, owner_user_id),
                PantryItem.ingredient_id.in_(list(ingredient_ids)),
            )
            .order_by(PantryItem.id)
            .limit(ROWS_PER_FLUSH)
            .with_for_update(of=PantryItem)
            .execution_options(populate_existing=True)
        )
        last_id, full = 0, True
        while full:
            batch = (await self.session.scalars(items.where(PantryItem.id > last_id))).all()
            full = len(batch) == ROWS_PER_FLUSH
            if batch:
                last_id = batch[-1].id
                yield batch
                await self.session.flush()
            await asyncio.sleep(0)


@dataclass
class PictureRepository:
    """Pictures of items. Not scoped by Access, because the worker draws for all users."""

    session: Session

    async def name_to_draw(self, item_id: int, user_id: int) -> str | None:
        """Return the name of an item, or None if it has a picture or the user cannot see it."""
        access = await Access.of(user_id, self.session)
        name: str | None = await self.session.scalar(
            select(Ingredient.name)
            .join(PantryItem, PantryItem.ingredient_id == Ingredient.id)
            .where(
                PantryItem.id == item_id,
                PantryItem.image_url.is_(None),
                PantryItem.visible_to(access),
            )
        )
        return name

    async def set_picture(self, item_id: int, url: str) -> bool:
        """Set the picture. Return False if the item is deleted or has a picture."""
        item = await self.session.get(PantryItem, item_id, with_for_update=True)
        if item is None or item.image_url is not None:
            return False
        item.image_url = url
        await self.session.flush()
        return True

    async def existing(self, item_ids: Iterable[int]) -> set[int]:
        existing = select(PantryItem.id).where(PantryItem.id.in_(list(item_ids)))
        return set(await self.session.scalars(existing))
