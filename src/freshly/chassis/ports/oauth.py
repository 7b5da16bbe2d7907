"""Sign-in by somebody else's word: the port to who checks it."""

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
    subject: str
    email: str | None
    name: str | None
    provider: str | None


class OAuthVerifier(Protocol):
    async def verify(self, token: str) -> OAuthProfile:
        """Raises OAuthTokenInvalid, OAuthTokenExpired, OAuthNotConfigured, OAuthUnreachable."""
