from collections.abc import Iterable
from dataclasses import dataclass

from freshly.chassis.data.events import EventBus
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.web.schemas import assign, changes
from freshly.domains.preferences.errors import CalorieRange, PreferencesNotSet
from freshly.domains.preferences.events import FoodsNamed
from freshly.domains.preferences.models import UserPreference
from freshly.domains.preferences.repository import PreferenceRepository
from freshly.domains.preferences.schemas import PreferenceCreate, PreferenceUpdate

# A POST without these fields keeps their old values. It sets all others to their defaults.
KEPT_WHEN_OMITTED = {
    name
    for name, field in PreferenceCreate.model_fields.items()
    if field.default is None and name != "training_level"
}


@dataclass
class PreferenceService:
    """The preferences of any user, for the domains above, which check who may ask."""

    session: DbSession

    async def begin(self, user_id: int, given: PreferenceCreate | None) -> UserPreference:
        """Insert the preferences of a new user: the given ones, or the defaults.

        The caller publishes FoodsNamed if there are given ones.
        """
        values = (given or PreferenceCreate()).model_dump()
        return await self._preferences.save(UserPreference(user_id=user_id, **values))

    async def of(self, user_id: int) -> UserPreference:
        return await self._preferences.of(user_id)

    async def mention(self, ingredient_ids: Iterable[int], user_ids: Iterable[int]) -> bool:
        """Return True if one of the users avoids or dislikes one of the ingredients."""
        return await self._preferences.mention(ingredient_ids, user_ids)

    @property
    def _preferences(self) -> PreferenceRepository:
        return PreferenceRepository(self.session)


@dataclass
class OwnPreferenceService:
    caller: CurrentCaller
    preferences: Injected[PreferenceRepository]
    events: Injected[EventBus]

    async def read(self) -> UserPreference:
        return await self.preferences.of(self.caller.user_id)

    async def put(self, given: PreferenceCreate) -> UserPreference:
        values = given.model_dump()
        try:
            preference = await self.preferences.of(self.caller.user_id, lock=True)
        except PreferencesNotSet:
            preference = UserPreference(user_id=self.caller.user_id)
        former = preference.ingredient_ids()
        replaced_values = {
            field: value
            for field, value in values.items()
            if value is not None or field not in KEPT_WHEN_OMITTED
        }
        assign(preference, replaced_values)
        return await self._save(preference, former)

    async def update(self, update: PreferenceUpdate) -> UserPreference:
        preference = await self.preferences.of(self.caller.user_id, lock=True)
        values, former = changes(update), preference.ingredient_ids()
        assign(preference, values)
        if not preference.is_athlete:
            preference.training_level = None
        if values.keys() & {"calorie_min", "calorie_max", "calorie_target"}:
            _check_range(preference)
        return await self._save(preference, former)

    async def _save(self, preference: UserPreference, former: frozenset[int]) -> UserPreference:
        """Save, and announce new ingredients. Those of a family that the user left may stay."""
        await self.preferences.save(preference)
        if added := preference.ingredient_ids() - former:
            await self.events.publish(FoodsNamed(preference.user_id, added))
        return preference

    async def delete(self) -> None:
        await self.preferences.delete(await self.preferences.of(self.caller.user_id, lock=True))


def _check_range(preference: UserPreference) -> None:
    low, high, target = (
        preference.calorie_min,
        preference.calorie_max,
        preference.calorie_target,
    )
    too_low = low is not None and target < low
    too_high = high is not None and target > high
    if too_low or too_high:
        raise CalorieRange
