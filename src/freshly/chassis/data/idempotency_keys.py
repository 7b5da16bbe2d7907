"""Stored responses: a retry with the same idempotency key gets the first response, for a day,
or for a minute on public routes.

They are encrypted, because some contain tokens, links and codes. Ids and fingerprints are keyed
hashes: from a plain hash of a request with a password, the password could be guessed.
"""

import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ForeignKey, LargeBinary, String, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Base
from freshly.chassis.data.constraints import insert_into
from freshly.chassis.data.functions import later, now
from freshly.chassis.data.quotas import CountsTowards, ensure_room
from freshly.chassis.data.transactions import Session
from freshly.chassis.data.types import Instant

STORED_FOR = timedelta(days=1)
# Responses of public routes hold tokens or personal data, and no account whose deletion ends them.
STORED_FOR_STRANGERS = timedelta(minutes=1)
NONCE_BYTES = 12
Headers = Sequence[tuple[str, str]]


class IdempotencyRecord(Base):
    """A claim while the first request is in progress, then its response."""

    __tablename__ = "idempotency_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # hash of caller, route and key
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    fingerprint: Mapped[str] = mapped_column(String(64))  # hash of the request
    holder: Mapped[str] = mapped_column(String(32))  # the request that has the claim
    expires_at: Mapped[datetime] = mapped_column(Instant(), index=True)
    status: Mapped[int | None]
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)

    __quotas__ = (CountsTowards("stored_responses", person="user_id", bytes_of=("sealed",)),)


records = IdempotencyRecord.__table__.c
STORED_COLUMNS = (records.fingerprint, records.status, records.sealed)


class StoredResponse(NamedTuple):
    """A stored response. It has no status while the first request is in progress."""

    fingerprint: str
    status: int | None
    sealed: bytes | None


@dataclass(frozen=True)
class Claim:
    """The request that a client sends with an idempotency key."""

    id: str
    fingerprint: str
    user_id: int | None
    holder: str


@dataclass(frozen=True)
class ReplayableResponse:
    """A response, before it is encrypted."""

    status: int
    headers: Headers
    body: bytes


class ResponseCipher:
    """Hashes keys and encrypts responses, with keys derived from this installation's secret."""

    def __init__(self, secret: str) -> None:
        self._finding = hmac.digest(secret.encode(), b"idempotency: find", "sha256")
        self._sealing = AESGCM(hmac.digest(secret.encode(), b"idempotency: seal", "sha256"))

    def claim(
        self, caller: str, route: str, key: str, user_id: int | None, request: bytes
    ) -> Claim:
        id_ = self._digest(f"{caller}\n{route}\n{key}".encode())
        return Claim(id_, self._digest(request), user_id, secrets.token_hex(16))

    def close(self, claim: Claim, answer: ReplayableResponse) -> bytes:
        """Return the encrypted response."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        plain = json.dumps(answer.headers).encode() + b"\n" + answer.body
        return nonce + self._sealing.encrypt(nonce, plain, claim.id.encode())

    def open(self, claim: Claim, status: int, sealed: bytes) -> ReplayableResponse:
        """Return the decrypted response."""
        plain = self._sealing.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], claim.id.encode())
        headers, _, body = plain.partition(b"\n")
        return ReplayableResponse(
            status, [(name, value) for name, value in json.loads(headers)], body
        )

    def _digest(self, text: bytes) -> str:
        return hmac.digest(self._finding, text, "sha256").hex()


@dataclass
class IdempotencyRecords:
    """Claims and stored responses, in the transaction of a session."""

    session: Session

    async def claim(
        self, claim: Claim, seconds: float = STORED_FOR.total_seconds()
    ) -> StoredResponse | None:
        """Claim the key for so many seconds. Return None, or the record that has it already.

        Waits for another transaction that claims the same key to end. Raises QuotaExceeded if the
        user's stored responses are too large already.
        """
        connection = await self._connection()
        values = {
            "user_id": claim.user_id,
            "fingerprint": claim.fingerprint,
            "holder": claim.holder,
            "expires_at": later(int(seconds)),
            "status": None,
            "sealed": None,
        }
        claimed = await connection.execute(
            insert_into(connection, IdempotencyRecord)
            .values(id=claim.id, **values)
            .on_conflict_do_update(
                index_elements=[records.id], set_=values, where=records.expires_at <= now()
            )
            .returning(records.id)
        )
        if claimed.first():
            if claim.user_id is not None:
                await ensure_room(self.session, "stored_responses", ("person", claim.user_id))
            return None
        stored = select(*STORED_COLUMNS).where(records.id == claim.id)
        return StoredResponse(*(await connection.execute(stored)).one())

    async def find(self, claim: Claim) -> StoredResponse | None:
        """Return the record of the key, or None if there is none or it has expired."""
        connection = await self._connection()
        stored = select(*STORED_COLUMNS).where(records.id == claim.id, records.expires_at > now())
        row = (await connection.execute(stored)).one_or_none()
        return StoredResponse(*row) if row else None

    async def keep(self, claim: Claim, status: int, sealed: bytes) -> None:
        """Store the response, if the claim is still this request's."""
        stored_for = STORED_FOR_STRANGERS if claim.user_id is None else STORED_FOR
        await (await self._connection()).execute(
            update(IdempotencyRecord)
            .where(records.id == claim.id, records.holder == claim.holder)
            .values(status=status, sealed=sealed, expires_at=later(int(stored_for.total_seconds())))
        )

    async def release(self, claim: Claim) -> None:
        """Give the claim up, so that a retry does the work again."""
        await (await self._connection()).execute(
            delete(IdempotencyRecord).where(records.id == claim.id, records.holder == claim.holder)
        )

    async def purge(self) -> int:
        """Delete expired records. Return how many there were."""
        deleted = await (await self._connection()).execute(
            delete(IdempotencyRecord).where(records.expires_at <= now())
        )
        return deleted.rowcount

    async def _connection(self) -> AsyncConnection:
        # Statements on the connection, because the session need not track these rows.
        return await self.session.connection()
