from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.web.pagination import next_link
from freshly.chassis.web.schemas import Id
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.recipes.errors import DietTagNotFound, NotRecipesKeeper, RecipeNotFound
from freshly.domains.recipes.models import DietTag, Recipe
from freshly.domains.recipes.schemas import (
    DietTagRead,
    RecipeCreate,
    RecipeQuery,
    RecipeRead,
    RecipeUpdate,
)
from freshly.domains.recipes.service import DietTagService, RecipeService

router = APIRouter(tags=["recipes"])

Recipes = Injected[RecipeService]
DietTags = Injected[DietTagService]


@router.get(
    "/recipes",
    response_model=list[RecipeRead],
    responses=problems(NotAFamilyMember),
    summary="List recipes of my families, by title",
)
async def list_recipes(
    request: Request,
    response: Response,
    recipes: Recipes,
    query: Annotated[RecipeQuery, Query()],
) -> Sequence[Recipe]:
    rows, has_more = await recipes.page(query)
    if has_more:
        response.headers["Link"] = next_link(request, offset=query.offset + len(rows))
    return rows


@router.post(
    "/recipes",
    status_code=201,
    response_model=RecipeRead,
    responses=problems(NotAFamilyMember),
    summary="Add a recipe to a family",
)
async def create_recipe(recipes: Recipes, new: RecipeCreate) -> Recipe:
    return await recipes.create(new)


@router.get(
    "/recipes/{id}",
    response_model=RecipeRead,
    responses=problems(RecipeNotFound),
    summary="Get a recipe",
)
async def read_recipe(recipes: Recipes, id: Id) -> Recipe:
    return await recipes.get(id)


@router.patch(
    "/recipes/{id}",
    response_model=RecipeRead,
    responses=problems(RecipeNotFound, NotRecipesKeeper),
    summary="Update a recipe (author, admin, owner)",
)
async def update_recipe(recipes: Recipes, id: Id, update: RecipeUpdate) -> Recipe:
    return await recipes.update(id, update)


@router.delete(
    "/recipes/{id}",
    status_code=204,
    responses=problems(RecipeNotFound, NotRecipesKeeper),
    summary="Delete a recipe (author, admin, owner)",
)
async def delete_recipe(recipes: Recipes, id: Id) -> None:
    await recipes.delete(id)


@router.get("/diet-tags", response_model=list[DietTagRead], summary="List the diet tags")
async def list_diet_tags(tags: DietTags) -> Sequence[DietTag]:
    return await tags.all()


@router.get(
    "/diet-tags/{id}",
    response_model=DietTagRead,
    responses=problems(DietTagNotFound),
    summary="Get a diet tag",
)
async def read_diet_tag(tags: DietTags, id: Id) -> DietTag:
    return await tags.get(id)
