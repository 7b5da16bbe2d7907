from collections.abc import Sequence
from dataclasses import dataclass

from freshly.chassis.dependencies import Injected
from freshly.chassis.web.schemas import assign, changes
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.permissions import Permission
from freshly.domains.recipes.errors import NotRecipesKeeper
from freshly.domains.recipes.models import DietTag, Recipe
from freshly.domains.recipes.repository import DietTagRepository, RecipeRepository
from freshly.domains.recipes.schemas import RecipeCreate, RecipeQuery, RecipeUpdate


@dataclass
class RecipeService:
    access: CurrentAccess
    recipes: Injected[RecipeRepository]

    async def page(self, query: RecipeQuery) -> tuple[list[Recipe], bool]:
        """Return a page, and True if there is a next one."""
        family = None if query.family_id is None else self.access.owner(query.family_id)
        return await self.recipes.page(query, family)

    async def get(self, id: int) -> Recipe:
        return await self.recipes.get(id)

    async def create(self, new: RecipeCreate) -> Recipe:
        self.access.owner(new.family_id)
        return await self.recipes.save(
            Recipe(**new.model_dump(), created_by_user_id=self.access.user_id)
        )

    async def update(self, id: int, update: RecipeUpdate) -> Recipe:
        recipe = await self._lock_for_change(id)
        assign(recipe, changes(update))
        return await self.recipes.save(recipe)

    async def delete(self, id: int) -> None:
        await self.recipes.delete(await self._lock_for_change(id))

    async def _lock_for_change(self, id: int) -> Recipe:
        """Lock a recipe that the caller wrote, or of a family that the caller manages.

        Raise NotRecipesKeeper for other recipes that the caller sees.
        """
        recipe = await self.recipes.get(id, lock=True)
        is_author = recipe.created_by_user_id == self.access.user_id
        if not is_author and not self.access.may(Permission.MANAGE_RECIPES, recipe.family_id):
            raise NotRecipesKeeper
        return recipe


@dataclass
class DietTagService:
    tags: Injected[DietTagRepository]

    async def all(self) -> Sequence[DietTag]:
        return await self.tags.all()

    async def get(self, id: int) -> DietTag:
        return await self.tags.get(id)
