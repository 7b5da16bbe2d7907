from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from freshly.chassis.data.pagination import ListQuery, PageRows
from freshly.chassis.dependencies import Injected
from freshly.chassis.resilience.fairness import in_turns
from freshly.chassis.web.schemas import assign, changes
from freshly.domains.families.access import CurrentAccess
from freshly.domains.ingredients.catalogue import name_index
from freshly.domains.ingredients.errors import (
    IngredientExists,
    NotYourIngredient,
    QuantityTooLarge,
)
from freshly.domains.ingredients.measures import (
    FoodFacts,
    Measured,
    fits,
    is_household_measure,
    normalize,
)
from freshly.domains.ingredients.models import Ingredient, UnitRow
from freshly.domains.ingredients.repository import (
    AddedIngredientRepository,
    IngredientRepository,
    IngredientUsage,
)
from freshly.domains.ingredients.schemas import (
    FoodRead,
    IngredientCreate,
    IngredientRead,
    IngredientUpdate,
    ShelfLife,
)
from freshly.domains.ingredients.seeding import copy_facts
from freshly.domains.preferences.service import PreferenceService

MAX_CANONICAL_UNIT_LENGTH = 16  # characters


@dataclass
class IngredientService:
    access: CurrentAccess
    ingredients: Injected[IngredientRepository]
    usage: Injected[IngredientUsage]

    async def page(self, query: ListQuery) -> PageRows[Ingredient]:
        return await self.ingredients.page(query)

    async def get(self, id: int) -> Ingredient:
        return await self.ingredients.get(id)

    async def read(self, id: int) -> FoodRead:
        return _food_read(await self.ingredients.get_with_food(id))

    async def create(self, new: IngredientCreate) -> Ingredient:
        if await self.ingredients.by_name(new.name.strip()):
            raise IngredientExists
        return await self._add(
            Ingredient(**new.model_dump(exclude={"name"}), name=new.name.strip())
        )

    async def update(self, id: int, update: IngredientUpdate) -> Ingredient:
        row = await self._lock_own(id)
        values = changes(update)
        if "name" in values:
            values["name"] = values["name"].strip()
            other = await self.ingredients.by_name(values["name"])
            if other is not None and other.id != id:
                raise IngredientExists
        assign(row, values)
        return await self.ingredients.save(row)

    async def remove(self, id: int) -> None:
        await self.ingredients.delete(await self._lock_own(id))

    async def get_or_create(self, name: str) -> Ingredient:
        """Return the ingredient with this name in any case, or insert it as spelled.

        A new name of a food in the catalogue ("Tomatoes") is linked to the food.
        """
        name = name.strip()
        row = await self.ingredients.by_name(name)
        if row is not None:
            return row
        try:
            return await self._add(Ingredient(name=name))
        except IngredientExists:  # a concurrent request inserted it
            row = await self.ingredients.by_name(name)
            if row is None:
                raise
            return row

    async def match_or_create(self, names: Iterable[str]) -> dict[str, Ingredient]:
        """Return the best match for each ingredient text of a recipe.

        A text without a match becomes a new ingredient in lower case.
        """
        texts = {name: name.strip() for name in names}
        same = await self.ingredients.by_names(texts.values())
        food_names = {
            name: food
            async for name, text in in_turns(texts.items())
            if text.lower() not in same and (food := name_index().find(text))
        }
        foods = await self.ingredients.by_names(food_names.values())
        matches: dict[str, Ingredient] = {}
        async for name, text in in_turns(texts.items()):
            row = same.get(text.lower()) or foods.get(food_names.get(name, "").lower())
            matches[name] = row or await self.get_or_create(text.lower())
        return matches

    async def by_id(self, ids: Iterable[int]) -> dict[int, Ingredient]:
        return {row.id: row for row in await self.ingredients.with_measures(ids)}

    async def facts(self, ids: Iterable[int]) -> Mapping[int, FoodFacts]:
        """Return facts by id. Another name of a food has the measures of the food, too."""
        rows = await self.ingredients.with_measures(ids)
        measures = {row.id: row.facts().measures for row in rows}
        return {
            row.id: FoodFacts(
                kind=(own := row.facts()).kind,
                unit=own.unit,
                density=own.density,
                piece_weight=own.piece_weight,
                measures={**measures.get(row.food_id or 0, {}), **own.measures},
            )
            for row in rows
        }

    async def canonical(
        self, ingredient: Ingredient | None, quantity: Decimal | None, unit: str | None
    ) -> Measured | None:
        """Convert to the ingredient's canonical unit. Return None if that is not possible.

        Raise QuantityTooLarge if the column cannot store the result.
        """
        if ingredient is None or quantity is None or not unit:
            return None
        facts = ingredient.facts_without_measures()
        if is_household_measure(unit):
            facts = (await self.facts([ingredient.id]))[ingredient.id]
        measured = normalize(quantity, unit, facts)
        if measured is None or len(measured.unit) > MAX_CANONICAL_UNIT_LENGTH:
            return None
        measured = measured.rounded()
        if not fits(measured.quantity):
            raise QuantityTooLarge(quantity=f"{quantity:f}", unit=unit, canonical=measured.unit)
        return measured

    async def units(self) -> Sequence[UnitRow]:
        return await self.ingredients.units()

    async def unit(self, id: int) -> UnitRow:
        return await self.ingredients.unit(id)

    async def unit_by_code(self, code: str) -> UnitRow | None:
        return await self.ingredients.unit_by_code(code)

    async def _add(self, row: Ingredient) -> Ingredient:
        row.created_by_user_id = self.access.user_id
        food_name = name_index().same(row.name)
        food = await self.ingredients.by_name(food_name) if food_name else None
        if food is not None:
            copy_facts(row, food)
        return await self.ingredients.save(row)

    async def _lock_own(self, id: int) -> Ingredient:
        """Lock an ingredient that only the caller uses. Raise NotYourIngredient."""
        row = await self.ingredients.get(id, lock=True)
        is_own = row.created_by_user_id == self.access.user_id
        if not is_own or await self.usage.by_others(id):
            raise NotYourIngredient
        return row


@dataclass
class AddedIngredients:
    """Ingredients that a user added to the catalogue, for the deletion of the account."""

    added: Injected[AddedIngredientRepository]
    preferences: Injected[PreferenceService]

    async def ids_of(self, user_id: int) -> Sequence[int]:
        return await self.added.ids_of(user_id)

    async def delete_unused(self, ids: Sequence[int], user_id: int) -> None:
        """Delete those of the ingredients that no other user needs, and lock all of them.

        The user's own rows must be gone, so that every row that refers to one is another user's.
        """
        unused = [
            ingredient_id
            for ingredient_id in await self.added.lock_unreferenced(ids)
            if not await self.preferences.mentioned_by_others(ingredient_id, user_id)
        ]
        await self.added.delete(unused)


def _food_read(row: Ingredient) -> FoodRead:
    food = row.food
    return FoodRead(
        **IngredientRead.model_validate(row).model_dump(),
        measures={measure.unit_code: float(measure.grams) for measure in row.measures},
        aliases=food.aliases if food else None,
        shelf_life=ShelfLife(
            pantry=food.pantry_days, fridge=food.fridge_days, freezer=food.freezer_days
        )
        if food
        else None,
        allergens=food.allergens if food else None,
        nutrition=food.nutrition if food else None,
        source=food.source if food else None,
    )
