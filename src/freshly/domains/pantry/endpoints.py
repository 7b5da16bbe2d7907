from collections.abc import Sequence

from fastapi import APIRouter, Depends, Request, Response

from freshly.chassis.conditional import no_store
from freshly.chassis.errors import problems
from freshly.chassis.injection import Injected
from freshly.chassis.pages import Listed
from freshly.chassis.schemas import Id
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.ingredients.errors import IngredientNotFound, QuantityTooLarge
from freshly.domains.pantry.errors import NotYourPantry, PantryItemNotFound, PersonalItemsOnly
from freshly.domains.pantry.models import PantryItem
from freshly.domains.pantry.schemas import PantryItemCreate, PantryItemRead, PantryItemUpdate
from freshly.domains.pantry.service import PantryService

router = APIRouter(prefix="/pantry-items", tags=["pantry"])

Pantry = Injected[PantryService]


@router.get(
    "/me",
    response_model=list[PantryItemRead],
    dependencies=[Depends(no_store)],
    summary="What I have in the kitchen",
)
async def list_mine(
    pantry: Pantry, query: Listed, request: Request, response: Response
) -> Sequence[PantryItem]:
    return (await pantry.page(None, query)).link(request, response)


@router.get(
    "/family/{family_id}",
    response_model=list[PantryItemRead],
    responses=problems(NotAFamilyMember),
    dependencies=[Depends(no_store)],
    summary="What a family has in the kitchen",
)
async def list_familys(
    pantry: Pantry, family_id: Id, query: Listed, request: Request, response: Response
) -> Sequence[PantryItem]:
    return (await pantry.page(family_id, query)).link(request, response)


@router.get(
    "/{id}",
    response_model=PantryItemRead,
    responses=problems(NotYourPantry, PantryItemNotFound),
    summary="One item",
)
async def read_item(pantry: Pantry, id: Id) -> PantryItem:
    return await pantry.get(id)


@router.post(
    "",
    status_code=201,
    response_model=PantryItemRead,
    responses=problems(NotAFamilyMember, IngredientNotFound, QuantityTooLarge),
    summary="Put something into the kitchen",
)
async def add_item(pantry: Pantry, new: PantryItemCreate) -> PantryItem:
    return await pantry.add(new)


@router.post(
    "/me",
    status_code=201,
    response_model=PantryItemRead,
    responses=problems(PersonalItemsOnly, IngredientNotFound, QuantityTooLarge),
    summary="Put something into my own kitchen",
)
async def add_my_item(pantry: Pantry, new: PantryItemCreate) -> PantryItem:
    return await pantry.add_personal(new)


@router.patch(
    "/{id}",
    response_model=PantryItemRead,
    responses=problems(NotYourPantry, PantryItemNotFound, QuantityTooLarge),
    summary="Change an item",
)
async def update_item(pantry: Pantry, id: Id, update: PantryItemUpdate) -> PantryItem:
    return await pantry.update(id, update)


@router.delete(
    "/{id}",
    status_code=204,
    responses=problems(NotYourPantry, PantryItemNotFound),
    summary="Take an item out of the kitchen",
)
async def remove_item(pantry: Pantry, id: Id) -> None:
    await pantry.remove(id)
