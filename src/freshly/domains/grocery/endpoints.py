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
    ListHasNoPlan,
    ListNotFound,
    MealToAddNotFound,
    OnlyCreatorSyncs,
    PlanToShopNotFound,
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
    summary="My lists",
)
@direct
async def list_mine(lists: Injected[GroceryListing], request: Request) -> Response:
    return to_response(request, await lists.page(None, parse_query(request, GroceryListQuery)))


@router.get(
    "/family/{family_id}",
    response_model=list[GroceryListRead],
    responses=problems(NotAFamilyMember),
    openapi_extra=GROCERY_LISTS,
    summary="A family's lists",
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
    summary="Begin a list",
)
async def create_list(lists: Lists, new: GroceryListCreate) -> GroceryListRead:
    return await lists.create(new)


@router.post(
    "/add-from-recipe",
    responses=problems(MealToAddNotFound, NotAFamilyMember, *LIST_ERRORS),
    summary="Put the ingredients of a meal on a list",
)
async def add_from_meal(from_meal: Injected[FromMealService], new: AddFromMeal) -> AddedFromMeal:
    return await from_meal.add(new)


@router.post(
    "/rebuild-from-meal-plan/{plan_id}",
    responses=problems(PlanToShopNotFound),
    dependencies=UNCACHED,
    summary="What a plan needs and the kitchen does not have",
)
async def rebuild(rebuilding: Injected[RebuildService], plan_id: Id) -> Rebuilt:
    return await rebuilding.rebuild(plan_id)


@router.post(
    "/ingredients/normalize",
    responses=problems(RateLimited, *MODEL_ERRORS),
    summary="A written line, read by the assistant: which food, how much",
)
async def normalize(
    request: Request, normalizing: Injected[NormalizeService], given: NormalizeRequest
) -> NormalizedIngredient:
    return await cancel_on_disconnect(request, normalizing.normalize(given.raw_text))


@router.get(
    "/items/{id}", response_model=ItemRead, responses=problems(*ITEM_ERRORS), summary="One line"
)
async def read_item(items: Items, id: Id) -> GroceryListItem:
    return await items.get(id)


@router.patch(
    "/items/{id}",
    response_model=ItemRead,
    responses=problems(*ITEM_ERRORS, UnitNotFound),
    summary="Change a line",
)
async def update_item(items: Items, id: Id, update: ItemUpdate) -> GroceryListItem:
    return await items.update(id, update)


@router.delete(
    "/items/{id}", status_code=204, responses=problems(*ITEM_ERRORS), summary="Drop a line"
)
async def remove_item(items: Items, id: Id) -> None:
    await items.remove(id)


@router.post(
    "/items/{id}/check",
    response_model=ItemRead,
    responses=problems(*ITEM_ERRORS),
    summary="Tick a line off, or on again",
)
async def toggle_item(items: Items, id: Id) -> GroceryListItem:
    return await items.toggle(id)


@router.post(
    "/items/{id}/mark-purchased",
    responses=problems(*ITEM_ERRORS, QuantityTooLarge),
    summary="Bought: it goes to the pantry",
)
@router.post(
    "/items/{id}/purchased",
    responses=problems(*ITEM_ERRORS, QuantityTooLarge),
    summary="The same as mark-purchased",
    operation_id="mark_purchased_alias",
)
async def mark_purchased(items: Items, id: Id) -> Purchased:
    return await items.mark_purchased(id)


@router.get("/{id}", responses=problems(*LIST_ERRORS), summary="One list")
async def read_list(lists: Lists, id: Id) -> GroceryListRead:
    return await lists.read(id)


@router.patch("/{id}", responses=problems(*LIST_ERRORS, MealPlanNotFound), summary="Change a list")
async def update_list(lists: Lists, id: Id, update: GroceryListUpdate) -> GroceryListRead:
    return await lists.update(id, update)


@router.delete("/{id}", status_code=204, responses=problems(*LIST_ERRORS), summary="Drop a list")
async def remove_list(lists: Lists, id: Id) -> None:
    await lists.remove(id)


@router.post(
    "/{id}/items",
    status_code=201,
    response_model=ItemRead,
    responses=problems(*LIST_ERRORS, IngredientNotFound, UnitNotFound),
    summary="Add a line",
)
async def add_item(items: Items, id: Id, new: ItemCreate) -> GroceryListItem:
    return await items.add(id, new)


@router.delete(
    "/{id}/items/checked", responses=problems(*LIST_ERRORS), summary="Drop what is ticked off"
)
async def remove_checked(items: Items, id: Id) -> Cleared:
    return await items.remove_checked(id)


@router.post(
    "/{id}/sync-pantry",
    responses=problems(OnlyCreatorSyncs, *LIST_ERRORS),
    dependencies=UNCACHED,
    summary="Take off what the kitchen has",
)
async def sync_pantry(syncing: Injected[SyncService], id: Id) -> Synced:
    return await syncing.sync(id)


@router.get(
    "/{id}/explanation",
    responses=problems(*LIST_ERRORS),
    dependencies=UNCACHED,
    summary="Why each line is on the list",
)
async def explain(explaining: Injected[ExplanationService], id: Id) -> Explanation:
    return await explaining.explain(id)


@router.post(
    "/{id}/rebuild-from-meal-plan",
    responses=problems(ListHasNoPlan, PlanToShopNotFound, *LIST_ERRORS),
    dependencies=UNCACHED,
    summary="Rebuild, by the list",
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
    summary="Drop a line, by the list",
)
@router.delete(
    "/{id}/remove-item",
    status_code=204,
    responses=problems(*ITEM_ERRORS),
    summary="Drop a line, by the list",
    operation_id="remove_item_by_list_delete",
)
async def remove_item_by_list(items: Items, id: Id, choice: ItemChoice) -> None:
    await items.remove(choice.item_id, id)
