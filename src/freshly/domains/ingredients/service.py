from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from freshly.chassis.data.events import EventBus
from freshly.chassis.data.pagination import ListQuery, PageRows
from freshly.chassis.dependencies import Injected
from freshly.chassis.resilience.fairness import in_turns
from freshly.chassis.web.schemas import assign, changes
from freshly.domains.families.access import CurrentAccess, Owner
from freshly.domains.ingredients.catalogue import name_index
from freshly.domains.ingredients.errors import (
    CatalogueIsReadOnly,
    IngredientExists,
    IngredientInUse,
    IngredientsOfTwoOwners,
    MergedIntoItself,
    QuantityTooLarge,
)
from freshly.domains.ingredients.events import FactsChanged
from freshly.domains.ingredients.facts import effective_facts, food_read
from freshly.domains.ingredients.measures import (
    FoodFacts,
    Measured,
    depends_on_food,
    fits,
    normalize,
)
from freshly.domains.ingredients.models import Ingredient, UnitRow
from freshly.domains.ingredients.names import NameIndex, name_key
from freshly.domains.ingredients.repository import (
    IngredientRepository,
    ReferenceRepository,
    UnitRepository,
)
from freshly.domains.ingredients.schemas import FoodRead, IngredientCreate, IngredientUpdate
from freshly.domains.ingredients.seeding import link
from freshly.domains.preferences.service import PreferenceService

MAX_CANONICAL_UNIT_LENGTH = 16  # characters
NO_MEASURES: Mapping[str, Decimal] = {}
COPIED = (
    *("name", "category", "canonical_unit_type", "canonical_unit", "avg_weight_per_unit_g"),
    *("density_g_per_ml", "pieces_per_package", "shelf_life"),
)


