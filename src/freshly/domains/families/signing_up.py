"""Lets people create an account, by `ALLOW_SIGNUP` and by invitations of either kind."""

from dataclasses import dataclass, field

from freshly.chassis.data.events import EventBus
from freshly.chassis.data.transactions import DbSession, Session
from freshly.chassis.dependencies import Injected, Request
from freshly.chassis.resources import CurrentSettings
from freshly.chassis.security.client_info import CurrentClientInfo
from freshly.chassis.security.codes import CurrentCodeSigner
from freshly.domains.administration.errors import InvitationInvalid
from freshly.domains.administration.invitations import SignUpInvitations
from freshly.domains.administration.models import SignUpInvitation
from freshly.domains.auth.oauth import OAuthService
from freshly.domains.auth.schemas import OAuthTokens, Register
from freshly.domains.auth.service import RegistrationService
from freshly.domains.families.access import Access
from freshly.domains.families.invitations import JoinService
from freshly.domains.families.repository import FamilyRepository, InvitationRepository
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import User


@dataclass
class Doorkeeper:
    """Opens the door to a token, which is that of an administrator, of a family, or none."""

    request: Request
    settings: CurrentSettings
    signer: CurrentCodeSigner
    client_info: CurrentClientInfo

    def door(self, token: str | None) -> "SignUpDoor":
        return SignUpDoor(self, token or None)

    def invitations(self, session: Session) -> SignUpInvitations:
        return SignUpInvitations.of(session, self.settings, self.signer)

    def joining(self, user_id: int, session: Session) -> JoinService:
        """Return the service with which this user joins a family."""
        access = Access(user_id=user_id, roles={})
        return JoinService(
            access=access,
            families=FamilyRepository(session, access),
            invitations=InvitationRepository(session),
            signer=self.signer,
            events=EventBus(self.request, session),
            log=ActivityLog(session, self.client_info),
        )


@dataclass
class SignUpDoor:
    """Implements Door for one token."""

    keeper: Doorkeeper
    token: str | None
    invitation: SignUpInvitation | None = field(default=None, init=False)

    def knock(self) -> None:
        SignUpInvitations.refuse_without(self.token, self.keeper.settings)

    async def admit(self, email: str, session: Session) -> None:
        if self.token is None:
            return
        invitations = self.keeper.invitations(session)
        self.invitation = await invitations.admit(self.token, email)
        if self.invitation is None:
            joining = self.keeper.joining(0, session)
            if await joining.open_invitation(self.token) is None:
                raise InvitationInvalid

    async def welcome(self, user: User, session: Session) -> None:
        if self.invitation is not None:
            await self.keeper.invitations(session).use(self.invitation, user)
        elif self.token is not None:
            await self.keeper.joining(user.id, session).accept(self.token)


@dataclass
class SignUpService:
    session: DbSession
    doorkeeper: Injected[Doorkeeper]
    registration: Injected[RegistrationService]

    async def register(self, new: Register) -> User:
        return await self.registration.register(new, self.doorkeeper.door(new.invitation))

    async def makes_administrator(self, token: str) -> bool:
        """Return what the invitation of an administrator or command gives.

        Raise InvitationInvalid.
        """
        found = await self.doorkeeper.invitations(self.session).find(token)
        if found is None:
            raise InvitationInvalid
        return found.makes_administrator


@dataclass
class OAuthSignUpService:
    """Holds no session, because it waits for another server."""

    doorkeeper: Injected[Doorkeeper]
    oauth: Injected[OAuthService]

    async def sign_up(self, bearer: str | None, invitation: str | None) -> OAuthTokens:
        return await self.oauth.sign_up(bearer, self.doorkeeper.door(invitation))
