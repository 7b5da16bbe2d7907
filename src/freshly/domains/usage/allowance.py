"""How many tokens of the model a person and a family may use in a day."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import anyio

from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.observability.metrics import model_tokens
from freshly.chassis.rate_limits.policy import Limiter, RateLimited, RateLimitResult
from freshly.chassis.rate_limits.windows import DAY, Window
from freshly.chassis.resources import CurrentSettings, Resources, resource
from freshly.chassis.security.caller import CurrentCaller
from freshly.domains.families.access import CurrentAccess, Owner
from freshly.domains.usage.repository import UsageRepository
from freshly.domains.usage.schemas import FamilyTokensRead, TokensRead, UsageRead

logger = get_logger(__name__)


@dataclass
class UsageCharge:
    """What one call may take, which is charged at once, and what it took in the end."""

    day: date
    reserved: dict[Owner, int] = field(default_factory=dict)
    estimated: int = 0
    counted: int | None = None  # by the model's server
    is_settled: bool = False

    @property
    def spent(self) -> int:
        return self.estimated if self.counted is None else self.counted


@dataclass
class Allowance:
    """Of the caller, and of the family that they have been in for the longest.

    A question names no family, so one has to stand for all: were every family charged, a person of
    two would use up both, and the choice would be a way around the limit. It is the one that is
    taken wherever else the caller names none.
    """

    caller: CurrentCaller
    access: CurrentAccess
    db: CurrentDatabase
    settings: CurrentSettings
    limiter: Annotated[Limiter, resource(Resources.limiter)]  # its clock

    async def reserve(self, tokens: int) -> UsageCharge:
        """Charges as much as a call may take. Raises RateLimited.

        More than a day's limit is taken for all of it, so that waiting for the next day helps.
        """
        bill = UsageCharge(self.day())
        async with self.db.write() as session:
            usage = UsageRepository(session, self.access)
            for owner, limit in self._payers():
                taken = min(tokens, limit) if limit else tokens
                if not await usage.take(owner, bill.day, taken, limit):
                    raise RateLimited(self._refusal(owner, limit))
                bill.reserved[owner] = taken
        return bill

    async def settle(self, bill: UsageCharge) -> None:
        """Charges what it was instead, once. What cannot be settled stays charged as reserved."""
        if bill.is_settled:
            return
        bill.is_settled = True
        counted_by = "estimate" if bill.counted is None else "server"
        model_tokens.labels(counted_by).inc(bill.spent)
        with anyio.CancelScope(shield=True):
            try:
                async with self.db.write() as session:
                    usage = UsageRepository(session, self.access)
                    for owner, reserved in bill.reserved.items():
                        await usage.correct(owner, bill.day, bill.spent - reserved)
            except Exception:  # the answer is there: it is not lost for a number
                logger.exception("tokens stay charged as reserved")

    async def read(self, session: Session) -> UsageRead:
        usage = UsageRepository(session, self.access)
        used = await usage.of_day(self.day())
        limits = self.settings
        return UsageRead(
            person=TokensRead(**self._numbers(used.get(None, 0), limits.chat_tokens_per_person)),
            families=[
                FamilyTokensRead(
                    **self._numbers(used.get(family_id, 0), limits.chat_tokens_per_family),
                    family_id=family_id,
                    display_name=name,
                    charged=family_id == self.access.first_family,
                )
                for family_id, name in await usage.families()
            ],
        )

    def _payers(self) -> list[tuple[Owner, int]]:
        """The person always first: two calls that wait for each other's rows would never end."""
        payers = [(self.access.owner(None), self.settings.chat_tokens_per_person)]
        if (family := self.access.first_family) is not None:
            payers.append((self.access.owner(family), self.settings.chat_tokens_per_family))
        return payers

    def _refusal(self, owner: Owner, limit: int) -> RateLimitResult:
        group = "chat-tokens" if owner.family_id is None else "chat-tokens-family"
        window = Window(limit, DAY)
        resets_in = window.ends_in(self.limiter.clock())
        return RateLimitResult(group, self.caller.tier, "", window, 0, resets_in, allowed=False)

    def day(self) -> date:
        return datetime.fromtimestamp(self.limiter.clock(), UTC).date()

    def _numbers(self, used: int, limit: int) -> dict[str, Any]:
        next_day = self.day() + timedelta(days=1)
        midnight = datetime(next_day.year, next_day.month, next_day.day, tzinfo=UTC)
        return {"used": used, "limit": limit or None, "resets_at": midnight}