@dataclass
class IngredientService:
    """Names of foods: those of the catalogue, and those of one owner's rows."""

    access: CurrentAccess
    ingredients: Injected[IngredientRepository]
    references: Injected[ReferenceRepository]
    unit_rows: Injected[UnitRepository]

    async def page(self, query: ListQuery) -> PageRows[Ingredient]:
        return await self.ingredients.page(query)

    async def read(self, id: int) -> FoodRead:
        return food_read(*await self.ingredients.with_food(id))

    async def for_owner(self, id: int, owner: Owner) -> Ingredient:
        """Return the ingredient with this id as the owner's rows may refer to it.

        The owner's correction of a food of the catalogue comes first. A food of another household
        of the caller becomes a food of the owner, too.
        """
        row = await self.ingredients.get(id)
        if row.is_owned_by(owner):
            return row
        # The owner's food of this name, or the one of the catalogue.
        own = await self.ingredients.by_name(row.name, owner)
        if own is not None:
            return own
        row, _ = await self.ingredients.with_food(id)
        copy = Ingredient(**{column: getattr(row, column) for column in COPIED})
        return await self._find_or_add(copy, owner, row.facts().measures)

    async def get_or_create(self, name: str, owner: Owner) -> Ingredient:
        """Return the ingredient with this name, ignoring case, or insert it as spelled.

        The owner's foods come before the catalogue. A new name of a food in the catalogue
        ("Tomatoes") is linked to the food.
        """
        name = name.strip()
        row = await self.ingredients.by_name(name, owner)
        return row or await self._find_or_add(Ingredient(name=name), owner)

    async def match_or_create(self, names: Iterable[str], owner: Owner) -> dict[str, Ingredient]:
        """Return the best match for each ingredient text of a recipe.

        The owner's foods come before the catalogue. A text without a match becomes a new ingredient
        in lower case.
        """
        texts = {name: name.strip() for name in names}
        same = await self.ingredients.by_names(texts.values(), owner)
        unknown = {name: text for name, text in texts.items() if text.lower() not in same}
        own_names = NameIndex.of(
            (name, ()) for name in (await self.ingredients.own_names(owner) if unknown else ())
        ).with_words_of(name_index())
        food_names = {
            name: food
            async for name, text in in_turns(unknown.items())
            if (food := name_index().find(text, own_names))
        }
        foods = await self.ingredients.by_names(food_names.values(), owner)
        known = same | {
            text.lower(): row
            for name, text in texts.items()
            if (row := foods.get(food_names.get(name, "").lower()))
        }
        missing = {text.lower() for text in texts.values()} - known.keys()
        known |= await self._create_all(sorted(missing), owner)
        return {name: known[text.lower()] for name, text in texts.items()}

    async def _create_all(self, names: Sequence[str], owner: Owner) -> dict[str, Ingredient]:
        """Insert foods in few statements. `names` are sorted, so that no two requests deadlock."""
        created_by = self.access.user_id
        rows = [
            Ingredient(
                name=name,
                family_id=owner.family_id,
                owner_user_id=owner.user_id,
                created_by_user_id=created_by,
            )
            for name in names
            if name_index().same(name) is None  # get_or_create() links names of the catalogue
        ]
        try:
            created = {row.name: row for row in await self.ingredients.save_all(rows)}
        except IngredientExists:  # a concurrent request inserted one of them
            created = {}
        async for name in in_turns(names):
            if name not in created:
                created[name] = await self.get_or_create(name, owner)
        return created

    async def by_id(self, ids: Iterable[int]) -> dict[int, Ingredient]:
        return {row.id: row for row in await self.ingredients.by_ids(ids)}

    async def corrected(self, ids: Iterable[int], owner: Owner) -> dict[int, Ingredient]:
        """Return the ingredients by id, or the owner's corrections of them."""
        wanted_ids = set(ids)
        rows = await self.by_id(wanted_ids)
        return rows | await self.ingredients.corrections(wanted_ids, owner)

    async def facts(self, ids: Iterable[int], owner: Owner) -> Mapping[int, FoodFacts]:
        """Return facts by id, as they hold for the owner: see `Ingredient`."""
        return effective_facts(await self.ingredients.with_measures(ids, owner), owner)

    async def canonical(
        self,
        ingredient: Ingredient | None,
        quantity: Decimal | None,
        unit: str | None,
        owner: Owner,
    ) -> Measured | None:
        """Convert to the ingredient's canonical unit. Return None if that is not possible.

        Raise QuantityTooLarge if the column cannot store the result.
        """
        if ingredient is None or quantity is None or not unit:
            return None
        facts = ingredient.facts_without_measures()
        if depends_on_food(unit, facts):
            facts = (await self.facts([ingredient.id], owner))[ingredient.id]
        return measure(quantity, unit, facts)

    async def units(self) -> Sequence[UnitRow]:
        return await self.unit_rows.all()

    async def unit(self, id: int) -> UnitRow:
        return await self.unit_rows.get(id)

    async def unit_by_code(self, code: str) -> UnitRow | None:
        return await self.unit_rows.by_code(code)

    async def _own(self, name: str, owner: Owner) -> Ingredient | None:
        """Return the owner's row with this name, ignoring case."""
        row = await self.ingredients.by_name(name, owner)
        return row if row is not None and row.is_owned_by(owner) else None

    async def _find_or_add(
        self, new: Ingredient, owner: Owner, measures: Mapping[str, Decimal] = NO_MEASURES
    ) -> Ingredient:
        name = new.name
        try:
            return await self._add(new, owner, measures)
        except IngredientExists:  # a concurrent request inserted it
            row = await self.ingredients.by_name(name, owner)
            if row is None:
                raise
            return row

    async def _add(
        self, row: Ingredient, owner: Owner, measures: Mapping[str, Decimal] = NO_MEASURES
    ) -> Ingredient:
        row.family_id, row.owner_user_id = owner.family_id, owner.user_id
        row.created_by_user_id = self.access.user_id
        await self._save_linked(row, owner)
        if measures:
            await self.ingredients.set_measures(row, measures)
        return row

    async def _save_linked(self, row: Ingredient, owner: Owner) -> Ingredient:
        """Link a row to the food of the catalogue that its name means, and save it.

        If it is the owner's correction of the food, the owner's rows refer to it from now on.
        """
        food_name = name_index().same(row.name)
        food = await self.ingredients.catalogue_food(food_name) if food_name else None
        if food is not None and row.food_id is None:
            link(row, food)
        await self.ingredients.save(row)
        if food is not None and row.corrects(food):
            await self.references.move(food, row, owner)
        return row


def measure(quantity: Decimal, unit: str, facts: FoodFacts) -> Measured | None:
    """Convert to the canonical unit of a food. Return None if that is not possible.

    Raise QuantityTooLarge if the column cannot store the result.
    """
    measured = normalize(quantity, unit, facts)
    if measured is None or len(measured.unit) > MAX_CANONICAL_UNIT_LENGTH:
        return None
    measured = measured.rounded()
    if not fits(measured.quantity):
        raise QuantityTooLarge(quantity=f"{quantity:f}", unit=unit, canonical=measured.unit)
    return measured


