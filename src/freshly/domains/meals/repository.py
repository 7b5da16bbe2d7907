from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import Decoder
from sqlalchemy import JSON, Text, bindparam, cast, select

from freshly.chassis.data.pagination import KeysetQuery, ListQuery, PageRows, paginate
from freshly.chassis.data.queries import Found, struct_for
from freshly.chassis.data.transactions import CurrentDatabase
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
OWN = KeysetQuery(
    select(*AS_STORED).where(meals.created_by_user_id == bindparam("owner")), meals.id
)
LIST_PARAMETERS = struct_for(MealBoth)
COLUMNS = [SNAKE.get(name, name) for name in LIST_PARAMETERS.__struct_fields__]
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


_macros = Decoder(list[_Macros | None]).decode
_ingredients = Decoder(list[list[_Ingredient] | None]).decode


@dataclass
class MealListReader:
    """What a person has created, as records with the fields of MealBoth."""

    db: CurrentDatabase

    async def page(self, me: Owner, query: ListQuery) -> PageRows[Any]:
        found, more = await OWN.page(self.db, query, owner=me.user_id)
        return PageRows(_listed(found), more)


def _listed(found: Found) -> list[Struct]:
    columns = dict(found.columns)
    for name in TEXTS:
        columns[name] = _as_they_are(columns[name])
    columns["macros"] = _numbers(_in_one(columns["macros"]))
    columns["ingredients"] = _in_both_spellings(_in_one(columns["ingredients"]))
    return list(map(LIST_PARAMETERS, *[columns[name] for name in COLUMNS]))


def _as_they_are(texts: Sequence[Any]) -> list[Raw]:
    if any(nothing in texts for nothing in NOTHING):
        return [NO_TEXTS if text in NOTHING else Raw(text) for text in texts]
    return list(map(Raw, texts))


def _in_one(texts: Sequence[str | None]) -> str:
    """To read one long JSON list takes three quarters of what many short ones take."""
    return f"[{','.join([text or 'null' for text in texts])}]"


def _numbers(texts: str) -> list[_Macros]:
    found = [kept or _Macros() for kept in _macros(texts)]
    for one in found:
        if not (one.protein and one.fats and one.carbs):
            one.protein, one.fats, one.carbs = one.protein or 0, one.fats or 0, one.carbs or 0
    return found


def _in_both_spellings(texts: str) -> list[list[_Ingredient]]:
    found = [of_a_meal or [] for of_a_meal in _ingredients(texts)]
    for of_a_meal in found:
        for one in of_a_meal:
            if one.in_pantry is not False or one.inPantry is not False:
                one.inPantry = one.in_pantry = bool(one.in_pantry)
    return found


class MealRepository(GuardedRepository[Meal]):
    model = Meal
    not_found = MealNotFound

    async def own(self, query: ListQuery) -> PageRows[Meal]:
        """What the person of this access has created."""
        own = self.visible().where(Meal.created_by_user_id == self.access.user_id)
        return await paginate(self.session, own, (Meal.id,), query)

    async def of_ids(self, ids: Iterable[int]) -> dict[int, Meal]:
        """Meals by id, not asking who may see them: for a plan that the caller may read."""
        found = await self.session.scalars(select(Meal).where(Meal.id.in_(set(ids))))
        return {meal.id: meal for meal in found}
