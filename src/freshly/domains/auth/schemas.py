import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from freshly.chassis.errors import OUT_OF_RANGE_ID
from freshly.chassis.web.schemas import (
    AnyText,
    Line,
    LongText,
    Message,
    Nullable,
    Schema,
    ShortText,
    example,
)
from freshly.domains.preferences.schemas import PreferenceCreate
from freshly.domains.users.schemas import Email, TypedEmail

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 72


def _as_ours_are(id: str) -> str:
    if not re.fullmatch("[0-9a-f]{32}", id):
        raise PydanticCustomError(OUT_OF_RANGE_ID, "No session has this id")
    return id


# Any other text is the id of no session: 404, as for an unknown id.
SessionId = Annotated[str, AfterValidator(_as_ours_are)]


LinkToken = Annotated[AnyText, Field(max_length=64)]
NewPassword = Annotated[AnyText, Field(max_length=LONGEST_PASSWORD)]


class Register(Schema):
    model_config = example(
        {"email": "anna@example.com", "password": "correct horse", "name": "Anna"}
    )

    email: Email
    password: Annotated[AnyText, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
    name: Annotated[Line | None, Nullable] = None
    phone_number: Annotated[Line | None, Nullable] = None
    preference: PreferenceCreate | None = None
    invitation: Annotated[
        LinkToken | None,
        Field(
            description="The token of an invitation: of an administrator, or of a family, which "
            "the new user then belongs to."
        ),
        Nullable,
    ] = None


class SignUpForm(Schema):
    """The fields of the page behind an invitation's link."""

    model_config = example(
        {
            "token": "the token of the link",
            "email": "anna@example.com",
            "password": "correct horse",
            "name": "Anna",
        }
    )

    token: LinkToken
    email: Email
    password: Annotated[AnyText, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
    name: Annotated[Line | None, Nullable] = None

    def as_registration(self) -> Register:
        return Register(
            email=self.email, password=self.password, name=self.name, invitation=self.token
        )


class OAuthSignUp(Schema):
    model_config = example({"invitation": "the token of an invitation"})

    invitation: Annotated[LinkToken | None, Nullable] = None


class Login(Schema):
    model_config = example({"email": "anna@example.com", "password": "correct horse"})

    email: TypedEmail
    password: Annotated[AnyText, Field(max_length=1000)]


class Refresh(Schema):
    """The signed-out app sends null, which returns 401 like any invalid token."""

    model_config = example({"refresh_token": "the refresh token of the last sign-in"})

    refresh_token: LongText | None = None


class Tokens(BaseModel):
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name


class SessionRead(BaseModel):
    """A session on a device. `last_used_at` is the time of its last token refresh."""

    id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None
    current: bool


class PasswordChange(Schema):
    """Without `current_password` the request needs a recent sign-in or `X-Reauth`."""

    model_config = example(
        {"current_password": "correct horse", "new_password": "a much better horse"}
    )

    current_password: Annotated[AnyText | None, Field(max_length=1000)] = None
    new_password: Annotated[
        AnyText, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)
    ]


class Reauthentication(Schema):
    """The password, or a code of `POST /auth/reauthenticate/send-code`."""

    model_config = example({"password": "correct horse"})

    password: Annotated[AnyText | None, Field(max_length=1000)] = None
    code: Annotated[ShortText | None, AfterValidator(lambda code: code and code.strip())] = None


class ReauthenticationToken(BaseModel):
    """A token for the header `X-Reauth` of the requests that follow."""

    reauth_token: str
    expires_in: int  # seconds


class CodeOnly(Schema):
    model_config = example({"code": "123456"})

    code: Annotated[ShortText, AfterValidator(str.strip)]


class EmailOnly(Schema):
    model_config = example({"email": "anna@example.com"})

    email: TypedEmail


class EmailAndCode(Schema):
    model_config = example({"email": "anna@example.com", "code": "123456"})

    email: TypedEmail
    code: Annotated[ShortText, AfterValidator(str.strip)]


class PasswordReset(Schema):
    model_config = example(
        {"reset_token": "the token for the code", "new_password": "better horse"}
    )

    reset_token: LongText
    new_password: NewPassword


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