@dataclass
class OwnFoodService(IngredientService):
    """Changes of the foods of a household, which keep its stock, lists and recipes together."""

    preferences: Injected[PreferenceService]
    events: Injected[EventBus]

    async def create(self, new: IngredientCreate) -> Ingredient:
        owner = self.access.owner(new.family_id)
        values = new.model_dump(exclude={"name", "family_id"})
        measures = values.pop("measures") or NO_MEASURES
        row = Ingredient(**values, name=new.name.strip())
        if await self._own(row.name, owner) is not None:
            raise IngredientExists
        await self._add(row, owner, measures)
        await self._announce(row, owner)
        return row

    async def update(self, id: int, update: IngredientUpdate) -> Ingredient:
        row, owner = await self._lock_own(id)
        values = changes(update)
        old_name = row.name
        if "name" in values:
            values["name"] = values["name"].strip()
            await self._free_name(values["name"], row, owner)
        if update.shelf_life is not None:
            values["shelf_life"] = update.shelf_life.model_dump()
        measures = values.pop("measures", None)
        assign(row, values)
        await self._save_linked(row, owner)
        if measures is not None:
            await self.ingredients.set_measures(row, measures)
        if name_key(old_name) != name_key(row.name) and not name_index().same(old_name):
            # Recipes may still use the old name.
            await self.ingredients.save(_other_name(old_name, row))
        await self._announce(row, owner)
        return row

    async def remove(self, id: int) -> None:
        """Delete a food and its other names. Raise IngredientInUse if a row refers to one."""
        row, owner = await self._lock_own(id)
        rows = [row, *await self.ingredients.other_names(id, lock=True)]
        ids = [one.id for one in rows]
        places = await self.references.places(ids)
        if await self.preferences.mention(ids, await self.references.members(owner)):
            places.append("the preferences of a user")
        if places:
            raise IngredientInUse(places=" and ".join(places))
        await self.ingredients.delete_all(reversed(rows))
        await self._announce(row, owner)

    async def merge(self, id: int, into_id: int) -> Ingredient:
        """Make a food another name of the other food, and let all rows refer to the other food.

        Recipes that use the old name then mean the other food. Lock both.
        """
        if id == into_id:
            raise MergedIntoItself
        into = await self.ingredients.get(into_id)
        if into.scope != "catalogue":
            for one in sorted((id, into_id)):  # all requests lock in this order
                await self.ingredients.get(one, lock=True)
        row, owner = await self._lock_own(id)
        if into.scope != "catalogue" and not into.is_owned_by(owner):
            raise IngredientsOfTwoOwners
        if into.food_id == id:
            into.food_id = row.food_id
        for other in await self.ingredients.other_names(id):
            if other is not into:
                other.food_id = into.base_food_id
        row.food_id = into.base_food_id
        await self.ingredients.save(into)
        await self.references.move(row, into, owner)
        await self._announce(into, owner)
        return into

    async def _announce(self, row: Ingredient, owner: Owner) -> None:
        """Publish the facts that hold now for a changed or deleted food and its other names."""
        ids = await self.ingredients.names_of({row.id, row.base_food_id}, owner)
        if ids:
            facts = await self.facts(ids, owner)
            await self.events.publish(FactsChanged(owner.family_id, owner.user_id, facts))

    async def _lock_own(self, id: int) -> tuple[Ingredient, Owner]:
        """Lock a food of a household of the caller. Raise CatalogueIsReadOnly for other foods.

        Foods of the catalogue are not locked, because rows of all users refer to them.
        """
        if (await self.ingredients.get(id)).scope == "catalogue":
            raise CatalogueIsReadOnly
        row = await self.ingredients.get(id, lock=True)
        return row, self.access.owner(row.family_id)

    async def _free_name(self, name: str, row: Ingredient, owner: Owner) -> None:
        """Make a name free for the row. Raise IngredientExists if another food has it.

        If it is another name of the row, which renaming left, that name's rows move to the row.
        """
        other = await self._own(name, owner)
        if other is None or other is row:
            return
        members = await self.references.members(owner)
        if other.food_id != row.id or await self.preferences.mention([other.id], members):
            raise IngredientExists
        await self.references.move(other, row, owner)
        await self.ingredients.delete_all([other])


def _other_name(name: str, food: Ingredient) -> Ingredient:
    return Ingredient(
        name=name,
        category=food.category,
        canonical_unit_type=food.canonical_unit_type,
        canonical_unit=food.canonical_unit,
        food_id=food.base_food_id,
        family_id=food.family_id,
        owner_user_id=food.owner_user_id,
        created_by_user_id=food.created_by_user_id,
    )
