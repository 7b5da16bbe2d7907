"""What happened to an account: written with what happened, in the same unit of work.

It stands in the lowest domain, so that every other one can write it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from freshly.chassis.database import DbSession
from freshly.chassis.identity import CurrentCaller
from freshly.chassis.injection import Injected
from freshly.chassis.logging import correlation_id
from freshly.chassis.origin import CurrentOrigin
from freshly.chassis.pages import PageQuery, Slice
from freshly.domains.users.models import Activity, Happened, Outcome
from freshly.domains.users.repository import ActivityRepository

# The database refuses to lose anything younger: see the migration `account`.
KEPT_FOR = timedelta(days=365)


@dataclass
class ActivityLog:
    session: DbSession
    origin: CurrentOrigin

    async def note(self, kind: Happened, user_id: int, **facts: Any) -> None:
        """What this person did, from where, and in which session."""
        known = {
            "address": self.origin.address,
            "user_agent": self.origin.user_agent,
            "session_id": self.origin.session_id,
        }
        await self._add(kind, user_id, **{**known, **facts})

    async def note_of(self, kind: Happened, user_id: int, by: int | None, **facts: Any) -> None:
        """What somebody else did to this person, whom it tells nothing of where that one was."""
        await self._add(kind, user_id, other_user_id=by, **facts)

    async def note_refused(self, kind: Happened, user_id: int | None, **facts: Any) -> None:
        """Of an account that there is not nothing is kept, which takes the same time."""
        await self._add(
            kind,
            user_id,
            keep=user_id is not None,
            outcome=Outcome.REFUSED,
            address=self.origin.address,
            user_agent=self.origin.user_agent,
            **facts,
        )

    async def note_deletion(self) -> None:
        """For the operator: that there was one, by the correlation id; nothing says whose."""
        await self._add(Happened.ACCOUNT_DELETED, None)

    async def _add(
        self, kind: Happened, user_id: int | None, *, keep: bool = True, **facts: Any
    ) -> None:
        activity = Activity(
            kind=kind, user_id=user_id, correlation_id=correlation_id.get(), **facts
        )
        await ActivityRepository(self.session).add(activity, keep=keep)


@dataclass
class ActivityService:
    caller: CurrentCaller
    activities: Injected[ActivityRepository]

    async def page(self, query: PageQuery) -> Slice[Activity]:
        return await self.activities.page(self.caller.user_id, query)


async def purge(session: DbSession) -> bool:
    """Drops some of what is older than a year; whether there may be more."""
    return await ActivityRepository(session).purge(KEPT_FOR)
