"""The port for sign-in with Google or Apple."""

from dataclasses import dataclass
from typing import Protocol

from freshly.chassis.errors import Unauthenticated, Unavailable


class OAuthTokenInvalid(Unauthenticated):
    code, detail = "invalid_token", "Invalid token"


class OAuthTokenExpired(Unauthenticated):
    code, detail = "token_expired", "Token expired"


class OAuthNotConfigured(Unavailable):
    code = "oauth_not_configured"
    detail = "Sign-in with Google or Apple is not set up. The operator must set {setting}."
    headers = {}


class OAuthUnreachable(Unavailable):
    code = "oauth_unreachable"
    detail = "The sign-in service does not respond. Please try again in a moment."


@dataclass(frozen=True)
class OAuthProfile:
    """The user as the sign-in service knows them. `subject` is their id there."""

    subject: str
    email: str | None
    name: str | None
    provider: str | None


class OAuthVerifier(Protocol):
    async def verify(self, token: str) -> OAuthProfile:
        """Return the profile in a valid token.

        Raises OAuthTokenInvalid, OAuthTokenExpired, OAuthNotConfigured or OAuthUnreachable.
        """
