"""Verifies Supabase's tokens.

RS256 and ES256 are verified with the keys that Supabase publishes, HS256 with the shared secret.
"""

import asyncio
from time import monotonic
from typing import Any

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
PAUSE_AFTER_FAILURE_SECONDS = 10  # in which sign-ins fail at once, unless their key is known
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
        self._tried_at: float | None = None
        self._fetch: asyncio.Task[dict[str, jwt.PyJWK]] | None = None

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
        """Return the key, or None if Supabase has no such key. Raises OAuthUnreachable.

        A key that is at hand is returned at once, and old keys stay until there are new ones.
        """
        if id in self._keys and not self._is_older(self._fetched_at, MAX_KEY_AGE_SECONDS):
            return self._keys[id]
        if self._fetch is not None or self._may_fetch():
            try:
                await self._fetch_once()
            except OAuthUnreachable:
                if id not in self._keys:
                    raise
        elif self._fetched_at is None:
            raise OAuthUnreachable
        return self._keys.get(id)

    def _may_fetch(self) -> bool:
        """Return False after a fetch that failed just now, or if unknown ids asked for the last."""
        if self._fetched_at == self._tried_at:
            return self._is_older(self._fetched_at, MIN_FETCH_INTERVAL_SECONDS)
        return self._is_older(self._tried_at, PAUSE_AFTER_FAILURE_SECONDS)

    @staticmethod
    def _is_older(at: float | None, seconds: float) -> bool:
        return at is None or monotonic() - at > seconds

    async def _fetch_once(self) -> None:
        """Fetch the keys, or wait for the fetch that another request has begun."""
        if self._fetch is None:
            self._tried_at = monotonic()
            self._fetch = asyncio.create_task(self._fetch_keys())
            self._fetch.add_done_callback(self._keep)
        await asyncio.shield(self._fetch)

    def _keep(self, fetch: asyncio.Task[dict[str, jwt.PyJWK]]) -> None:
        self._fetch = None
        if not fetch.cancelled() and fetch.exception() is None:
            self._keys = fetch.result()
            self._fetched_at = self._tried_at = monotonic()

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
