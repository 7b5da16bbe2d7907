from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from freshly.chassis.schemas import AnyText, Line, LongText, Message, Nullable, Schema, ShortText
from freshly.domains.preferences.schemas import PreferenceCreate
from freshly.domains.users.schemas import Email

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 72


class Register(Schema):
    email: Email
    password: Annotated[AnyText, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
    name: Annotated[Line | None, Nullable] = None
    phone_number: Annotated[Line | None, Nullable] = None
    preference: PreferenceCreate | None = None


class Login(Schema):
    email: Email
    password: Annotated[AnyText, Field(max_length=1000)]


class Refresh(Schema):
    """A signed-out start of the app sends null, which is a token like any other bad one: 401."""

    refresh_token: LongText | None = None


class Tokens(BaseModel):
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name


class EmailOnly(Schema):
    email: Email


class EmailAndCode(Schema):
    email: Email
    code: Annotated[ShortText, AfterValidator(str.strip)]


class PasswordReset(Schema):
    reset_token: LongText
    new_password: Annotated[AnyText, Field(max_length=LONGEST_PASSWORD)]


class Verified(Message):
    is_verified: bool


class ResetAllowed(Message):
    reset_token: str


class OAuthUserRead(BaseModel):
    id: int
    email: str
    username: str
    auth_provider: Literal["google", "apple"]


class OAuthTokens(Tokens):
    user: OAuthUserRead
