import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from freshly.chassis.data.pagination import PageQuery
from freshly.chassis.errors import OUT_OF_RANGE_ID
from freshly.chassis.web.schemas import Id, OneLine, ReadSchema, Schema, example
from freshly.domains.administration.models import ActKind
from freshly.domains.users.models import UserStatus
from freshly.domains.users.schemas import Email

SearchText = Annotated[OneLine, Field(max_length=100)]
Tier = Annotated[OneLine, Field(min_length=1, max_length=32)]


def _as_ours_are(id: str) -> str:
    if not re.fullmatch("[0-9a-f]{32}", id):
        raise PydanticCustomError(OUT_OF_RANGE_ID, "No invitation has this id")
    return id


# Any other text is the id of no invitation: 404, as for an unknown id.
SignUpInvitationId = Annotated[str, AfterValidator(_as_ours_are)]


class AccountQuery(PageQuery):
    search: Annotated[
        SearchText | None, Field(description="A part of the email address or of the name.")
    ] = None
    status: UserStatus | None = None
    tier: Tier | None = None
    administrators: Annotated[bool, Field(description="Only administrators.")] = False


class AccountRead(ReadSchema):
    """An account as administrators see it: nothing of what its user or household keeps."""

    id: int
    email: str
    name: str | None
    status: str
    tier: str
    is_verified: Annotated[bool, Field(description="True if the email address is confirmed.")]
    is_administrator: bool
    created_at: datetime
    delete_after: Annotated[
        datetime | None, Field(description="When the account is deleted, if its user closed it.")
    ]
    last_seen_at: Annotated[
        datetime | None, Field(description="The last sign-in or refresh of a session.")
    ]


class TierUpdate(Schema):
    model_config = example({"tier": "pro"})

    tier: Tier


class ActQuery(PageQuery):
    account_id: Annotated[Id | None, Field(description="Only acts on this account.")] = None


class ActRead(ReadSchema):
    """An act of an administrator. Without `administrator_id` their account was deleted, or the
    operator gave a command (`by_command`)."""

    id: int
    kind: ActKind
    administrator_id: int | None
    by_command: bool
    account_id: int | None
    detail: str | None
    address: str | None
    correlation_id: str
    created_at: datetime


class SignUpInvitationCreate(Schema):
    model_config = example({"email": "anna@example.com", "days": 7})

    email: Annotated[
        Email | None, Field(description="Only this address may use it. Null: any address.")
    ] = None
    days: Annotated[int, Field(ge=1, le=30, description="After how many days it ends.")] = 7


class SignUpInvitationRead(ReadSchema):
    id: str
    email: str | None
    makes_administrator: bool
    created_by_user_id: int | None
    expires_at: datetime
    created_at: datetime


class SignUpInvitationCreated(SignUpInvitationRead):
    """The only response with the link, which creates one account."""

    link: str
    token: Annotated[str, Field(description="The secret in the link, for POST /auth/register.")]
