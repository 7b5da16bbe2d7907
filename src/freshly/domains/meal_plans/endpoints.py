from fastapi import APIRouter, Request, Response

from freshly.chassis.data.pagination import BadCursor
from freshly.chassis.dependencies import Injected, direct
from freshly.chassis.errors import problems
from freshly.chassis.web.etags import private_max_age, to_response
from freshly.chassis.web.pagination import LIST_PARAMETERS, parse_list_query
from freshly.chassis.web.schemas import Id
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.meal_plans.errors import (
    MealPlannedTwice,
    MealPlanNotFound,
    MealPlanNotFoundOrForeign,
    NotAllowedOnPlan,
    SlotNotFound,
    WeekEndsBeforeItStarts,
)
from freshly.domains.meal_plans.models import MealPlan
from freshly.domains.meal_plans.schemas import (
    Day,
    MealPlanCreate,
    MealPlanRead,
    MealPlanUpdate,
    PersonalMealPlanCreate,
    SlotName,
    SlotRead,
    SlotWrite,
)
from freshly.domains.meal_plans.service import MealPlanListing, MealPlanService, PlannedMealService
from freshly.domains.meals.errors import MealNotFound
from freshly.domains.meals.schemas import MealBoth

router = APIRouter(tags=["meal plans"])

Plans = Injected[MealPlanService]
Lists = Injected[MealPlanListing]
FIVE_MINUTES = private_max_age(seconds=300)


@router.get(
    "/meal-plans/me",
    response_model=list[MealPlanRead],
    responses=problems(BadCursor),
    openapi_extra=LIST_PARAMETERS,
    summary="List the plans I made",
)
@direct
async def list_mine(plans: Lists, request: Request) -> Response:
    return to_response(
        request, await plans.page(None, parse_list_query(request)), FIVE_MINUTES, quoted=False
    )


@router.post(
    "/meal-plans/me",
    status_code=201,
    response_model=MealPlanRead,
    responses=problems(WeekEndsBeforeItStarts),
    summary="Create a plan of my own",
)
async def create_mine(plans: Plans, new: PersonalMealPlanCreate) -> MealPlan:
    return await plans.create_personal(new)


@router.patch(
    "/meal-plans/me/{id}",
    response_model=MealPlanRead,
    responses=problems(MealPlanNotFoundOrForeign, WeekEndsBeforeItStarts),
    summary="Update a plan I made",
)
async def update_mine(plans: Plans, id: Id, update: MealPlanUpdate) -> MealPlan:
    return await plans.update_own(id, update)


@router.delete(
    "/meal-plans/me/{id}",
    status_code=204,
    responses=problems(MealPlanNotFoundOrForeign),
    summary="Delete a plan I made, but not its grocery lists",
)
async def remove_mine(plans: Plans, id: Id) -> None:
    await plans.remove_own(id)


@router.get(
    "/meal-plans/family/{family_id}",
    response_model=list[MealPlanRead],
    responses=problems(NotAFamilyMember),
    openapi_extra=LIST_PARAMETERS,
    summary="List a family's plans",
)
async def list_familys(plans: Lists, family_id: Id, request: Request) -> Response:
    return to_response(request, await plans.page(family_id, parse_list_query(request)))


@router.post(
    "/meal-plans",
    status_code=201,
    response_model=MealPlanRead,
    responses=problems(NotAFamilyMember, WeekEndsBeforeItStarts),
    summary="Create a plan for a family",
)
async def create_plan(plans: Plans, new: MealPlanCreate) -> MealPlan:
    return await plans.create(new)


@router.get(
    "/meal-plans/{id}",
    response_model=MealPlanRead,
    responses=problems(MealPlanNotFound),
    summary="Get a plan",
)
async def read_plan(plans: Plans, id: Id) -> MealPlan:
    return await plans.get(id)


@router.patch(
    "/meal-plans/{id}",
    response_model=MealPlanRead,
    responses=problems(MealPlanNotFound, NotAllowedOnPlan, WeekEndsBeforeItStarts),
    summary="Update a plan (admin, owner)",
)
async def update_plan(plans: Plans, id: Id, update: MealPlanUpdate) -> MealPlan:
    return await plans.update(id, update)


@router.delete(
    "/meal-plans/{id}",
    status_code=204,
    responses=problems(MealPlanNotFound, NotAllowedOnPlan),
    summary="Delete a plan, but not its grocery lists (admin, owner)",
)
async def remove_plan(plans: Plans, id: Id) -> None:
    await plans.remove(id)


@router.get(
    "/meal-plans/{id}/slots",
    responses=problems(MealPlanNotFound),
    summary="List the slots of a plan with their meals",
)
async def list_slots(plans: Plans, id: Id) -> list[SlotRead]:
    return await plans.list_slots(id)


@router.put(
    "/meal-plans/{id}/slots/{day}/{slot}",
    responses=problems(MealPlanNotFound, MealNotFound, MealPlannedTwice),
    summary="Replace the meals of a slot",
)
async def plan_meals(plans: Plans, id: Id, day: Day, slot: SlotName, new: SlotWrite) -> SlotRead:
    return await plans.plan_meals(id, day, slot, new)


@router.delete(
    "/meal-plans/{id}/slots/{day}/{slot}",
    status_code=204,
    responses=problems(MealPlanNotFound, SlotNotFound),
    summary="Clear a slot",
)
async def clear_slot(plans: Plans, id: Id, day: Day, slot: SlotName) -> None:
    await plans.clear_slot(id, day, slot)


# This route needs the plans, which the domain of the meals does not know.
@router.get(
    "/meals/{id}",
    responses=problems(MealNotFound),
    tags=["meals"],
    summary="Get a meal: my own, of my family, or on a plan of my family",
)
async def read_meal(meals: Injected[PlannedMealService], id: Id) -> MealBoth:
    return await meals.read(id)
