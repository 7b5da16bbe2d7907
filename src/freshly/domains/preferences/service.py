from dataclasses import dataclass

from freshly.chassis.injection import Injected
from freshly.domains.preferences.models import UserPreference
from freshly.domains.preferences.repository import PreferenceRepository
from freshly.domains.preferences.schemas import PreferenceCreate


@dataclass
class PreferenceService:
    preferences: Injected[PreferenceRepository]

    async def begin(self, user_id: int, given: PreferenceCreate | None) -> UserPreference:
        """What everybody has from the first day: the given preferences, or the defaults."""
        values = (given or PreferenceCreate()).model_dump()
        return await self.preferences.save(UserPreference(user_id=user_id, **values))

    async def of(self, user_id: int) -> UserPreference:
        return await self.preferences.of(user_id)

    async def mentioned_by_others(self, ingredient_id: int, user_id: int) -> bool:
        """Does anybody else avoid or dislike this ingredient?"""
        return await self.preferences.mentioned_by_others(ingredient_id, user_id)
