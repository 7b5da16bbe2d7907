"""The facts of a food as they hold for one household: its own, and else the catalogue's."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from freshly.domains.families.access import Owner
from freshly.domains.ingredients.catalogue import PLACES
from freshly.domains.ingredients.measures import FoodFacts
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.ingredients.schemas import FoodRead, IngredientRead, ShelfLife


def effective_facts(rows: Iterable[Ingredient], owner: Owner) -> Mapping[int, FoodFacts]:
    """Return facts by id. The rows are given with their foods and the owner's corrections."""
    by_id = {row.id: row for row in rows}
    corrections = {
        row.food_id: row
        for row in by_id.values()
        if row.food_id in by_id and row.is_owned_by(owner) and row.corrects(by_id[row.food_id])
    }
    facts = {}
    for row in by_id.values():
        food = by_id.get(row.food_id or 0)
        correction = corrections.get(row.base_food_id)
        own = row.facts()
        layers = [other.facts() for other in (correction, food) if other not in (None, row)]
        # A correction of a food of the catalogue wins over the food itself.
        order = [*layers, own] if correction and row.food_id is None else [own, *layers]
        facts[row.id] = replace(_merged(order), kind=own.kind, unit=own.unit)
    return facts


def _merged(layers: list[FoodFacts]) -> FoodFacts:
    """Return each fact from the first layer that has it."""
    measures: dict[str, Decimal] = {}
    for layer in reversed(layers):
        measures.update(layer.measures)
    return FoodFacts(
        density=next((layer.density for layer in layers if layer.density), None),
        piece_weight=next((layer.piece_weight for layer in layers if layer.piece_weight), None),
        measures=measures,
    )


def food_read(row: Ingredient, linked: Ingredient | None) -> FoodRead:
    """Return the row with its data. Facts that it lacks are those of the linked food."""
    food = row.food or (linked.food if linked else None)
    measures = [*(linked.measures if linked else ()), *row.measures]
    read = IngredientRead.model_validate(row).model_dump()
    for fact in ("avg_weight_per_unit_g", "density_g_per_ml"):
        if read[fact] is None and linked is not None:
            read[fact] = getattr(linked, fact)
    days = row.shelf_life or (linked.shelf_life if linked else None)
    if days is None and food is not None:
        days = {place: getattr(food, f"{place}_days") for place in PLACES}
    return FoodRead(
        **read,
        measures={measure.unit_code: float(measure.grams) for measure in measures},
        aliases=food.aliases if food else None,
        shelf_life=ShelfLife(**days) if days else None,
        allergens=food.allergens if food else None,
        nutrition=food.nutrition if food else None,
        source=food.source if food else None,
    )
