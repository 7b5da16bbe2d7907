"""Signs and reads tokens. The database decides whether a token is still valid."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import jwt

from freshly.chassis.web.schemas import LARGEST_INT
from freshly.domains.auth.errors import (
    InvalidResetToken,
    InvalidToken,
    TokenExpired,
    WrongTokenScope,
    WrongTokenType,
)
from freshly.domains.auth.models import RefreshToken
from freshly.settings import Settings

ISSUER = "freshly"
AUDIENCE = "freshly-app"
Type = Literal["access", "refresh", "reauth"]
RESET = "password_reset"
RESET_LIFETIME = timedelta(minutes=15)
PROOF_LIFETIME = timedelta(minutes=5)
REQUIRED = ["sub", "sid", "type", "jti", "iss", "aud", "iat", "exp"]


@dataclass(frozen=True)
class Claims:
    user_id: int
    session_id: str
    jti: str
    expires: float = 0.0  # seconds since 1970


def new_id() -> str:
    return uuid4().hex


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def key_id(secret: str) -> str:
    """Return the name of a secret in tokens, from which the secret cannot be computed."""
    return hmac.new(secret.encode(), b"key id", hashlib.sha256).hexdigest()[:16]


class TokenSigner:
    def __init__(self, settings: Settings) -> None:
        self._secret = settings.jwt_secret.get_secret_value()
        previous = settings.jwt_secret_previous.get_secret_value() or self._secret
        # The current secret signs. The previous one is only for tokens that it has signed.
        self._secrets = {key_id(secret): secret for secret in (previous, self._secret)}
        # An earlier release named no key. Its tokens are older than the current secret.
        self._secret_without_id = previous
        self._algorithm = settings.jwt_alg
        self.access_lifetime = timedelta(minutes=settings.access_token_expire_minutes)
        self.refresh_lifetime = timedelta(days=settings.refresh_token_expire_days)

    def access(self, user_id: int, session_id: str, at: datetime, email: str | None = None) -> str:
        """Sign an access token. Those of sign-ins by OAuth name the email address, too."""
        claims = Claims(user_id, session_id, new_id())
        named = {"email": email} if email else {}
        return self._sign(claims, "access", at, at + self.access_lifetime, **named)

    def refresh(self, user_id: int, row: RefreshToken) -> str:
        """Sign the refresh token of a row. The same row gives the same token."""
        claims = Claims(user_id, row.sign_in_id, row.id)
        return self._sign(claims, "refresh", row.issued_at, row.expires_at)

    def reauth(self, user_id: int, session_id: str, at: datetime) -> str:
        """Sign a token for `X-Reauth`. It is valid for five minutes, in this session only."""
        claims = Claims(user_id, session_id, new_id())
        return self._sign(claims, "reauth", at, at + PROOF_LIFETIME)

    def _sign(self, claims: Claims, type: Type, at: datetime, until: datetime, **named: str) -> str:
        signed: dict[str, Any] = {
            **named,
            "sub": str(claims.user_id),
            "sid": claims.session_id,
            "type": type,
            "jti": claims.jti,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(at.timestamp()),
            "exp": int(until.timestamp()),
        }
        return self._encode(signed)

    def _encode(self, claims: dict[str, Any]) -> str:
        headers = {"kid": key_id(self._secret)}
        return jwt.encode(claims, self._secret, self._algorithm, headers=headers)

    def _secret_of(self, token: str) -> str:
        """Return the secret that the token names. Raise InvalidTokenError if it is not ours."""
        name = jwt.get_unverified_header(token).get("kid")
        if name is None:
            return self._secret_without_id
        if name not in self._secrets:
            raise jwt.InvalidTokenError
        return self._secrets[name]

    def read(self, token: str, type: Type) -> Claims:
        """Return the claims. Raise TokenExpired, WrongTokenType or InvalidToken."""
        try:
            claims = jwt.decode(
                token,
                self._secret_of(token),
                algorithms=[self._algorithm],
                audience=AUDIENCE,
                issuer=ISSUER,
                # The clock that wrote `iat` may be ahead of ours. Only `exp` decides.
                options={"require": REQUIRED, "verify_iat": False},
            )
            signed = Claims(
                int(claims["sub"]), str(claims["sid"]), str(claims["jti"]), float(claims["exp"])
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except (jwt.InvalidTokenError, ValueError) as error:
            raise InvalidToken from error
        if claims["type"] != type:
            raise WrongTokenType
        if not 0 < signed.user_id <= LARGEST_INT:
            raise InvalidToken
        return signed

    def reset(self, user_id: int, state: str, at: datetime) -> str:
        """Sign a token that allows one change of the password.

        It holds the fingerprint of the account's state, which the change replaces.
        """
        claims = {
            "sub": str(user_id),
            "scope": RESET,
            "of": self._fingerprint(state),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "exp": int((at + RESET_LIFETIME).timestamp()),
        }
        return self._encode(claims)

    def read_reset(self, token: str) -> tuple[int, str]:
        """Return the user id and the fingerprint that the account must still have.

        Raise WrongTokenScope for a token of another kind, else InvalidResetToken.
        """
        try:
            claims = jwt.decode(
                token,
                self._secret_of(token),
                algorithms=[self._algorithm],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["sub", "iss", "aud", "exp"], "verify_iat": False},
            )
            user_id = int(claims["sub"])
        except (jwt.InvalidTokenError, ValueError) as error:
            raise InvalidResetToken from error
        if claims.get("scope") != RESET:
            raise WrongTokenScope
        if not 0 < user_id <= LARGEST_INT:
            raise InvalidResetToken
        return user_id, str(claims.get("of"))

    def matches(self, fingerprint: str, state: str) -> bool:
        """Return True if this is the fingerprint of the state."""
        return hmac.compare_digest(fingerprint, self._fingerprint(state))

    def _fingerprint(self, state: str) -> str:
        key = self._secret.encode()
        return hmac.new(key, state.encode(), hashlib.sha256).hexdigest()
