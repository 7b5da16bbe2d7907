from dataclasses import dataclass
from typing import Any

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.dependencies import Injected
from freshly.chassis.web.schemas import assign, sent_values
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.models import FAMILIES
from freshly.domains.families.service import FamilyService
from freshly.domains.grocery.models import GROCERY, GroceryList, ListStatus
from freshly.domains.grocery.repository import GroceryListReader, ListRepository
from freshly.domains.grocery.schemas import (
    GroceryListCreate,
    GroceryListQuery,
    GroceryListRead,
    GroceryListUpdate,
    ItemSummary,
)
from freshly.domains.meal_plans.service import MealPlanService


@dataclass
class GroceryListing:
    """Reads lists with their items, from the cache where possible."""

    access: CurrentAccess
    db: CurrentDatabase

    async def page(self, family_id: int | None, query: GroceryListQuery) -> CachedBody:
        owner = self.access.owner(family_id)
        # A family's lists name their owner relative to the user who reads them.
        reader = self.access.user_id if family_id else None

        async def load() -> CachedBody:
            lists = GroceryListReader(self.db)
            return (await lists.page(owner, reader, query.status, query)).to_body()

        key = f"grocery/{owner.tag}/{reader}/{query.status}/{query.limit}/{query.cursor}"
        tags = [GROCERY.of(owner.tag), FAMILIES.of(owner.tag)]
        return await self.db.cache.read(key, tags, load)


@dataclass
class ListService:
    access: CurrentAccess
    lists: Injected[ListRepository]
    families: Injected[FamilyService]
    plans: Injected[MealPlanService]

    async def get(self, id: int, *, lock: bool = False) -> GroceryList:
        return await self.lists.get(id, lock=lock)

    async def read(self, id: int) -> GroceryListRead:
        return await self._with_owner(await self.lists.get(id))

    async def reread(self, id: int) -> GroceryListRead:
        """Read a list again after a change."""
        return await self._with_owner(await self.lists.refreshed(id))

    async def create(self, new: GroceryListCreate) -> GroceryListRead:
        if new.meal_plan_id is not None:
            await self.plans.get(new.meal_plan_id)
        fields = new.model_dump(exclude={"scope", "family_id", "status"})
        grocery_list = await self.make(
            new.family_id, **fields, status=new.status or ListStatus.DRAFT
        )
        return await self.reread(grocery_list.id)

    async def make(self, family_id: int | None, **fields: Any) -> GroceryList:
        """Insert a list of the family, or of the caller if there is no family."""
        owner = self.access.owner(family_id)
        return await self.lists.save(
            GroceryList(
                **fields,
                family_id=owner.family_id,
                owner_user_id=owner.user_id,
                created_by_user_id=self.access.user_id,
            )
        )

    async def update(self, id: int, update: GroceryListUpdate) -> GroceryListRead:
        row = await self.lists.get(id, lock=True)
        if update.meal_plan_id is not None:
            await self.plans.get(update.meal_plan_id)
        assign(row, sent_values(update, never_null={"status"}))
        await self.lists.save(row)
        return await self.reread(id)

    async def remove(self, id: int) -> None:
        await self.lists.delete(await self.lists.get(id, lock=True))

    async def _with_owner(self, row: GroceryList) -> GroceryListRead:
        owners = await self.families.lowest_owner([row.family_id] if row.family_id else [])
        return self._read(row, owners)

    def _read(self, row: GroceryList, owners: dict[int, int]) -> GroceryListRead:
        created_by_caller = row.created_by_user_id == self.access.user_id
        family_owner = self.access.user_id if created_by_caller else owners.get(row.family_id or 0)
        return GroceryListRead(
            id=row.id,
            family_id=row.family_id,
            owner_user_id=row.owner_user_id if row.family_id is None else family_owner,
            created_by_user_id=row.created_by_user_id,
            scope="personal" if row.family_id is None else "family",
            meal_plan_id=row.meal_plan_id,
            title=row.title,
            status=row.status,
            created_at=row.created_at,
            updated_at=row.updated_at,
            items=[ItemSummary.model_validate(item) for item in row.items],
        )
