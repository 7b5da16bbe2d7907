from fastapi import APIRouter

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.domains.preferences.errors import CalorieRange, FoodNotFound, PreferencesNotSet
from freshly.domains.preferences.models import UserPreference
from freshly.domains.preferences.schemas import PreferenceCreate, PreferenceRead, PreferenceUpdate
from freshly.domains.preferences.service import OwnPreferenceService

router = APIRouter(prefix="/preferences", tags=["preferences"])

Preferences = Injected[OwnPreferenceService]


@router.get(
    "/me",
    response_model=PreferenceRead,
    responses=problems(PreferencesNotSet),
    summary="Get my food preferences",
)
async def read_mine(preferences: Preferences) -> UserPreference:
    return await preferences.read()


@router.post(
    "/me",
    status_code=201,
    response_model=PreferenceRead,
    responses=problems(FoodNotFound),
    summary="Set my food preferences",
)
async def put_mine(preferences: Preferences, given: PreferenceCreate) -> UserPreference:
    return await preferences.put(given)


@router.patch(
    "/me",
    response_model=PreferenceRead,
    responses=problems(PreferencesNotSet, FoodNotFound, CalorieRange),
    summary="Update some of my food preferences",
)
async def update_mine(preferences: Preferences, update: PreferenceUpdate) -> UserPreference:
    return await preferences.update(update)


@router.delete(
    "/me",
    status_code=204,
    responses=problems(PreferencesNotSet),
    summary="Delete my food preferences",
)
async def remove_mine(preferences: Preferences) -> None:
    await preferences.delete()
