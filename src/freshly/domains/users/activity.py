"""The activity log of accounts, written in the transaction that makes the change.

It is in the lowest domain, so that every other domain can write to it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from freshly.chassis.data.pagination import PageQuery, PageRows
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.observability.logging import correlation_id
from freshly.chassis.observability.metrics import account_events
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.client_info import CurrentClientInfo
from freshly.domains.users.models import Activity, ActivityKind, Outcome
from freshly.domains.users.repository import ActivityRepository

# The database refuses to delete younger rows: see the triggers of the migration `account`.
KEPT_FOR = timedelta(days=365)


@dataclass
class ActivityLog:
    session: DbSession
    client_info: CurrentClientInfo

    async def record(self, kind: ActivityKind, user_id: int, **facts: Any) -> None:
        """Record what a user did, with the client's address and session."""
        account_events.labels(kind.value, "done").inc()
        known = {**self._client_facts(), "session_id": self.client_info.session_id}
        await self._log.add(_activity(kind, user_id, **{**known, **facts}))

    async def record_for_other(
        self, kind: ActivityKind, user_id: int, by: int, **facts: Any
    ) -> None:
        """Record what the user `by` did to this user, without the address of `by`."""
        await self._log.add(_activity(kind, user_id, other_user_id=by, **facts))

    async def record_denied(self, kind: ActivityKind, user_id: int | None, **facts: Any) -> None:
        """Record a refused attempt.

        For unknown accounts, run the same statements but store nothing, so that timing does not
        reveal whether the account exists.
        """
        account_events.labels(kind.value, "refused").inc()
        known = {**self._client_facts(), "outcome": Outcome.REFUSED}
        refused = _activity(kind, user_id, **known, **facts)
        await self._log.add_or_discard(refused, keep=user_id is not None)

    async def record_deletion(self) -> None:
        """Record a deletion for the operator, by correlation id and without the user."""
        await self._log.add(_activity(ActivityKind.ACCOUNT_DELETED, None))

    @property
    def _log(self) -> ActivityRepository:
        return ActivityRepository(self.session)

    def _client_facts(self) -> dict[str, Any]:
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
    """Delete one batch of rows that are older than a year. Return True if there may be more."""
    return await ActivityRepository(session).purge(KEPT_FOR)
