from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.web.pagination import CurrentListQuery, with_next_link
from freshly.chassis.web.schemas import Id
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.ingredients.errors import (
    CatalogueIsReadOnly,
    IngredientExists,
    IngredientInUse,
    IngredientNotFound,
    IngredientsOfTwoOwners,
    MergedIntoItself,
    QuantityTooLarge,
    UnitNotFound,
)
from freshly.domains.ingredients.models import Ingredient, UnitRow
from freshly.domains.ingredients.schemas import (
    FoodRead,
    IngredientCreate,
    IngredientMerge,
    IngredientRead,
    IngredientUpdate,
    UnitRead,
)
from freshly.domains.ingredients.service import IngredientService, OwnFoodService

router = APIRouter(tags=["ingredients"])

Ingredients = Injected[IngredientService]
OwnFoods = Injected[OwnFoodService]


@router.get(
    "/ingredients",
    response_model=list[IngredientRead],
    summary="List the catalogue and my own foods, by name",
)
async def list_ingredients(
    ingredients: Ingredients, query: CurrentListQuery, request: Request, response: Response
) -> Sequence[Ingredient]:
    return with_next_link(request, response, await ingredients.page(query))


@router.post(
    "/ingredients",
    status_code=201,
    response_model=IngredientRead,
    responses=problems(IngredientExists, NotAFamilyMember, QuantityTooLarge),
    summary="Add a food of my own or of my family",
)
async def create_ingredient(foods: OwnFoods, new: IngredientCreate) -> Ingredient:
    return await foods.create(new)


@router.get(
    "/ingredients/{id}",
    responses=problems(IngredientNotFound),
    summary="Get an ingredient with its food data",
)
async def read_ingredient(ingredients: Ingredients, id: Id) -> FoodRead:
    return await ingredients.read(id)


@router.patch(
    "/ingredients/{id}",
    response_model=IngredientRead,
    responses=problems(IngredientNotFound, CatalogueIsReadOnly, IngredientExists, QuantityTooLarge),
    summary="Update a food of my own or of my family",
)
async def update_ingredient(foods: OwnFoods, id: Id, update: IngredientUpdate) -> Ingredient:
    return await foods.update(id, update)


@router.delete(
    "/ingredients/{id}",
    status_code=204,
    responses=problems(IngredientNotFound, CatalogueIsReadOnly, IngredientInUse, QuantityTooLarge),
    summary="Delete a food of my own or of my family",
)
async def remove_ingredient(foods: OwnFoods, id: Id) -> None:
    await foods.remove(id)


@router.post(
    "/ingredients/{id}/merge",
    response_model=IngredientRead,
    responses=problems(
        *(IngredientNotFound, CatalogueIsReadOnly, IngredientsOfTwoOwners, MergedIntoItself),
        QuantityTooLarge,
    ),
    summary="Merge a food into another one, which then has both names",
)
async def merge_ingredient(foods: OwnFoods, id: Id, merge: IngredientMerge) -> Ingredient:
    return await foods.merge(id, merge.into_id)


@router.get("/units", response_model=list[UnitRead], summary="List the units")
async def list_units(ingredients: Ingredients) -> Sequence[UnitRow]:
    return await ingredients.units()


@router.get(
    "/units/{id}", response_model=UnitRead, responses=problems(UnitNotFound), summary="Get a unit"
)
async def read_unit(ingredients: Ingredients, id: Id) -> UnitRow:
    return await ingredients.unit(id)
