from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from freshly.chassis.data.pagination import PageRows
from freshly.chassis.data.transactions import Session
from freshly.chassis.dependencies import Depends, Injected
from freshly.chassis.observability.logging import correlation_id
from freshly.chassis.resources import CurrentSettings
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.client_info import CurrentClientInfo
from freshly.domains.administration.errors import (
    AccountNotFound,
    LastAdministrator,
    NotAnAdministrator,
    UnknownTier,
)
from freshly.domains.administration.models import ActKind, AdministratorAct
from freshly.domains.administration.repository import (
    AccountRepository,
    ActRepository,
    SignUpInvitationRepository,
)
from freshly.domains.administration.schemas import AccountQuery, AccountRead, ActQuery
from freshly.domains.auth.administration import AccountAdministration
from freshly.domains.auth.proof import Proof
from freshly.domains.users.errors import UserNotFound
from freshly.domains.users.models import User
from freshly.domains.users.service import UserDirectory
from freshly.settings import Settings

TIERS = frozenset({"free", "pro"})  # those of the rate limits without overrides


async def _require_administrator(caller: CurrentCaller) -> None:
    if not caller.is_administrator:
        raise NotAnAdministrator


require_administrator = Depends(_require_administrator)


def known_tiers(settings: Settings) -> list[str]:
    """Return the tiers that rate limits name, those of `RATE_LIMIT_OVERRIDES` included."""
    named = {tier for limits in settings.rate_limit_overrides.values() for tier in limits}
    return sorted((TIERS | named) - {"default"})


@dataclass(frozen=True)
class Actor:
    """The administrator of an act. A command has none."""

    administrator_id: int | None = None
    address: str | None = None
    session_id: str | None = None


COMMAND = Actor()


@dataclass
class AuditLog:
    """Records the acts of administrators, in the transaction of the act."""

    acts: Injected[ActRepository]

    async def record(
        self,
        kind: ActKind,
        actor: Actor,
        account_id: int | None = None,
        detail: str | None = None,
    ) -> None:
        act = AdministratorAct(
            kind=kind,
            correlation_id=correlation_id.get(),
            by_command=actor is COMMAND,
            administrator_id=actor.administrator_id,
            account_id=account_id,
            detail=detail,
            address=actor.address,
            session_id=actor.session_id,
        )
        await self.acts.add(act)


@dataclass
class AccountManagement:
    """Changes accounts, for administrators and commands. Its callers check that right."""

    accounts: Injected[AccountRepository]
    users: Injected[UserDirectory]
    changes: Injected[AccountAdministration]
    invitations: Injected[SignUpInvitationRepository]
    audit: Injected[AuditLog]
    settings: CurrentSettings

    @classmethod
    def of(cls, session: Session, settings: Settings) -> Self:
        """Return the service for a transaction that is no request's own."""
        users = UserDirectory(session)
        changes = AccountAdministration.of(session)
        return cls(
            accounts=AccountRepository(session),
            users=users,
            changes=changes,
            invitations=SignUpInvitationRepository(session),
            audit=AuditLog(ActRepository(session)),
            settings=settings,
        )

    async def suspend(self, id: int, actor: Actor) -> None:
        """Let the user in no more. Raise AccountNotFound or LastAdministrator."""
        await self._keep_an_administrator(id)
        await self._change(id, ActKind.SUSPEND, actor, self.changes.suspend)

    async def restore(self, id: int, actor: Actor) -> None:
        """Let the user of a suspended or closed account in again. Raise AccountNotFound."""
        await self._change(id, ActKind.RESTORE, actor, self.changes.restore)

    async def sign_out(self, id: int, actor: Actor) -> None:
        """End all sessions of the user. Raise AccountNotFound."""
        await self._change(id, ActKind.SIGN_OUT, actor, self.changes.sign_out)

    async def set_tier(self, id: int, tier: str, actor: Actor) -> None:
        """Raise AccountNotFound or UnknownTier."""
        known = known_tiers(self.settings)
        if tier not in known:
            raise UnknownTier(tiers=", ".join(known))

        async def change(user: User) -> None:
            await self.changes.set_tier(user, tier)

        await self._change(id, ActKind.SET_TIER, actor, change, tier)

    async def make_administrator(self, id: int, actor: Actor) -> None:
        """Give the right, and end the set-up link. Raise AccountNotFound."""
        await self.invitations.delete_set_up()

        async def change(user: User) -> None:
            await self.changes.set_administrator(user, is_administrator=True)

        await self._change(id, ActKind.MAKE_ADMINISTRATOR, actor, change)

    async def remove_administrator(self, id: int, actor: Actor) -> None:
        """Take the right away. Raise AccountNotFound or LastAdministrator."""
        await self._keep_an_administrator(id)

        async def change(user: User) -> None:
            await self.changes.set_administrator(user, is_administrator=False)

        await self._change(id, ActKind.REMOVE_ADMINISTRATOR, actor, change)

    async def _change(
        self,
        id: int,
        kind: ActKind,
        actor: Actor,
        change: Callable[[User], Awaitable[None]],
        detail: str | None = None,
    ) -> None:
        try:
            user = await self.users.get(id, lock=True)
        except UserNotFound as error:
            raise AccountNotFound from error
        await change(user)
        await self.audit.record(kind, actor, id, detail)

    async def _keep_an_administrator(self, id: int) -> None:
        """Raise LastAdministrator if no other active administrator would remain.

        Lock all of them, so that two administrators cannot suspend each other at the same time.
        """
        active = await self.accounts.active_administrators(lock=True)
        if list(active) == [id]:
            raise LastAdministrator


@dataclass
class AdministratorService:
    """The acts of a signed-in administrator. Each change needs proof that it is them."""

    caller: CurrentCaller
    client_info: CurrentClientInfo
    proof: Injected[Proof]
    accounts: Injected[AccountRepository]
    acts: Injected[ActRepository]
    management: Injected[AccountManagement]

    async def page(self, query: AccountQuery) -> PageRows[Any]:
        return await self.accounts.page(query)

    async def read(self, id: int) -> AccountRead:
        return AccountRead.model_validate(await self.accounts.read(id))

    async def suspend(self, id: int) -> AccountRead:
        await self.management.suspend(id, await self.actor())
        return await self.read(id)

    async def restore(self, id: int) -> AccountRead:
        await self.management.restore(id, await self.actor())
        return await self.read(id)

    async def sign_out(self, id: int) -> AccountRead:
        await self.management.sign_out(id, await self.actor())
        return await self.read(id)

    async def set_tier(self, id: int, tier: str) -> AccountRead:
        await self.management.set_tier(id, tier, await self.actor())
        return await self.read(id)

    async def page_of_acts(self, query: ActQuery) -> PageRows[AdministratorAct]:
        return await self.acts.page(query)

    async def actor(self) -> Actor:
        """Return the caller as the actor of a change. Raise ReauthenticationRequired."""
        await self.proof.require()
        return Actor(self.caller.user_id, self.client_info.address, self.caller.session_id)
