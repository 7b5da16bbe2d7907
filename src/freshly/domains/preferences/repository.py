from dataclasses import dataclass

from sqlalchemy import exists, or_, select

from freshly.chassis.data.functions import contains_id
from freshly.chassis.data.transactions import DbSession
from freshly.domains.preferences.errors import PreferencesNotSet
from freshly.domains.preferences.models import UserPreference


@dataclass
class PreferenceRepository:
    """The preferences of users, a row for each. The services check who may ask."""

    session: DbSession

    async def of(self, user_id: int, *, lock: bool = False) -> UserPreference:
        statement = select(UserPreference).where(UserPreference.user_id == user_id)
        preference = await self.session.scalar(statement.with_for_update() if lock else statement)
        if preference is None:
            raise PreferencesNotSet
        return preference

    async def mentioned_by_others(self, ingredient_id: int, user_id: int) -> bool:
        """Return True if another user avoids or dislikes the ingredient."""
        mentioned = or_(
            contains_id(UserPreference.allergen_ingredient_ids, ingredient_id),
            contains_id(UserPreference.disliked_ingredient_ids, ingredient_id),
        )
        others = exists().where(UserPreference.user_id != user_id, mentioned)
        return bool(await self.session.scalar(select(others)))

    async def save(self, preference: UserPreference) -> UserPreference:
        self.session.add(preference)
        await self.session.flush()
        return preference

    async def delete(self, preference: UserPreference) -> None:
        await self.session.delete(preference)
        await self.session.flush()
