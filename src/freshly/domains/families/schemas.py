from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from freshly.chassis.web.schemas import Ok, OneLine, ReadSchema, Schema, ShortText, example
from freshly.domains.families.models import Role
from freshly.domains.users.schemas import UserRead


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
    user: UserRead


class Left(Ok):
    left: Literal[True] = True


class Kicked(Ok):
    kicked: Literal[True] = True
