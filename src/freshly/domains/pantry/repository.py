from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, case, or_, select
from sqlalchemy.orm import joinedload

from freshly.chassis.pages import ListQuery, Slice, paginate
from freshly.domains.families.access import OwnedRepository, Owner
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.pantry.errors import NotYourPantry, PantryItemNotFound
from freshly.domains.pantry.models import PantryItem


class PantryRepository(OwnedRepository[PantryItem]):
    model = PantryItem
    not_found = PantryItemNotFound
    forbidden = NotYourPantry

    def visible(self) -> Select[Any]:
        return super().visible().options(joinedload(PantryItem.ingredient))

    async def listed(self, owner: Owner, query: ListQuery) -> Slice[Any]:
        """Rows with the fields of PantryItemRead."""
        scope = case((PantryItem.family_id.is_(None), "personal"), else_="family")
        rows = (
            select(
                *PantryItem.__table__.columns,
                Ingredient.name.label("ingredient_name"),
                scope.label("scope"),
            )
            .where(self.is_owned_by(owner))
            .outerjoin(Ingredient, Ingredient.id == PantryItem.ingredient_id)
        )
        return await paginate(self.session, rows, (PantryItem.id,), query, columns=True)

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

    async def refreshed(self, item: PantryItem) -> PantryItem:
        """With its ingredient loaded, after it was made or pointed elsewhere."""
        found = await self.session.scalar(
            self.visible().where(PantryItem.id == item.id).execution_options(populate_existing=True)
        )
        if found is None:
            raise PantryItemNotFound
        return found  # type: ignore[no-any-return]  # Select[Any] of this model
