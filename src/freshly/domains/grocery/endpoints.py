from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request, Response

from freshly.chassis.data.pagination import BadCursor
from freshly.chassis.dependencies import Injected, direct
from freshly.chassis.errors import problems
from freshly.chassis.ports.llm import MODEL_ERRORS
from freshly.chassis.rate_limits.policy import RateLimited
from freshly.chassis.resilience.client_disconnect import cancel_on_disconnect
from freshly.chassis.web.etags import no_store, to_response
from freshly.chassis.web.pagination import parse_query, query_parameters
from freshly.chassis.web.schemas import Id
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.grocery.errors import (
    ItemNotFound,
    ListAccessDenied,
    ListFull,
    ListHasNoPlan,
    ListNotFound,
    ListOfAnotherPlan,
    MealToAddNotFound,
    OnlyCreatorSyncs,
    PlanToShopNotFound,
    TooManyNeeds,
)
from freshly.domains.grocery.models import GroceryListItem
from freshly.domains.grocery.schemas import (
    AddedFromMeal,
    AddFromMeal,
    Cleared,
    Explanation,
    GroceryListCreate,
    GroceryListQuery,
    GroceryListRead,
    GroceryListUpdate,
    ItemChoice,
    ItemCreate,
    ItemRead,
    ItemUpdate,
    NormalizedIngredient,
    NormalizeRequest,
    PlanChoice,
    Purchased,
    Rebuilt,
    Synced,
)
from freshly.domains.grocery.service import (
    ExplanationService,
    FromMealService,
    GroceryListing,
    ItemService,
    ListService,
    NormalizeService,
    RebuildService,
    SyncService,
)
from freshly.domains.ingredients.errors import IngredientNotFound, QuantityTooLarge, UnitNotFound
from freshly.domains.meal_plans.errors import MealPlanNotFound

router = APIRouter(prefix="/grocery-lists", tags=["grocery lists"])

Lists = Injected[ListService]
Items = Injected[ItemService]
UNCACHED = [Depends(no_store)]
LIST_ERRORS = (ListAccessDenied, ListNotFound)
ITEM_ERRORS = (ListAccessDenied, ItemNotFound)
GROCERY_LISTS = query_parameters(GroceryListQuery)


@router.get(
    "/me",
    response_model=list[GroceryListRead],
    responses=problems(BadCursor),
    openapi_extra=GROCERY_LISTS,
    summary="List my grocery lists",
)
@direct
async def list_mine(lists: Injected[GroceryListing], request: Request) -> Response:
    return to_response(request, await lists.page(None, parse_query(request, GroceryListQuery)))


@router.get(
    "/family/{family_id}",
    response_model=list[GroceryListRead],
    responses=problems(NotAFamilyMember),
    openapi_extra=GROCERY_LISTS,
    summary="List a family's grocery lists",
)
async def list_familys(
    lists: Injected[GroceryListing], family_id: Id, request: Request
) -> Response:
    return to_response(request, await lists.page(family_id, parse_query(request, GroceryListQuery)))


@router.post(
    "",
    status_code=201,
    responses=problems(NotAFamilyMember, MealPlanNotFound),
    dependencies=UNCACHED,
    summary="Create a grocery list",
)
async def create_list(lists: Lists, new: GroceryListCreate) -> GroceryListRead:
    return await lists.create(new)


@router.post(
    "/add-from-recipe",
    responses=problems(ListFull, MealToAddNotFound, NotAFamilyMember, *LIST_ERRORS),
    summary="Add the ingredients of a meal to a list",
)
async def add_from_meal(from_meal: Injected[FromMealService], new: AddFromMeal) -> AddedFromMeal:
    return await from_meal.add(new)


@router.post(
    "/rebuild-from-meal-plan/{plan_id}",
    responses=problems(ListFull, PlanToShopNotFound, TooManyNeeds),
    dependencies=UNCACHED,
    summary="Rebuild the list of a plan: what the pantry lacks",
)
async def rebuild(rebuilding: Injected[RebuildService], plan_id: Id) -> Rebuilt:
    return await rebuilding.rebuild(plan_id)


@router.post(
    "/ingredients/normalize",
    responses=problems(RateLimited, *MODEL_ERRORS),
    summary="Recognize food and quantity in a written line",
)
async def normalize(
    request: Request, normalizing: Injected[NormalizeService], given: NormalizeRequest
) -> NormalizedIngredient:
    return await cancel_on_disconnect(request, normalizing.normalize(given.raw_text))


@router.get(
    "/items/{id}", response_model=ItemRead, responses=problems(*ITEM_ERRORS), summary="Get an item"
)
async def read_item(items: Items, id: Id) -> GroceryListItem:
    return await items.get(id)


