"""What happened to an account: written with what happened, in the same unit of work.

It stands in the lowest domain, so that every other one can write it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from freshly.chassis.data.pagination import PageQuery, PageRows
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.observability.logging import correlation_id
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.client_info import CurrentClientInfo
from freshly.domains.users.models import Activity, ActivityKind, Outcome
from freshly.domains.users.repository import ActivityRepository

# The database refuses to lose anything younger: see the migration `account`.
KEPT_FOR = timedelta(days=365)


@dataclass
class ActivityLog:
    session: DbSession
    client_info: CurrentClientInfo

    async def record(self, kind: ActivityKind, user_id: int, **facts: Any) -> None:
        """What this person did, from where, and in which session."""
        known = {**self._from_where(), "session_id": self.client_info.session_id}
        await self._log.add(_activity(kind, user_id, **{**known, **facts}))

    async def record_for_other(
        self, kind: ActivityKind, user_id: int, by: int, **facts: Any
    ) -> None:
        """What somebody else did to this person, whom it tells nothing of where that one was."""
        await self._log.add(_activity(kind, user_id, other_user_id=by, **facts))

    async def record_denied(self, kind: ActivityKind, user_id: int | None, **facts: Any) -> None:
        """Of an account that there is not nothing is kept, which takes the same time."""
        known = {**self._from_where(), "outcome": Outcome.REFUSED}
        refused = _activity(kind, user_id, **known, **facts)
        await self._log.add_alike(refused, keep=user_id is not None)

    async def note_deletion(self) -> None:
        """For the operator: that there was one, by the correlation id; nothing says whose."""
        await self._log.add(_activity(ActivityKind.ACCOUNT_DELETED, None))

    @property
    def _log(self) -> ActivityRepository:
        return ActivityRepository(self.session)

    def _from_where(self) -> dict[str, Any]:
        return {"address": self.client_info.address, "user_agent": self.client_info.user_agent}


def _activity(kind: ActivityKind, user_id: int | None, **facts: Any) -> Activity:
    return Activity(kind=kind, user_id=user_id, correlation_id=correlation_id.get(), **facts)


@dataclass
class ActivityService:
    caller: CurrentCaller
    activities: Injected[ActivityRepository]

    async def page(self, query: PageQuery) -> PageRows[Activity]:
        return await self.activities.page(self.caller.user_id, query)


async def purge(session: DbSession) -> bool:
    """Drops some of what is older than a year; whether there may be more."""
    return await ActivityRepository(session).purge(KEPT_FOR)
