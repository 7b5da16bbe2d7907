from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, EmailStr, Field

from freshly.chassis.web.schemas import (
    LARGEST_INT,
    Line,
    Nullable,
    OneLine,
    PictureAddress,
    ReadSchema,
    Schema,
    example,
)
from freshly.domains.users.models import ActivityKind, Outcome, User


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
    avatar_path: Annotated[Annotated[PictureAddress, Field(max_length=255)] | None, Nullable] = None
    gender: Annotated[
        Annotated[OneLine, Field(min_length=1, max_length=32)] | None,
        AfterValidator(lambda text: text.strip() if text else text),
        Nullable,
        OneLine,
        PictureAddress,
    ] = None
    age: Annotated[int | None, Field(ge=0, le=LARGEST_INT), Nullable] = None
    weight: Annotated[Measure | None, Nullable] = None
    height: Annotated[Measure | None, Nullable] = None
    calories: Annotated[Measure | None, Nullable] = None
    shares_profile: Annotated[
        bool | None, Field(description="Show these fields to members of my families."), Nullable
    ] = None
    status: Annotated[Line | None, Nullable] = None
    tier: Annotated[Annotated[OneLine, Field(min_length=1, max_length=32)] | None, Nullable] = None


# Members of a family see these of each other only if the user shares them.
SHARED_FIELDS = ("phone_number", "location", "gender", "age", "weight", "height", "calories")


class MemberRead(ReadSchema):
    """A user as the members of a family see each other.

    The fields in SHARED_FIELDS are null unless the user shares them (`shares_profile`).
    """

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
    is_verified: Annotated[bool, Field(description="True if the email address is confirmed.")]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, user: User, reader_id: int) -> Self:
        """Return the user as this reader sees them."""
        read = cls.model_validate(user)
        if user.shares_profile or user.id == reader_id:
            return read
        return read.model_copy(update=dict.fromkeys(SHARED_FIELDS))


class UserRead(MemberRead):
    """A user as the user reads their own profile."""

    shares_profile: bool


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
