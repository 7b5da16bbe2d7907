from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from freshly.chassis.data.functions import unicode_lower
from freshly.chassis.data.page_bytes import row_bytes, rows_within_bytes
from freshly.chassis.data.transactions import DbSession
from freshly.domains.families.access import GuardedRepository, Owner
from freshly.domains.recipes.errors import DietTagNotFound, RecipeNotFound
from freshly.domains.recipes.models import DietTag, Recipe
from freshly.domains.recipes.schemas import RecipeQuery

FRAME_BYTES = 300  # names, numbers and dates of a recipe in a response
RECIPE_BYTES = row_bytes(FRAME_BYTES, Recipe.title, Recipe.description, Recipe.instructions)


class RecipeRepository(GuardedRepository[Recipe]):
    model = Recipe
    not_found = RecipeNotFound

    async def page(self, query: RecipeQuery, family: Owner | None) -> tuple[list[Recipe], bool]:
        """Return a page, and True if there is a next one. It ends also after MAX_PAGE_BYTES."""
        recipes = self.visible()
        if family is not None:
            recipes = recipes.where(Recipe.family_id == family.family_id)
        if query.q:
            title = unicode_lower(Recipe.title)
            recipes = recipes.where(title.contains(query.q.lower(), autoescape=True))
        rows, has_more = await rows_within_bytes(
            *(self.session, recipes, (Recipe.title, Recipe.id), RECIPE_BYTES, query.limit),
            offset=query.offset,
        )
        return [row[0] for row in rows], has_more


@dataclass
class DietTagRepository:
    """Diet tags. Not scoped by Access, because all users share them."""

    session: DbSession

    async def all(self) -> Sequence[DietTag]:
        return (await self.session.scalars(select(DietTag).order_by(DietTag.id))).all()

    async def get(self, id: int) -> DietTag:
        tag = await self.session.get(DietTag, id)
        if tag is None:
            raise DietTagNotFound
        return tag

    async def add(self, tags: Iterable[DietTag]) -> None:
        self.session.add_all(tags)
        await self.session.flush()