@router.patch(
    "/items/{id}",
    response_model=ItemRead,
    responses=problems(ListFull, *ITEM_ERRORS, UnitNotFound),
    summary="Update an item",
)
async def update_item(items: Items, id: Id, update: ItemUpdate) -> GroceryListItem:
    return await items.update(id, update)


@router.delete(
    "/items/{id}", status_code=204, responses=problems(*ITEM_ERRORS), summary="Delete an item"
)
async def remove_item(items: Items, id: Id) -> None:
    await items.remove(id)


@router.post(
    "/items/{id}/check",
    response_model=ItemRead,
    responses=problems(*ITEM_ERRORS),
    summary="Check or uncheck an item",
)
async def toggle_item(items: Items, id: Id) -> GroceryListItem:
    return await items.toggle(id)


@router.post(
    "/items/{id}/mark-purchased",
    responses=problems(*ITEM_ERRORS, QuantityTooLarge),
    summary="Mark an item as purchased and add it to the pantry",
)
@router.post(
    "/items/{id}/purchased",
    responses=problems(*ITEM_ERRORS, QuantityTooLarge),
    summary="Do the same as mark-purchased",
    operation_id="mark_purchased_alias",
)
async def mark_purchased(items: Items, id: Id) -> Purchased:
    return await items.mark_purchased(id)


@router.get("/{id}", responses=problems(*LIST_ERRORS), summary="Get a grocery list")
async def read_list(lists: Lists, id: Id) -> GroceryListRead:
    return await lists.read(id)


@router.patch(
    "/{id}", responses=problems(*LIST_ERRORS, MealPlanNotFound), summary="Update a grocery list"
)
async def update_list(lists: Lists, id: Id, update: GroceryListUpdate) -> GroceryListRead:
    return await lists.update(id, update)


@router.delete(
    "/{id}", status_code=204, responses=problems(*LIST_ERRORS), summary="Delete a grocery list"
)
async def remove_list(lists: Lists, id: Id) -> None:
    await lists.remove(id)


@router.post(
    "/{id}/items",
    status_code=201,
    response_model=ItemRead,
    responses=problems(ListFull, *LIST_ERRORS, IngredientNotFound, UnitNotFound),
    summary="Add an item",
)
async def add_item(items: Items, id: Id, new: ItemCreate) -> GroceryListItem:
    return await items.add(id, new)


@router.delete(
    "/{id}/items/checked", responses=problems(*LIST_ERRORS), summary="Delete the checked items"
)
async def remove_checked(items: Items, id: Id) -> Cleared:
    return await items.remove_checked(id)


@router.post(
    "/{id}/sync-pantry",
    responses=problems(OnlyCreatorSyncs, *LIST_ERRORS),
    dependencies=UNCACHED,
    summary="Subtract what the pantry has",
)
async def sync_pantry(syncing: Injected[SyncService], id: Id) -> Synced:
    return await syncing.sync(id)


@router.get(
    "/{id}/explanation",
    responses=problems(*LIST_ERRORS),
    dependencies=UNCACHED,
    summary="Explain why each item is on the list",
)
async def explain(explaining: Injected[ExplanationService], id: Id) -> Explanation:
    return await explaining.explain(id)


@router.post(
    "/{id}/rebuild-from-meal-plan",
    responses=problems(
        *(ListFull, ListHasNoPlan, ListOfAnotherPlan, PlanToShopNotFound, TooManyNeeds),
        *LIST_ERRORS,
    ),
    dependencies=UNCACHED,
    summary="Rebuild a list from its plan",
)
async def rebuild_list(
    rebuilding: Injected[RebuildService],
    id: Id,
    choice: Annotated[PlanChoice | None, Body()] = None,
) -> Rebuilt:
    return await rebuilding.rebuild_list(id, choice.meal_plan_id if choice else None)


@router.post(
    "/{id}/remove-item",
    status_code=204,
    responses=problems(*ITEM_ERRORS),
    summary="Delete an item, named in the body",
)
@router.delete(
    "/{id}/remove-item",
    status_code=204,
    responses=problems(*ITEM_ERRORS),
    summary="Delete an item, named in the body",
    operation_id="remove_item_by_list_delete",
)
async def remove_item_by_list(items: Items, id: Id, choice: ItemChoice) -> None:
    await items.remove(choice.item_id, id)


@router.delete(
    "/{id}/remove-item/{item_id}",
    status_code=204,
    responses=problems(*ITEM_ERRORS),
    summary="Delete an item of a list",
)
async def remove_item_of_list(items: Items, id: Id, item_id: Id) -> None:
    await items.remove(item_id, id)
