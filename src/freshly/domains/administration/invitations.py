"""Invitations to create an account, and the set-up link of the first administrator."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from freshly.chassis.data.pagination import PageQuery, PageRows
from freshly.chassis.data.transactions import Session
from freshly.chassis.dependencies import Injected
from freshly.chassis.resources import CurrentSettings
from freshly.chassis.security.codes import CodeSigner, CurrentCodeSigner, new_seed
from freshly.domains.administration.errors import (
    InvitationInvalid,
    InvitationRequired,
    SignUpClosed,
    SignUpInvitationNotFound,
)
from freshly.domains.administration.models import ActKind, SignUpInvitation
from freshly.domains.administration.repository import (
    AccountRepository,
    SignUpInvitationRepository,
)
from freshly.domains.administration.schemas import (
    SignUpInvitationCreate,
    SignUpInvitationCreated,
    SignUpInvitationRead,
)
from freshly.domains.administration.service import (
    COMMAND,
    AccountManagement,
    Actor,
    AdministratorService,
    AuditLog,
)
from freshly.domains.auth.links import page_url
from freshly.domains.users.models import User
from freshly.domains.users.schemas import normalized
from freshly.settings import Settings

PATH = "/auth/sign-up"
SET_UP_LIFETIME = timedelta(days=1)
SHORTEST_SET_UP = timedelta(hours=1)  # a link that ends sooner is not printed again
ADMINISTRATOR_LIFETIME = timedelta(days=1)


@dataclass
class SignUpInvitations:
    """Creates and uses invitations. Its callers check who may create them."""

    invitations: Injected[SignUpInvitationRepository]
    accounts: Injected[AccountRepository]
    management: Injected[AccountManagement]
    audit: Injected[AuditLog]
    signer: CurrentCodeSigner
    settings: CurrentSettings

    @classmethod
    def of(cls, session: Session, settings: Settings, signer: CodeSigner) -> Self:
        """Return the service for a transaction that is no request's own."""
        management = AccountManagement.of(session, settings)
        return cls(
            invitations=management.invitations,
            accounts=management.accounts,
            management=management,
            audit=management.audit,
            signer=signer,
            settings=settings,
        )

    async def find(self, token: str, *, lock: bool = False) -> SignUpInvitation | None:
        """Return the invitation of a token. Return None if it was used, has ended or is wrong.

        The set-up link works only while there is no active administrator.
        """
        id_ = self.signer.link_id(token)
        found = await self.invitations.get(id_, lock=lock) if id_ else None
        if found is None or not found.is_set_up:
            return found
        return None if await self.accounts.active_administrators() else found

    @staticmethod
    def refuse_without(token: str | None, settings: Settings) -> None:
        """Raise SignUpClosed or InvitationRequired if signing up needs a token.

        It reads no row, so that the answer tells nothing about any address.
        """
        if token is None and settings.allow_signup == "closed":
            raise SignUpClosed
        if token is None and settings.allow_signup == "invitation":
            raise InvitationRequired

    async def admit(self, token: str, email: str) -> SignUpInvitation | None:
        """Return the locked invitation for this address, or None if the token is none of ours.

        Raise SignUpClosed, or InvitationInvalid for an invitation of another address.
        """
        found = await self.find(token, lock=True)
        if self.settings.allow_signup == "closed" and not (found and found.makes_administrator):
            raise SignUpClosed
        if found is not None and found.email not in (None, normalized(email)):
            raise InvitationInvalid
        return found

    async def use(self, invitation: SignUpInvitation, user: User) -> None:
        """Delete the invitation, and give the new user the right that comes with it."""
        await self.invitations.delete(invitation)
        if invitation.makes_administrator:
            await self.management.make_administrator(user.id, COMMAND)  # only commands invite them

    async def create(
        self,
        email: str | None,
        lifetime: timedelta,
        actor: Actor,
        *,
        makes_administrator: bool = False,
        is_set_up: bool = False,
    ) -> SignUpInvitation:
        invitation = await self.invitations.add(
            SignUpInvitation(
                id=new_seed(),
                email=normalized(email) if email else None,
                expires_at=await self.invitations.now() + lifetime,
                makes_administrator=makes_administrator,
                is_set_up=is_set_up,
                created_by_user_id=actor.administrator_id,
            )
        )
        await self.audit.record(ActKind.INVITE, actor, detail=invitation.id)
        return invitation

    async def set_up_link(self) -> str | None:
        """Return the link that creates the first administrator. Return None if there is one.

        A link that is still good is returned again, so that restarts do not pile up links.
        """
        if await self.accounts.active_administrators():
            return None
        link = await self.invitations.set_up()
        if link is None or link.expires_at - await self.invitations.now() < SHORTEST_SET_UP:
            link = await self.create(
                None, SET_UP_LIFETIME, COMMAND, makes_administrator=True, is_set_up=True
            )
        return self.link(link)

    def link(self, invitation: SignUpInvitation) -> str:
        return page_url(self.settings, PATH, self.signer.token(invitation.id))


@dataclass
class InvitationsOfAdministrator:
    """Invitations that a signed-in administrator creates, lists and ends."""

    administrator: Injected[AdministratorService]
    invitations: Injected[SignUpInvitationRepository]
    sign_up: Injected[SignUpInvitations]

    async def create(self, new: SignUpInvitationCreate) -> SignUpInvitationCreated:
        actor = await self.administrator.actor()
        lifetime = timedelta(days=new.days)
        invitation = await self.sign_up.create(new.email, lifetime, actor)
        return SignUpInvitationCreated(
            **SignUpInvitationRead.model_validate(invitation).model_dump(),
            link=self.sign_up.link(invitation),
            token=self.sign_up.signer.token(invitation.id),
        )

    async def page(self, query: PageQuery) -> PageRows[SignUpInvitation]:
        return await self.invitations.page(query)

    async def end(self, id: str) -> None:
        """Raise ReauthenticationRequired or SignUpInvitationNotFound."""
        actor = await self.administrator.actor()
        invitation = await self.invitations.get(id, lock=True)
        if invitation is None or invitation.is_set_up:
            raise SignUpInvitationNotFound
        await self.invitations.delete(invitation)
        await self.sign_up.audit.record(ActKind.END_INVITATION, actor, detail=id)
