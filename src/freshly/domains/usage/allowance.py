"""The daily allowance of model tokens for users and families."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import anyio

from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.observability.metrics import model_tokens, rate_limited
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
    """The tokens of one call: reserved before it, and corrected after it."""

    day: date
    reserved: dict[Owner, int] = field(default_factory=dict)
    estimated: int = 0
    counted: int | None = None  # by the model's server, if it counts
    is_settled: bool = False

    @property
    def spent(self) -> int:
        return self.estimated if self.counted is None else self.counted


@dataclass
class Allowance:
    """Charges calls to the caller and to the family with their longest membership.

    A question names no family. Charging all families would use up several allowances, and letting
    the client choose would be a way around the limit. Other features use the same family if the
    caller names none.
    """

    caller: CurrentCaller
    access: CurrentAccess
    db: CurrentDatabase
    settings: CurrentSettings
    limiter: Annotated[Limiter, resource(Resources.limiter)]  # its clock

    async def reserve(self, tokens: int) -> UsageCharge:
        """Charge the most that a call may use. Raise RateLimited.

        A call that may use more than a day's limit reserves the limit, so that it succeeds on a
        new day.
        """
        charge = UsageCharge(self.day())
        async with self.db.write() as session:
            usage = UsageRepository(session, self.access)
            await self._check_installation(usage, charge.day, tokens)
            person_limit = self._person_limit(is_confirmed=await usage.is_confirmed())
            for owner, limit in self._owners_to_charge(person_limit):
                reserved = min(tokens, limit) if limit else tokens
                if not await usage.reserve(owner, charge.day, reserved, limit):
                    family = "" if owner.family_id is None else "-family"
                    raise RateLimited(self._rejection(f"chat-tokens{family}", limit))
                charge.reserved[owner] = reserved
        return charge

    async def settle(self, charge: UsageCharge) -> None:
        """Replace the reserved tokens by the spent ones, once. On errors, the reservation stays."""
        if charge.is_settled:
            return
        charge.is_settled = True
        counted_by = "estimate" if charge.counted is None else "server"
        model_tokens.labels(counted_by).inc(charge.spent)
        with anyio.CancelScope(shield=True):
            try:
                async with self.db.write() as session:
                    usage = UsageRepository(session, self.access)
                    for owner, reserved in charge.reserved.items():
                        await usage.correct(owner, charge.day, charge.spent - reserved)
            except Exception:  # the user gets the answer even if the charge cannot be corrected
                logger.exception("tokens stay charged as reserved")

    async def read(self, session: Session) -> UsageRead:
        usage = UsageRepository(session, self.access)
        used = await usage.of_day(self.day())
        person_limit = self._person_limit(is_confirmed=used.is_confirmed)
        family_limit = self.settings.chat_tokens_per_family
        return UsageRead(
            person=TokensRead(**self._limits(used.tokens.get(None, 0), person_limit)),
            families=[
                FamilyTokensRead(
                    **self._limits(used.tokens.get(family_id, 0), family_limit),
                    family_id=family_id,
                    display_name=name,
                    charged=family_id == self.access.first_family,
                )
                for family_id, name in await usage.families()
            ],
        )

    def _person_limit(self, *, is_confirmed: bool) -> int:
        """Return the caller's limit. Anyone can sign up with an address that is not confirmed."""
        limits = [self.settings.chat_tokens_per_person]
        if not is_confirmed:
            limits.append(self.settings.chat_tokens_unconfirmed)
        return min(filter(None, limits), default=0)

    async def _check_installation(self, usage: UsageRepository, day: date, tokens: int) -> None:
        """Raise RateLimited if all users together would exceed the installation's limit.

        Calls that begin at the same moment do not see each other, so they may exceed it together.
        """
        limit = self.settings.chat_tokens_installation
        if limit and await usage.of_all(day) + min(tokens, limit) > limit:
            raise RateLimited(self._rejection("chat-tokens-installation", limit))

    def _owners_to_charge(self, person_limit: int) -> list[tuple[Owner, int]]:
        """Return owners with limits. The user is always first, so that calls cannot deadlock."""
        payers = [(self.access.owner(None), person_limit)]
        if (family := self.access.first_family) is not None:
            payers.append((self.access.owner(family), self.settings.chat_tokens_per_family))
        return payers

    def _rejection(self, group: str, limit: int) -> RateLimitResult:
        rate_limited.labels(group).inc()
        window = Window(limit, DAY)
        resets_in = window.ends_in(self.limiter.clock())
        return RateLimitResult(group, self.caller.tier, "", window, 0, resets_in, allowed=False)

    def day(self) -> date:
        return datetime.fromtimestamp(self.limiter.clock(), UTC).date()

    def _limits(self, used: int, limit: int) -> dict[str, Any]:
        next_day = self.day() + timedelta(days=1)
        midnight = datetime(next_day.year, next_day.month, next_day.day, tzinfo=UTC)
        return {"used": used, "limit": limit or None, "resets_at": midnight}
