"""First answers, kept for a day under the keys of those who may ask again (`idempotency`).

They are sealed: among them are tokens, links and codes. What finds them is keyed too, since a
plain hash of a request that has a password in it would let the password be guessed.
"""

import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ForeignKey, LargeBinary, String, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Base
from freshly.chassis.data.constraints import insert_into
from freshly.chassis.data.functions import later, now
from freshly.chassis.data.transactions import Session
from freshly.chassis.data.types import Instant

KEPT_FOR = 24 * 3600  # seconds
NONCE = 12  # bytes
Headers = Sequence[tuple[str, str]]


class IdempotencyRecord(Base):
    """A claim while the work is going on, then its answer."""

    __tablename__ = "idempotency_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # of caller, route and key
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    fingerprint: Mapped[str] = mapped_column(String(64))  # of what was asked
    holder: Mapped[str] = mapped_column(String(32))  # whose claim it is
    expires_at: Mapped[datetime] = mapped_column(Instant(), index=True)
    status: Mapped[int | None]
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)


answers = IdempotencyRecord.__table__.c
FOUND = (answers.fingerprint, answers.status, answers.sealed)


class Found(NamedTuple):
    """What is kept; without a status while it is being worked on."""

    fingerprint: str
    status: int | None
    sealed: bytes | None


@dataclass(frozen=True)
class Claim:
    """What a request asks to be the first to do."""

    id: str
    fingerprint: str
    user_id: int | None
    holder: str


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes


class ResponseCipher:
    """Keys for finding and for sealing, derived from the secret of this installation."""

    def __init__(self, secret: str) -> None:
        self._finding = hmac.digest(secret.encode(), b"idempotency: find", "sha256")
        self._sealing = AESGCM(hmac.digest(secret.encode(), b"idempotency: seal", "sha256"))

    def claim(self, caller: str, route: str, key: str, user_id: int | None, asked: bytes) -> Claim:
        place = self._digest(f"{caller}\n{route}\n{key}".encode())
        return Claim(place, self._digest(asked), user_id, secrets.token_hex(16))

    def close(self, claim: Claim, answer: Answer) -> bytes:
        nonce = secrets.token_bytes(NONCE)
        plain = json.dumps(answer.headers).encode() + b"\n" + answer.body
        return nonce + self._sealing.encrypt(nonce, plain, claim.id.encode())

    def open(self, claim: Claim, status: int, sealed: bytes) -> Answer:
        plain = self._sealing.decrypt(sealed[:NONCE], sealed[NONCE:], claim.id.encode())
        headers, _, body = plain.partition(b"\n")
        return Answer(status, [(name, value) for name, value in json.loads(headers)], body)

    def _digest(self, text: bytes) -> str:
        return hmac.digest(self._finding, text, "sha256").hex()


@dataclass
class IdempotencyRecords:
    session: Session

    async def claim(self, claim: Claim, seconds: int = KEPT_FOR) -> Found | None:
        """None if it is now ours, for so long; else what is there.

        Waits for whoever claims the same in another transaction to end it.
        """
        connection = await self._connection()
        values = {
            "user_id": claim.user_id,
            "fingerprint": claim.fingerprint,
            "holder": claim.holder,
            "expires_at": later(seconds),
            "status": None,
            "sealed": None,
        }
        taken = await connection.execute(
            insert_into(connection, IdempotencyRecord)
            .values(id=claim.id, **values)
            .on_conflict_do_update(
                index_elements=[answers.id], set_=values, where=answers.expires_at <= now()
            )
            .returning(answers.id)
        )
        if taken.first():
            return None
        there = select(*FOUND).where(answers.id == claim.id)
        return Found(*(await connection.execute(there)).one())

    async def find(self, claim: Claim) -> Found | None:
        connection = await self._connection()
        known = select(*FOUND).where(answers.id == claim.id, answers.expires_at > now())
        row = (await connection.execute(known)).one_or_none()
        return Found(*row) if row else None

    async def keep(self, claim: Claim, status: int, sealed: bytes) -> None:
        await (await self._connection()).execute(
            update(IdempotencyRecord)
            .where(answers.id == claim.id, answers.holder == claim.holder)
            .values(status=status, sealed=sealed, expires_at=later(KEPT_FOR))
        )

    async def release(self, claim: Claim) -> None:
        await (await self._connection()).execute(
            delete(IdempotencyRecord).where(answers.id == claim.id, answers.holder == claim.holder)
        )

    async def purge(self) -> int:
        """Drops what nobody can ask for any more; how many they were."""
        gone = await (await self._connection()).execute(
            delete(IdempotencyRecord).where(answers.expires_at <= now())
        )
        return gone.rowcount

    async def _connection(self) -> AsyncConnection:
        return await self.session.connection()  # there are no rows to be followed by the session
