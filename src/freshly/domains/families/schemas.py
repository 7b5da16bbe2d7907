from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field

from freshly.chassis.web.schemas import Ok, OneLine, ReadSchema, Schema, ShortText, example
from freshly.domains.families.models import Membership, Role
from freshly.domains.families.permissions import Permission
from freshly.domains.users.schemas import MemberRead


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("Display name must not be blank.")
    return text.strip()


class FamilyCreate(Schema):
    model_config = example({"display_name": "The Miller Family"})

    display_name: Annotated[OneLine, Field(max_length=255), AfterValidator(_not_blank)]


class FamilyRead(ReadSchema):
    id: int
    display_name: str
    invite_code: str
    invite_code_expires_at: datetime | None
    count: Annotated[int, Field(description="Number of members.")]


class JoinFamily(Schema):
    """The six digits of a family, the eight letters of an invitation, or its link's token."""

    model_config = example({"invite_code": "123456"})

    invite_code: ShortText


class InvitationCreate(Schema):
    model_config = example({"role": "member", "uses": 1, "days": 7})

    role: Literal["member", "admin"] = "member"
    uses: Annotated[int, Field(ge=1, le=50, description="How many users may join.")] = 1
    days: Annotated[int, Field(ge=1, le=30, description="After how many days it ends.")] = 7


class InvitationRead(ReadSchema):
    id: int
    family_id: int
    created_by_user_id: int
    role: Role
    uses_left: int
    code_expires_at: datetime
    expires_at: datetime
    created_at: datetime


class InvitationCreated(InvitationRead):
    """The only response with the link and the code: the server stores keyed hashes of them."""

    link: str
    token: Annotated[str, Field(description="The secret in the link, to join with.")]
    code: Annotated[str, Field(description="Eight letters to read aloud, valid for an hour.")]


class InvitationPreview(BaseModel):
    """The family and the role of an invitation, for anyone who has its link."""

    family_name: str
    role: Role
    expires_at: datetime


class RoleUpdate(Schema):
    model_config = example({"role": "admin"})

    role: Role


class FreeRoleUpdate(Schema):
    """An unknown role returns 400 here, as in the existing app."""

    model_config = example({"role": "admin"})

    role: ShortText


class MembershipRead(ReadSchema):
    id: int
    family_id: int
    user_id: int
    role: Role
    joined_at: datetime
    user: MemberRead

    @classmethod
    def of(cls, membership: Membership, reader_id: int) -> Self:
        """Return the membership as this reader sees it."""
        return cls(
            id=membership.id,
            family_id=membership.family_id,
            user_id=membership.user_id,
            role=Role(membership.role),
            joined_at=membership.joined_at,
            user=MemberRead.of(membership.user, reader_id),
        )


class FamilyPermissions(BaseModel):
    family_id: int
    role: Role
    allows: list[Permission]


class PermissionsRead(BaseModel):
    """The caller's rights: in each family, longest membership first, and on the server."""

    tier: str
    administrator: Annotated[bool, Field(description="May manage the accounts of this server.")]
    families: list[FamilyPermissions]


class Left(Ok):
    left: Literal[True] = True


class Kicked(Ok):
    kicked: Literal[True] = True
