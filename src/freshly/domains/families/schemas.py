from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from freshly.chassis.web.schemas import AnyText, Ok, ReadSchema, Schema, ShortText, example
from freshly.domains.families.models import Membership, Role
from freshly.domains.users.schemas import MemberRead


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("Display name must not be blank.")
    return text.strip()


class FamilyCreate(Schema):
    model_config = example({"display_name": "The Miller Family"})

    display_name: Annotated[AnyText, Field(max_length=255), AfterValidator(_not_blank)]


class FamilyRead(ReadSchema):
    id: int
    display_name: str
    invite_code: str
    count: Annotated[int, Field(description="Number of members.")]


class JoinFamily(Schema):
    model_config = example({"invite_code": "123456"})

    invite_code: ShortText


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


class Left(Ok):
    left: Literal[True] = True


class Kicked(Ok):
    kicked: Literal[True] = True
