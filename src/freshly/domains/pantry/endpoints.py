from fastapi import APIRouter, Request, Response

from freshly.chassis.data.pagination import BadCursor
from freshly.chassis.dependencies import Injected, direct
from freshly.chassis.errors import problems
from freshly.chassis.web.etags import to_response
from freshly.chassis.web.pagination import LIST_PARAMETERS, parse_list_query
from freshly.chassis.web.schemas import Id
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.ingredients.errors import IngredientNotFound, QuantityTooLarge
from freshly.domains.pantry.errors import NotYourPantry, PantryItemNotFound, PersonalItemsOnly
from freshly.domains.pantry.models import PantryItem
from freshly.domains.pantry.pictures import PantryWithPictures
from freshly.domains.pantry.schemas import PantryItemCreate, PantryItemRead, PantryItemUpdate
from freshly.domains.pantry.service import PantryListing, PantryService

router = APIRouter(prefix="/pantry-items", tags=["pantry"])

Pantry = Injected[PantryService]
PantryLists = Injected[PantryListing]


@router.get(
    "/me",
    response_model=list[PantryItemRead],
    responses=problems(BadCursor),
    openapi_extra=LIST_PARAMETERS,
    summary="List my pantry items",
)
@direct
async def list_mine(lists: PantryLists, request: Request) -> Response:
    return to_response(request, await lists.page(None, parse_list_query(request)))


@router.get(
    "/family/{family_id}",
    response_model=list[PantryItemRead],
    responses=problems(NotAFamilyMember),
    openapi_extra=LIST_PARAMETERS,
    summary="List a family's pantry items",
)
async def list_familys(lists: PantryLists, family_id: Id, request: Request) -> Response:
    return to_response(request, await lists.page(family_id, parse_list_query(request)))


@router.get(
    "/{id}",
    response_model=PantryItemRead,
    responses=problems(NotYourPantry, PantryItemNotFound),
    summary="Get a pantry item",
)
async def read_item(pantry: Pantry, id: Id) -> PantryItem:
    return await pantry.get(id)


@router.post(
    "",
    status_code=201,
    response_model=PantryItemRead,
    responses=problems(NotAFamilyMember, IngredientNotFound, QuantityTooLarge),
    summary="Add a pantry item",
)
async def add_item(pantry: Injected[PantryWithPictures], new: PantryItemCreate) -> PantryItem:
    return await pantry.add(new)


@router.post(
    "/me",
    status_code=201,
    response_model=PantryItemRead,
    responses=problems(PersonalItemsOnly, IngredientNotFound, QuantityTooLarge),
    summary="Add an item to my own pantry",
)
async def add_my_item(pantry: Pantry, new: PantryItemCreate) -> PantryItem:
    return await pantry.add_personal(new)


@router.patch(
    "/{id}",
    response_model=PantryItemRead,
    responses=problems(NotYourPantry, PantryItemNotFound, QuantityTooLarge),
    summary="Update a pantry item",
)
async def update_item(pantry: Pantry, id: Id, update: PantryItemUpdate) -> PantryItem:
    return await pantry.update(id, update)


@router.delete(
    "/{id}",
    status_code=204,
    responses=problems(NotYourPantry, PantryItemNotFound),
    summary="Delete a pantry item",
)
async def remove_item(pantry: Pantry, id: Id) -> None:
    await pantry.remove(id)
