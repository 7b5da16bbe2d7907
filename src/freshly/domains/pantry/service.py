from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.events import EventBus
from freshly.chassis.data.pagination import ListQuery
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.web.schemas import assign, sent_values
from freshly.domains.families.access import CurrentAccess, Owner
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.ingredients.service import IngredientService
from freshly.domains.pantry.errors import PersonalItemsOnly
from freshly.domains.pantry.events import StockChanged
from freshly.domains.pantry.jobs import RemovePicture
from freshly.domains.pantry.models import PANTRY, PantryItem
from freshly.domains.pantry.putting_away import Bought, add_to, good_first
from freshly.domains.pantry.repository import PantryListReader, PantryRepository
from freshly.domains.pantry.schemas import PantryItemCreate, PantryItemUpdate


@dataclass
class PantryListing:
    """Pages of a pantry, cached: the app reads them on most screens."""

    access: CurrentAccess
    db: CurrentDatabase

    async def page(self, family_id: int | None, query: ListQuery) -> CachedBody:
        owner = self.access.owner(family_id)

        async def load() -> CachedBody:
            return (await PantryListReader(self.db).page(owner, query)).to_body()

        key = f"pantry/{owner.tag}/{query.limit}/{query.cursor}"
        return await self.db.cache.read(key, [PANTRY.of(owner.tag)], load)


@dataclass
class PantryService:
    access: CurrentAccess
    items: Injected[PantryRepository]
    ingredients: Injected[IngredientService]
    events: Injected[EventBus]
    jobs: Injected[JobQueue]

    async def get(self, id: int) -> PantryItem:
        return await self.items.get(id)

    async def add(self, new: PantryItemCreate) -> PantryItem:
        owner = self.access.owner(new.family_id)
        ingredient = await self._ingredient(new, owner)
        item = PantryItem(
            **new.model_dump(exclude={"ingredient_name", "ingredient_id", "scope", "family_id"}),
            family_id=owner.family_id,
            owner_user_id=owner.user_id,
            ingredient_id=ingredient.id,
        )
        self.items.set_ingredient(item, ingredient)
        await self._measure(item)
        await self.items.save(item)
        await self._publish_change(item)
        return item

    async def add_personal(self, new: PantryItemCreate) -> PantryItem:
        if new.family_id is not None:
            raise PersonalItemsOnly
        return await self.add(new)

    async def update(self, id: int, update: PantryItemUpdate) -> PantryItem:
        item = await self.items.get(id, lock=True)
        stock, former_ingredient = item.stock(), item.ingredient_id
        values = sent_values(update)
        values.pop("ingredient_name", None)
        assign(item, values)
        if update.ingredient_name is not None:
            owner = self.access.owner(item.family_id)
            self.items.set_ingredient(
                item, await self.ingredients.get_or_create(update.ingredient_name, owner)
            )
            if item.ingredient_id != former_ingredient and item.image_url is not None:
                await self.jobs.enqueue(RemovePicture(url=item.image_url))
                item.image_url = None  # the picture shows the former ingredient
        await self._measure(item)
        await self.items.save(item)
        if item.stock() != stock:
            await self._publish_change(item, former_ingredient)
        return item

    async def remove(self, id: int) -> None:
        item = await self.items.get(id, lock=True)
        await self.items.delete(item)
        if item.image_url is not None:
            await self.jobs.enqueue(RemovePicture(url=item.image_url))
        await self._publish_change(item)

    async def stock(
        self, family_id: int | None, foods: Iterable[int], names: Collection[str] = ()
    ) -> Sequence[PantryItem]:
        """Return all lots of these foods, or with these names, of the family or the caller."""
        return await self.items.stock(self.access.owner(family_id), foods, names)

    async def put_away(self, family_id: int | None, bought: Bought) -> None:
        """Add bought food to a lot of the same food, or as a new lot if the units differ."""
        owner = self.access.owner(family_id)
        stock = await self.items.stock(owner, [bought.ingredient.base_food_id], lock=True)
        facts = await self.ingredients.facts(
            {bought.ingredient.id} | {item.ingredient_id for item in stock if item.ingredient_id},
            owner,
        )
        for item in good_first(stock, bought.on):
            if add_to(item, bought.amount, facts[item.ingredient_id or 0]):
                await self.items.save(item)
                await self._publish_change(item)
                return
        food_id = bought.ingredient.id
        ingredient = (await self.ingredients.corrected([food_id], owner))[food_id]
        item = await self.items.save(
            PantryItem(
                family_id=owner.family_id,
                owner_user_id=owner.user_id,
                ingredient_id=ingredient.id,
                quantity=bought.quantity,
                unit=bought.unit,
                category=(ingredient.category or "")[:64] or None,
                canonical_quantity=bought.amount.quantity if bought.amount else None,
                canonical_unit=bought.amount.unit if bought.amount else None,
            )
        )
        await self._publish_change(item)

    async def _publish_change(self, item: PantryItem, former_ingredient: int | None = None) -> None:
        ids = frozenset(one for one in (item.ingredient_id, former_ingredient) if one is not None)
        await self.events.publish(StockChanged(item.family_id, item.owner_user_id, ids))

    async def _ingredient(self, new: PantryItemCreate, owner: Owner) -> Ingredient:
        """Return the ingredient by id if there is one, else by name."""
        if new.ingredient_id is not None:
            return await self.ingredients.for_owner(new.ingredient_id, owner)
        return await self.ingredients.get_or_create(new.ingredient_name or "", owner)

    async def _measure(self, item: PantryItem) -> None:
        """Set the canonical amount of the item."""
        owner = self.access.owner(item.family_id)
        measured = await self.ingredients.canonical(
            item.ingredient, item.quantity, item.unit, owner
        )
        item.canonical_quantity = measured.quantity if measured else None
        item.canonical_unit = measured.unit if measured else None
