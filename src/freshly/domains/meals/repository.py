from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import Decoder
from sqlalchemy import JSON, Text, bindparam, cast, select

from freshly.chassis.database import Units
from freshly.chassis.pages import Listing, ListQuery, Slice, paginate
from freshly.chassis.questions import Found, record_of
from freshly.domains.families.access import GuardedRepository, Owner
from freshly.domains.meals.errors import MealNotFound
from freshly.domains.meals.models import Meal
from freshly.domains.meals.schemas import SNAKE, MealBoth

meals = Meal.__table__.c
# JSON as its text, most of which goes on as it is.
AS_STORED = [
    cast(column, Text).label(column.key) if isinstance(column.type, JSON) else column
    for column in meals
]
OWN = Listing(select(*AS_STORED).where(meals.created_by_user_id == bindparam("owner")), meals.id)
LISTED = record_of(MealBoth)
COLUMNS = [SNAKE.get(name, name) for name in LISTED.__struct_fields__]
TEXTS = ("tags", "diet_compatibility", "goal_fit", "instructions", "cooking_tools")
NOTHING = (None, "null")  # of what is in adopted rows
NO_TEXTS = Raw(b"[]")


class _Macros(Struct, gc=False):
    protein: Any = 0
    fats: Any = 0
    carbs: Any = 0


class _Ingredient(Struct, gc=False):
    """Stored in one spelling, shown in both."""

    name: Any
    amount: Any
    inPantry: Any = False  # noqa: N815 - the wire's name
    in_pantry: Any = False


_macros = Decoder(_Macros | None).decode
_ingredients = Decoder(list[_Ingredient] | None).decode


@dataclass
class CookbookRepository:
    """What a person has created, as records with the fields of MealBoth."""

    units: Units

    async def page(self, me: Owner, query: ListQuery) -> Slice[Any]:
        found, more = await OWN.page(self.units, query, owner=me.user_id)
        return Slice(_listed(found), more)


def _listed(found: Found) -> list[Struct]:
    columns = dict(found.columns)
    for name in TEXTS:
        columns[name] = [NO_TEXTS if text in NOTHING else Raw(text) for text in columns[name]]
    columns["macros"] = [_numbers(text) for text in columns["macros"]]
    columns["ingredients"] = [_in_both_spellings(text) for text in columns["ingredients"]]
    return list(map(LISTED, *[columns[name] for name in COLUMNS]))


def _numbers(text: str | None) -> _Macros:
    kept = _macros(text or "null") or _Macros()
    return _Macros(kept.protein or 0, kept.fats or 0, kept.carbs or 0)


def _in_both_spellings(text: str | None) -> list[_Ingredient]:
    found = _ingredients(text or "null") or []
    for one in found:
        one.inPantry = one.in_pantry = bool(one.in_pantry)
    return found


class MealRepository(GuardedRepository[Meal]):
    model = Meal
    not_found = MealNotFound

    async def own(self, query: ListQuery) -> Slice[Meal]:
        """What the person of this access has created."""
        own = self.visible().where(Meal.created_by_user_id == self.access.user_id)
        return await paginate(self.session, own, (Meal.id,), query)

    async def of_ids(self, ids: Iterable[int]) -> dict[int, Meal]:
        """Meals by id, not asking who may see them: for a plan that the caller may read."""
        found = await self.session.scalars(select(Meal).where(Meal.id.in_(set(ids))))
        return {meal.id: meal for meal in found}
