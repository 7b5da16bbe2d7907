from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.web.pagination import CurrentListQuery, with_next_link
from freshly.chassis.web.schemas import Id
from freshly.domains.ingredients.errors import (
    IngredientExists,
    IngredientInUse,
    IngredientNotFound,
    NotYourIngredient,
    UnitNotFound,
)
from freshly.domains.ingredients.models import Ingredient, UnitRow
from freshly.domains.ingredients.schemas import (
    FoodRead,
    IngredientCreate,
    IngredientRead,
    IngredientUpdate,
    UnitRead,
)
from freshly.domains.ingredients.service import IngredientService

router = APIRouter(tags=["ingredients"])

Ingredients = Injected[IngredientService]


@router.get(
    "/ingredients", response_model=list[IngredientRead], summary="List the ingredients, by name"
)
async def list_ingredients(
    ingredients: Ingredients, query: CurrentListQuery, request: Request, response: Response
) -> Sequence[Ingredient]:
    return with_next_link(request, response, await ingredients.page(query))


@router.post(
    "/ingredients",
    status_code=201,
    response_model=IngredientRead,
    responses=problems(IngredientExists),
    summary="Add an ingredient",
)
async def create_ingredient(ingredients: Ingredients, new: IngredientCreate) -> Ingredient:
    return await ingredients.create(new)


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
    responses=problems(IngredientNotFound, NotYourIngredient, IngredientExists),
    summary="Update an ingredient that only I use",
)
async def update_ingredient(
    ingredients: Ingredients, id: Id, update: IngredientUpdate
) -> Ingredient:
    return await ingredients.update(id, update)


@router.delete(
    "/ingredients/{id}",
    status_code=204,
    responses=problems(IngredientNotFound, NotYourIngredient, IngredientInUse),
    summary="Delete an ingredient that only I use",
)
async def remove_ingredient(ingredients: Ingredients, id: Id) -> None:
    await ingredients.remove(id)


@router.get("/units", response_model=list[UnitRead], summary="List the units")
async def list_units(ingredients: Ingredients) -> Sequence[UnitRow]:
    return await ingredients.units()


@router.get(
    "/units/{id}", response_model=UnitRead, responses=problems(UnitNotFound), summary="Get a unit"
)
async def read_unit(ingredients: Ingredients, id: Id) -> UnitRow:
    return await ingredients.unit(id)
