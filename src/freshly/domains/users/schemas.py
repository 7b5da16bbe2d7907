from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, EmailStr, Field

from freshly.chassis.web.schemas import (
    LARGEST_INT,
    AnyText,
    Line,
    Nullable,
    ReadSchema,
    Schema,
    example,
)
from freshly.domains.users.models import ActivityKind, Outcome


def normalized(email: str) -> str:
    return email.strip().lower()


Email = Annotated[EmailStr, AfterValidator(normalized)]
# An address as the user types it: adopted accounts may differ only in capitals.
TypedEmail = Annotated[EmailStr, AfterValidator(str.strip)]
Trimmed = Annotated[Line | None, AfterValidator(lambda text: text.strip() if text else text)]
Measure = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class UserUpdate(Schema):
    """An empty or null field stays as it is. `status` and `tier` are accepted and ignored.

    A new `email` is pending until `POST /auth/confirm-email` gets the code that it was sent.
    """

    model_config = example({"name": "Anna", "location": "Utrecht"})

    name: Annotated[Trimmed, Nullable] = None
    email: Annotated[Email | None, Nullable] = None
    phone_number: Annotated[Trimmed, Nullable] = None
    location: Annotated[Trimmed, Nullable] = None
    avatar_path: Annotated[Trimmed, Nullable] = None
    gender: Annotated[
        Annotated[AnyText, Field(min_length=1, max_length=32)] | None,
        AfterValidator(lambda text: text.strip() if text else text),
        Nullable,
    ] = None
    age: Annotated[int | None, Field(ge=0, le=LARGEST_INT), Nullable] = None
    weight: Annotated[Measure | None, Nullable] = None
    height: Annotated[Measure | None, Nullable] = None
    calories: Annotated[Measure | None, Nullable] = None
    status: Annotated[Line | None, Nullable] = None
    tier: Annotated[Annotated[AnyText, Field(min_length=1, max_length=32)] | None, Nullable] = None


class UserRead(ReadSchema):
    id: int
    name: str | None
    email: str
    phone_number: str | None
    location: str | None
    status: str
    tier: str
    avatar_path: str | None
    gender: str | None
    age: int | None
    weight: float | None
    height: float | None
    calories: float | None
    created_at: datetime
    updated_at: datetime


class OwnUserRead(UserRead):
    """The signed-in user. `pending_email` is a new address that is not confirmed yet."""

    pending_email: str | None


class ActivityRead(ReadSchema):
    """`detail` is the new role, the way of signing in, or the revoked session."""

    id: int
    kind: ActivityKind
    outcome: Outcome
    other_user_id: int | None
    family_id: int | None
    detail: str | None
    address: str | None
    user_agent: str | None
    session_id: str | None
    correlation_id: str
    created_at: datetime
