"""Writes the units and the catalogue of foods into the database.

It runs with each `migrate` and changes nothing if the catalogue is the same. It only fills in
missing facts.
"""

from freshly.chassis.data.transactions import Session
from freshly.domains.ingredients.catalogue import CatalogueFood, foods, name_index
from freshly.domains.ingredients.models import Food, Ingredient, IngredientMeasure, UnitRow
from freshly.domains.ingredients.repository import CatalogueRepository, UnitRepository
from freshly.domains.ingredients.units import DISPLAY_CODES, UNITS


async def seed(session: Session) -> int:
    """Insert units and foods. Return the number of foods that were added."""
    catalogue = CatalogueRepository(session)
    await _seed_units(UnitRepository(session), catalogue)
    rows = await catalogue.by_lower_name()
    described = await catalogue.ids_with_food()
    new_rows = {
        food.name: Ingredient(name=food.name, category=food.aisle)
        for food in foods()
        if food.name.lower() not in rows
    }
    await catalogue.add(new_rows.values())
    rows |= {name.lower(): row for name, row in new_rows.items()}
    for food in foods():
        row = rows[food.name.lower()]
        if row.id not in described:
            _fill(row, food)
            await catalogue.add([*_measures(row.id, food), _described(row.id, food)])
    for row in await catalogue.unlinked():
        if food_name := name_index().same(row.name):
            link(row, rows[food_name.lower()])
    await catalogue.add([])
    return len(new_rows)


async def _seed_units(repository: UnitRepository, catalogue: CatalogueRepository) -> None:
    known_codes = {unit.code for unit in await repository.all()}
    units = [
        UnitRow(code=u.code, display_name=u.display_name, is_metric=u.is_metric) for u in UNITS
    ]
    units += [
        UnitRow(code=DISPLAY_CODES[u.code], display_name=u.display_name, is_metric=u.is_metric)
        for u in UNITS
        if u.code in DISPLAY_CODES
    ]
    await catalogue.add([unit for unit in units if unit.code not in known_codes])


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


def _described(id: int, food: CatalogueFood) -> Food:
    return Food(
        ingredient_id=id,
        aliases=dict(food.aliases),
        pantry_days=food.shelf_life["pantry"],
        fridge_days=food.shelf_life["fridge"],
        freezer_days=food.shelf_life["freezer"],
        allergens=food.allergens,
        nutrition=dict(food.nutrition),
        source=food.source,
    )


def link(row: Ingredient, food: Ingredient) -> None:
    """Make the row another name of a food of the catalogue: "Tomatoes" of "tomato"."""
    row.food_id = food.id
    row.category = row.category or food.category
    if row.canonical_unit_type is None and row.canonical_unit is None:
        row.canonical_unit_type, row.canonical_unit = food.canonical_unit_type, food.canonical_unit
