"""Writes the units and the catalogue of foods into the database.

It runs with each `migrate` and changes nothing if the catalogue is the same. It only fills in
missing facts and never overwrites changes of users.
"""

from collections.abc import Mapping

from freshly.chassis.data.transactions import Session
from freshly.domains.ingredients.catalogue import CatalogueFood, foods, name_index
from freshly.domains.ingredients.models import Food, Ingredient, IngredientMeasure, UnitRow
from freshly.domains.ingredients.repository import IngredientRepository
from freshly.domains.ingredients.units import DISPLAY_CODES, UNITS


async def seed(session: Session) -> int:
    """Insert units and foods. Return the number of foods that were added."""
    repository = IngredientRepository(session)
    await _seed_units(repository)
    rows = await repository.all_by_lower_name()
    described = await repository.ids_with_food()
    added = 0
    for food in foods():
        row = rows.get(food.name.lower())
        if row is None:
            row = await repository.save(Ingredient(name=food.name, category=food.aisle))
            rows[food.name.lower()] = row
            added += 1
        if row.id not in described:
            _fill(row, food)
            repository.add(_measures(row.id, food), _described(row.id, food))
    _link_other_names(rows)
    await repository.flush()
    return added


async def _seed_units(repository: IngredientRepository) -> None:
    known_codes = {unit.code for unit in await repository.units()}
    units = [
        UnitRow(code=u.code, display_name=u.display_name, is_metric=u.is_metric) for u in UNITS
    ]
    units += [
        UnitRow(code=DISPLAY_CODES[u.code], display_name=u.display_name, is_metric=u.is_metric)
        for u in UNITS
        if u.code in DISPLAY_CODES
    ]
    repository.add([unit for unit in units if unit.code not in known_codes])


def _fill(row: Ingredient, food: CatalogueFood) -> None:
    row.category = row.category or food.aisle
    if row.canonical_unit_type is None and row.canonical_unit is None:
        row.canonical_unit_type, row.canonical_unit = food.kind, food.unit
    if row.density_g_per_ml is None:
        row.density_g_per_ml = food.density
    if row.avg_weight_per_unit_g is None:
        row.avg_weight_per_unit_g = food.piece_weight


def _measures(id: int, food: CatalogueFood) -> list[IngredientMeasure]:
    return [
        IngredientMeasure(ingredient_id=id, unit_code=code, grams=grams)
        for code, grams in food.measures.items()
    ]


def _described(id: int, food: CatalogueFood) -> list[Food]:
    row = Food(
        ingredient_id=id,
        aliases=dict(food.aliases),
        pantry_days=food.shelf_life["pantry"],
        fridge_days=food.shelf_life["fridge"],
        freezer_days=food.shelf_life["freezer"],
        allergens=food.allergens,
        nutrition=dict(food.nutrition),
        source=food.source,
    )
    return [row]


def _link_other_names(rows: Mapping[str, Ingredient]) -> None:
    """Link other names to their food: "Tomatoes" of an adopted database to "tomato"."""
    for lower_name, row in rows.items():
        food_name = name_index().same(lower_name)
        if food_name is None or food_name == lower_name or row.food_id is not None:
            continue
        food = rows[food_name.lower()]
        if food.id != row.id:
            copy_facts(row, food)


def copy_facts(row: Ingredient, food: Ingredient) -> None:
    """Make the row another name of the food, and copy the facts that the row lacks."""
    row.food_id = food.id
    row.category = row.category or food.category
    if row.canonical_unit_type is None and row.canonical_unit is None:
        row.canonical_unit_type, row.canonical_unit = food.canonical_unit_type, food.canonical_unit
    if row.density_g_per_ml is None:
        row.density_g_per_ml = food.density_g_per_ml
    if row.avg_weight_per_unit_g is None:
        row.avg_weight_per_unit_g = food.avg_weight_per_unit_g
