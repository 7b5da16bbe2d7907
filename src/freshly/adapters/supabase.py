"""Verifies Supabase's tokens.

RS256 and ES256 are verified with the keys that Supabase publishes, HS256 with the shared secret.
"""

from time import monotonic
from typing import Any

import anyio
import httpx2
import jwt

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.one_line import as_one_line
from freshly.chassis.ports.oauth import (
    OAuthNotConfigured,
    OAuthProfile,
    OAuthTokenExpired,
    OAuthTokenInvalid,
    OAuthUnreachable,
)
from freshly.settings import Settings

logger = get_logger(__name__)

AUDIENCE = "authenticated"
MAX_KEY_AGE_SECONDS = 3600
# Between two fetches because of unknown key ids, which an attacker could invent.
MIN_FETCH_INTERVAL_SECONDS = 60
TIMEOUT_SECONDS = 5
PUBLIC_KEY_ALGORITHMS = ("RS256", "ES256")


class SupabaseVerifier:
    """Implements OAuthVerifier."""

    def __init__(self, settings: Settings) -> None:
        self._url = (settings.supabase_url or "").rstrip("/")
        secret = settings.supabase_jwt_secret
        self._secret = secret.get_secret_value() if secret else ""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._fetch_lock = anyio.Lock()

    async def verify(self, token: str) -> OAuthProfile:
        if not self._url:
            raise OAuthNotConfigured(setting="SUPABASE_URL")
        try:
            header = jwt.get_unverified_header(token)
            key, algorithm = await self._key(header)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=AUDIENCE,
                issuer=f"{self._url}/auth/v1",
                options={"require": ["sub", "exp", "iss", "aud"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise OAuthTokenExpired from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise OAuthTokenInvalid from error
        return _profile(claims)

    async def _key(self, header: dict[str, Any]) -> tuple[Any, str]:
        """Return the key of a token and its algorithm. Raises OAuthTokenInvalid."""
        algorithm = header.get("alg")
        if algorithm == "HS256":
            if not self._secret:
                raise OAuthNotConfigured(setting="SUPABASE_JWT_SECRET")
            return self._secret, algorithm
        if algorithm not in PUBLIC_KEY_ALGORITHMS:
            raise OAuthTokenInvalid
        key = await self._published_key(str(header.get("kid", "")))
        if key is None or key.algorithm_name != algorithm:
            raise OAuthTokenInvalid
        return key.key, algorithm

    async def _published_key(self, id: str) -> jwt.PyJWK | None:
        async with self._fetch_lock:
            age = None if self._fetched_at is None else monotonic() - self._fetched_at
            is_stale = age is None or age > MAX_KEY_AGE_SECONDS
            may_fetch = age is not None and age > MIN_FETCH_INTERVAL_SECONDS
            if is_stale or (id not in self._keys and may_fetch):
                self._keys = await self._fetch_keys()
                self._fetched_at = monotonic()
            return self._keys.get(id)

    async def _fetch_keys(self) -> dict[str, jwt.PyJWK]:
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
                response = await client.get(f"{self._url}/auth/v1/jwks")
            response.raise_for_status()
            keys = jwt.PyJWKSet.from_dict(response.json())
        except (httpx2.HTTPError, jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            logger.warning("Supabase's keys cannot be fetched", exc_info=error)
            raise OAuthUnreachable from error
        return {key.key_id or "": key for key in keys.keys}


def _profile(claims: dict[str, Any]) -> OAuthProfile:
    user, app = claims.get("user_metadata"), claims.get("app_metadata")
    return OAuthProfile(
        subject=str(claims["sub"]),
        email=_text(claims.get("email")),
        name=_text(user.get("name")) if isinstance(user, dict) else None,
        provider=_text(app.get("provider")) if isinstance(app, dict) else None,
    )


def _text(value: object) -> str | None:
    """Return the text as one line, or None if it is empty or no text."""
    return as_one_line(value) or None if isinstance(value, str) else None
