from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from freshly.chassis.data.pagination import BadCursor
from freshly.chassis.dependencies import Injected, direct
from freshly.chassis.errors import problems
from freshly.chassis.web.etags import private_max_age, to_response
from freshly.chassis.web.pagination import (
    LIST_PARAMETERS,
    CurrentListQuery,
    parse_list_query,
    with_next_link,
)
from freshly.chassis.web.schemas import Id
from freshly.domains.families.errors import MemberNotFound, NotAllowed
from freshly.domains.meals.errors import (
    MealNotFound,
    MealNotFoundOrForeign,
    MealToAttachNotFound,
    NotInMealsFamily,
    NotMealsOwner,
    NotYoursToAttach,
)
from freshly.domains.meals.models import Meal
from freshly.domains.meals.schemas import (
    AttachFamily,
    MealBoth,
    MealCreate,
    MealRead,
    MealUpdate,
)
from freshly.domains.meals.service import MealListing, MealService

router = APIRouter(tags=["meals"])

Meals = Injected[MealService]
FIVE_MINUTES = private_max_age(seconds=300)


@router.get(
    "/meals/me",
    response_model=list[MealBoth],
    responses=problems(BadCursor),
    openapi_extra=LIST_PARAMETERS,
    summary="List my meals",
)
@direct
async def list_mine(meals: Injected[MealListing], request: Request) -> Response:
    return to_response(
        request, await meals.page(parse_list_query(request)), FIVE_MINUTES, quoted=False
    )


@router.post(
    "/meals/me",
    status_code=201,
    response_model=MealRead,
    responses=problems(NotInMealsFamily),
    summary="Add a meal",
)
async def create_meal(meals: Meals, new: MealCreate) -> Meal:
    return await meals.create(new)


@router.patch(
    "/meals/me/{id}",
    response_model=MealRead,
    responses=problems(MealNotFoundOrForeign, NotInMealsFamily),
    summary="Update a meal of mine",
)
async def update_mine(meals: Meals, id: Id, update: MealUpdate) -> Meal:
    return await meals.update_own(id, update)


@router.delete(
    "/meals/me/{id}",
    status_code=204,
    responses=problems(MealNotFoundOrForeign),
    summary="Delete a meal of mine",
)
async def remove_mine(meals: Meals, id: Id) -> None:
    await meals.remove_own(id)


@router.put(
    "/meals/{id}",
    responses=problems(MealNotFound, NotMealsOwner, NotInMealsFamily),
    summary="Update a meal",
)
async def update_meal(meals: Meals, id: Id, update: MealUpdate) -> MealBoth:
    return MealBoth.of(await meals.update(id, update))


@router.delete(
    "/meals/{id}",
    status_code=204,
    responses=problems(MealNotFound, NotMealsOwner),
    summary="Delete a meal",
)
async def remove_meal(meals: Meals, id: Id) -> None:
    await meals.remove(id)


@router.post(
    "/meals/{id}/attach-family",
    response_model=MealRead,
    responses=problems(MealToAttachNotFound, NotYoursToAttach, NotInMealsFamily),
    summary="Attach a meal of mine to a family",
)
async def attach_family(meals: Meals, id: Id, given: AttachFamily) -> Meal:
    return await meals.attach(id, given.family_id)


@router.get(
    "/families/{family_id}/members/{user_id}/meals",
    response_model=list[MealRead],
    responses=problems(NotAllowed, MemberNotFound),
    tags=["families"],
    summary="List the meals that a member attached to the family (owner)",
)
async def list_members_meals(
    *,
    meals: Meals,
    family_id: Id,
    user_id: Id,
    query: CurrentListQuery,
    request: Request,
    response: Response,
) -> Sequence[Meal]:
    return with_next_link(request, response, await meals.of_member(family_id, user_id, query))
