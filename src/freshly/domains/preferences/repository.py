from collections.abc import Iterable
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

    async def mention(self, ingredient_ids: Iterable[int], user_ids: Iterable[int]) -> bool:
        """Return True if one of the users avoids or dislikes one of the ingredients."""
        columns = UserPreference.allergen_ingredient_ids, UserPreference.disliked_ingredient_ids
        mentioned = or_(*(contains_id(column, one) for one in ingredient_ids for column in columns))
        of_users = UserPreference.user_id.in_(list(user_ids))
        return bool(await self.session.scalar(select(exists().where(of_users, mentioned))))

    async def save(self, preference: UserPreference) -> UserPreference:
        self.session.add(preference)
        await self.session.flush()
        return preference

    async def delete(self, preference: UserPreference) -> None:
        await self.session.delete(preference)
        await self.session.flush()
