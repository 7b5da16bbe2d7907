from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, case, or_, select
from sqlalchemy.orm import joinedload
from sqlalchemy.orm.attributes import set_committed_value

from freshly.chassis.data.pagination import KeysetQuery, ListQuery, PageRows, columns_for
from freshly.chassis.data.queries import struct_for
from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.domains.families.access import Access, OwnedRepository, Owner
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.pantry.errors import NotYourPantry, PantryItemNotFound
from freshly.domains.pantry.models import PantryItem
from freshly.domains.pantry.schemas import PantryItemRead

stocked, ingredients = PantryItem.__table__.c, Ingredient.__table__.c
ROWS = select(
    *columns_for(
        PantryItemRead,
        PantryItem.__table__,
        ingredients.name.label("ingredient_name"),
        case((stocked.family_id.is_(None), "personal"), else_="family").label("scope"),
    )
).outerjoin_from(
    PantryItem.__table__, Ingredient.__table__, ingredients.id == stocked.ingredient_id
)
SHELVED = struct_for(PantryItemRead)
FAMILYS = KeysetQuery(ROWS.where(stocked.family_id == bindparam("owner")), stocked.id)
OWN = KeysetQuery(ROWS.where(stocked.owner_user_id == bindparam("owner")), stocked.id)


@dataclass
class PantryListReader:
    """Records with the fields of PantryItemRead."""

    db: CurrentDatabase

    async def page(self, owner: Owner, query: ListQuery) -> PageRows[Any]:
        listing = OWN if owner.family_id is None else FAMILYS
        found, more = await listing.page(self.db, query, owner=owner.id)
        return PageRows(found.as_structs(SHELVED), more)


class PantryRepository(OwnedRepository[PantryItem]):
    model = PantryItem
    not_found = PantryItemNotFound
    forbidden = NotYourPantry

    def visible(self) -> Select[Any]:
        return super().visible().options(joinedload(PantryItem.ingredient))

    async def stock(
        self, owner: Owner, foods: Iterable[int], *, lock: bool = False
    ) -> Sequence[PantryItem]:
        """Every lot of these foods under whatever name, the soonest to expire first."""
        wanted = list(set(foods))
        names = select(Ingredient.id).where(
            or_(Ingredient.id.in_(wanted), Ingredient.food_id.in_(wanted))
        )
        lots = (
            self.owned_by(owner)
            .where(PantryItem.ingredient_id.in_(names))
            .order_by(PantryItem.expires_at.asc().nulls_last(), PantryItem.id)
        )
        if lock:
            lots = lots.with_for_update(of=PantryItem)
        return (await self.session.scalars(lots)).all()

    @staticmethod
    def point(item: PantryItem, ingredient: Ingredient) -> None:
        """At what it is some of, which is then loaded with it."""
        item.ingredient_id = ingredient.id
        set_committed_value(item, "ingredient", ingredient)


@dataclass
class PictureRepository:
    """For the worker, which draws them; no Access, because items may be anybody's."""

    session: Session

    async def wanted(self, item_id: int, person_id: int) -> str | None:
        """The name of an item without a picture that the person still sees."""
        access = await Access.of(person_id, self.session)
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

    async def show(self, item_id: int, url: str) -> bool:
        """Whether the item is there still, and has no picture."""
        item = await self.session.get(PantryItem, item_id, with_for_update=True)
        if item is None or item.image_url is not None:
            return False
        item.image_url = url
        await self.session.flush()
        return True

    async def there(self, item_ids: Iterable[int]) -> set[int]:
        found = select(PantryItem.id).where(PantryItem.id.in_(list(item_ids)))
        return set(await self.session.scalars(found))
