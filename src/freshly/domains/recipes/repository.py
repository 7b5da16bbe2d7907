from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from freshly.chassis.data.functions import unicode_lower
from freshly.chassis.data.transactions import DbSession
from freshly.domains.families.access import GuardedRepository, Owner
from freshly.domains.recipes.errors import DietTagNotFound, RecipeNotFound
from freshly.domains.recipes.models import DietTag, Recipe
from freshly.domains.recipes.schemas import RecipeQuery


class RecipeRepository(GuardedRepository[Recipe]):
    model = Recipe
    not_found = RecipeNotFound

    async def page(self, query: RecipeQuery, family: Owner | None) -> Sequence[Recipe]:
        recipes = self.visible().order_by(Recipe.title, Recipe.id)
        if family is not None:
            recipes = recipes.where(Recipe.family_id == family.family_id)
        if query.q:
            title = unicode_lower(Recipe.title)
            recipes = recipes.where(title.contains(query.q.lower(), autoescape=True))
        return (await self.session.scalars(recipes.offset(query.offset).limit(query.limit))).all()


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
