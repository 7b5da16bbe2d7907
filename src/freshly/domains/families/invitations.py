"""Invitations to a family, and joining one."""

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Self

from freshly.chassis.data.events import EventBus
from freshly.chassis.data.pagination import PageQuery, PageRows
from freshly.chassis.dependencies import Injected
from freshly.chassis.security.codes import CurrentCodeSigner
from freshly.chassis.security.signed_urls import CurrentSignedUrls
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.errors import (
    InvalidInviteCode,
    InvitationNotFound,
    NotAllowed,
    TooManyInvitations,
)
from freshly.domains.families.events import MemberJoined
from freshly.domains.families.models import Invitation, Membership, Role
from freshly.domains.families.permissions import Permission, may
from freshly.domains.families.repository import FamilyRepository, InvitationRepository
from freshly.domains.families.schemas import (
    InvitationCreate,
    InvitationCreated,
    InvitationPreview,
    InvitationRead,
    MembershipRead,
)
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind

LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ"  # without I, L and O, which look like digits
CODE_LENGTH = 8
CODE_LIFETIME = timedelta(hours=1)
TOKEN_BYTES = 16  # 128 bits
MAX_OPEN = 50


class CodeKind(Enum):
    DIGITS = auto()
    LETTERS = auto()
    TOKEN = auto()


@dataclass(frozen=True)
class InviteCode:
    """A code as a user typed it, in its stored spelling."""

    kind: CodeKind
    text: str

    @classmethod
    def parse(cls, given: str) -> Self:
        """Return the code. Raise InvalidInviteCode for a text that no code looks like."""
        text = given.strip()
        letters = re.sub(r"[\s-]", "", text).upper()
        if re.fullmatch(r"[0-9]{6,9}", text):
            return cls(CodeKind.DIGITS, text)
        if len(letters) == CODE_LENGTH and set(letters) <= set(LETTERS):
            return cls(CodeKind.LETTERS, letters)
        if re.fullmatch(r"[A-Za-z0-9_-]{22}", text):
            return cls(CodeKind.TOKEN, text)
        raise InvalidInviteCode


@dataclass
class InvitationPreviewer:
    """Reads invitations for users who are not signed in and have the link."""

    invitations: Injected[InvitationRepository]
    signer: CurrentCodeSigner

    async def preview(self, token: str) -> InvitationPreview:
        invitation = await self.invitations.by_token(self.signer.stored(token))
        if invitation is None:
            raise InvitationNotFound
        return InvitationPreview(
            family_name=await self.invitations.family_name(invitation),
            role=Role(invitation.role),
            expires_at=invitation.expires_at,
        )


@dataclass
class InvitationService:
    """Creates, lists and ends the invitations of a family, for its admins and owners."""

    access: CurrentAccess
    families: Injected[FamilyRepository]
    invitations: Injected[InvitationRepository]
    signer: CurrentCodeSigner
    urls: CurrentSignedUrls
    log: Injected[ActivityLog]

    async def create(self, family_id: int, new: InvitationCreate) -> InvitationCreated:
        """Open an invitation. Lock the family. Raise NotAllowed or TooManyInvitations."""
        self._check(family_id)
        if await self.families.lock(family_id) is None:
            raise NotAllowed
        # Under the lock, because the role of the Access may be outdated.
        me = await self.families.member(family_id, self.access.user_id)
        if me is None or not may(Role(me.role), Permission.INVITE):
            raise NotAllowed
        if await self.invitations.count(family_id) >= MAX_OPEN:
            raise TooManyInvitations(limit=MAX_OPEN)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        code = "".join(secrets.choice(LETTERS) for _ in range(CODE_LENGTH))
        at = await self.families.now()
        invitation = await self.invitations.save(
            Invitation(
                family_id=family_id,
                created_by_user_id=self.access.user_id,
                role=new.role,
                token_hash=self.signer.stored(token),
                code_hash=self.signer.stored(code),
                code_expires_at=at + CODE_LIFETIME,
                expires_at=at + timedelta(days=new.days),
                uses_left=new.uses,
            )
        )
        user_id = self.access.user_id
        await self.log.record(ActivityKind.INVITATION_CREATED, user_id, family_id=family_id)
        return InvitationCreated(
            **InvitationRead.model_validate(invitation).model_dump(),
            link=f"{self.urls.base}/invitations?token={token}",
            token=token,
            code=f"{code[:4]}-{code[4:]}",
        )

    async def page(self, family_id: int, query: PageQuery) -> PageRows[Invitation]:
        self._check(family_id)
        return await self.invitations.page(family_id, query)

    async def end(self, family_id: int, id: int) -> None:
        self._check(family_id)
        invitation = await self.invitations.get(family_id, id)
        if invitation is None:
            raise InvitationNotFound
        await self.invitations.delete(invitation)

    def _check(self, family_id: int) -> None:
        if not self.access.may(Permission.INVITE, family_id):
            raise NotAllowed


@dataclass
class JoinService:
    access: CurrentAccess
    families: Injected[FamilyRepository]
    invitations: Injected[InvitationRepository]
    signer: CurrentCodeSigner
    events: Injected[EventBus]
    log: Injected[ActivityLog]

    async def join(self, code: InviteCode) -> MembershipRead:
        """Make the caller a member. Return the existing membership if there is one.

        Raise InvalidInviteCode if the code is unknown, expired or used up.
        """
        if code.kind is CodeKind.DIGITS:
            family = await self.families.by_code(code.text)
            if family is None:
                raise InvalidInviteCode
            return await self._add(family.id, Role.MEMBER)
        return await self._accept(code)

    async def accept(self, token: str) -> MembershipRead:
        """Make the caller a member by the token of an invitation's link."""
        return await self._accept(InviteCode(CodeKind.TOKEN, token))

    async def open_invitation(self, token: str) -> Invitation | None:
        """Return the invitation of a link, locked. Return None if it does not work any more."""
        return await self._locked(InviteCode(CodeKind.TOKEN, token))

    async def _locked(self, code: InviteCode) -> Invitation | None:
        """Lock first the family, then the invitation."""
        by_kind = {
            CodeKind.TOKEN: self.invitations.by_token,
            CodeKind.LETTERS: self.invitations.by_code,
        }
        found = await by_kind[code.kind](self.signer.stored(code.text))
        if found is None or await self.families.lock(found.family_id) is None:
            return None
        return await self.invitations.lock(found.id)

    async def _accept(self, code: InviteCode) -> MembershipRead:
        """Use an invitation once."""
        invitation = await self._locked(code)
        if invitation is None:
            raise InvalidInviteCode
        family_id, role = invitation.family_id, Role(invitation.role)
        if await self.families.member(family_id, self.access.user_id) is None:
            invitation.uses_left -= 1
            await self.invitations.save(invitation)
            if invitation.uses_left == 0:
                await self.invitations.delete(invitation)
        return await self._add(family_id, role)

    async def _add(self, family_id: int, role: Role) -> MembershipRead:
        user_id = self.access.user_id
        member = await self.families.member(family_id, user_id)
        if member is None:
            await self.families.save_member(
                Membership(family_id=family_id, user_id=user_id, role=role)
            )
            await self.log.record(ActivityKind.FAMILY_JOINED, user_id, family_id=family_id)
            await self.events.publish(MemberJoined(family_id=family_id, user_id=user_id))
            member = await self.families.member(family_id, user_id)
        assert member is not None
        return MembershipRead.of(member, user_id)
