"""`Idempotency-Key`: who sends a POST again is given the first answer again.

Where a route has one unit of work, the key is claimed in it first and the answer kept in it last:
either all of it is there or nothing, and whoever sends the same meanwhile waits for the row. What
calls out has several units of work; there the claim is one of its own, which expires in case that
the process dies, and the answer is kept in another when it is known.

Kept are successes and refusals that would be repeated. What may go better next time (401, 412,
429, 5xx) leaves no trace.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any

import anyio
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile
from starlette.responses import StreamingResponse

from freshly.chassis.data.idempotency_keys import (
    Answer,
    Claim,
    Found,
    IdempotencyRecords,
    ResponseCipher,
)
from freshly.chassis.data.transactions import ON_TRANSACTION_START, Database, Session
from freshly.chassis.errors import AppError, Conflict, Unprocessable, refusal
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.security.caller import Caller

logger = get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_REFUSALS = {400, 403, 404, 409, 410, 415, 422}
FIRST_REFUSAL = 300
CLAIMED_FOR = 120  # seconds; longer than any work that calls out may take
WAITS_FOR = 30  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds
CHUNK = 65536  # bytes


class BadKey(Unprocessable):
    code = "bad_idempotency_key"
    detail = "Idempotency-Key: 1 to 255 printable ASCII characters without blanks"


class KeyReused(Unprocessable):
    code = "idempotency_key_reused"
    detail = "Idempotency-Key: was sent with another request before; give each its own"


class RequestInProgress(Conflict):
    code = "still_at_work"
    detail = "The first request with this Idempotency-Key is still being worked on."
    headers = {"Retry-After": "5"}


class _Replay(Exception):
    def __init__(self, response: Response) -> None:
        self.response = response


def with_idempotency(handler: Handler, route: str, *, signed_in: bool, one_unit: bool) -> Handler:
    """The handler of a POST, honouring the key where one is sent."""

    async def answer(request: Request) -> Response:
        key = request.headers.get("Idempotency-Key")
        caller: Caller | Exception | None = request.state.caller
        if key is None or (signed_in and not isinstance(caller, Caller)):
            return await handler(request)
        if not KEY.fullmatch(key):
            raise BadKey
        user_id = caller.user_id if signed_in and isinstance(caller, Caller) else None
        # Nobody is known on a public route. There the key alone finds the answer, wherever it is
        # sent from, but only for who sends the same secrets in the body or as a bearer.
        who = str(user_id) if signed_in else request.headers.get("Authorization", "")
        seal: ResponseCipher = request.state.resources.response_cipher
        try:
            claim = seal.claim(who, route, key, user_id, await _asked(request))
            work = _IdempotentRequest(request, claim, seal)
            return await (work.in_one_unit if one_unit else work.in_several)(handler)
        finally:
            await request.close()  # a form that was read for its fingerprint

    return answer


async def _asked(request: Request) -> bytes:
    """What is asked for, in a few bytes. Of a form the parts, as its boundary is new each time."""
    target = f"{request.method} {request.url.path}?{request.url.query}\n"
    found = hashlib.sha256(target.encode())
    if not request.headers.get("Content-Type", "").startswith("multipart/"):
        found.update(await request.body())
        return found.digest()
    for name, value in (await request.form()).multi_items():
        if isinstance(value, UploadFile):
            found.update(repr((name, value.filename, value.content_type, value.size)).encode())
            while chunk := await value.read(CHUNK):
                found.update(chunk)
            await value.seek(0)
        else:
            found.update(repr((name, value)).encode())
    return found.digest()


class _IdempotentRequest:
    """A request with its key."""

    def __init__(self, request: Request, claim: Claim, seal: ResponseCipher) -> None:
        self.request = request
        self.claim = claim
        self.seal = seal
        self.session: Session | None = None

    async def in_one_unit(self, handler: Handler) -> Response:
        self.request.scope[ON_TRANSACTION_START] = (self._begin,)
        try:
            response = await handler(self.request)
        except _Replay as known:
            return known.response
        except (AppError, RequestValidationError) as error:
            if self.session is None:
                raise
            commit_on_error = isinstance(error, AppError) and error.commit_on_error
            response = await refusal(self.request, error)
            if not _is_kept(response):
                if commit_on_error:  # and is committed; the key is not
                    await IdempotencyRecords(self.session).release(self.claim)
                raise
            if not commit_on_error:
                await self.savepoint.rollback()
        if self.session is not None:
            await self.session.flush()
            await self._keep(self.session, response, bytes(response.body))
        return response

    async def _begin(self, session: Session) -> None:
        if (found := await IdempotencyRecords(session).claim(self.claim)) is not None:
            raise _Replay(self._replayed(found))
        # What a refused request has written goes; its key stays.
        self.savepoint = await session.begin_nested()
        self.session = session

    async def in_several(self, handler: Handler) -> Response:
        db: Database = self.request.state.resources.db
        if (known := await self._claim_or_wait(db)) is not None:
            return known
        try:
            response = await self._answered(handler)
        except BaseException:
            await self._release(db)
            raise
        if isinstance(response, StreamingResponse):
            response.body_iterator = self._kept_at_its_end(db, response, response.body_iterator)
            return response
        await self._keep_afterwards(db, response, bytes(response.body))
        return response

    async def _answered(self, handler: Handler) -> Response:
        try:
            return await handler(self.request)
        except (AppError, RequestValidationError) as error:
            response = await refusal(self.request, error)
            if not _is_kept(response):
                raise
            return response

    async def _claim_or_wait(self, db: Database) -> Response | None:
        """None when the work is ours to do."""
        until, pause = monotonic() + WAITS_FOR, FIRST_PAUSE
        while True:
            async with db.write() as session:
                found = await IdempotencyRecords(session).claim(self.claim, CLAIMED_FOR)
            if found is None:
                return None
            while found is not None:
                if found.status is not None or found.fingerprint != self.claim.fingerprint:
                    return self._replayed(found)
                if monotonic() > until:
                    raise RequestInProgress
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                async with db.read() as session:
                    found = await IdempotencyRecords(session).find(self.claim)

    async def _kept_at_its_end(
        self, db: Database, response: Response, pieces: AsyncIterable[Any]
    ) -> AsyncIterator[bytes]:
        """Whoever leaves early and asks again is told what there was when he left.

        A stream that failed, or had not begun to tell anything, can be asked for anew.
        """
        told: list[bytes] = []
        try:
            async for piece in pieces:
                told.append(piece if isinstance(piece, bytes) else str(piece).encode())
                yield told[-1]
        finally:
            with anyio.CancelScope(shield=True):
                if any(map(_tells, told)) and not any(map(_fails, told)):
                    await self._keep_afterwards(db, response, b"".join(told))
                else:
                    await self._release(db)

    async def _keep_afterwards(self, db: Database, response: Response, body: bytes) -> None:
        """The work is done: whoever asked is told so, even if it cannot be told twice."""
        try:
            async with db.write() as session:
                await self._keep(session, response, body)
        except Exception:
            logger.exception("first answer not kept")

    async def _release(self, db: Database) -> None:
        """For whoever asks again; where the database is away the claim expires by itself."""
        try:
            with anyio.CancelScope(shield=True):
                async with db.write() as session:
                    await IdempotencyRecords(session).release(self.claim)
        except Exception:
            logger.exception("claim not released")

    async def _keep(self, session: Session, response: Response, body: bytes) -> None:
        headers = [(n, v) for n, v in response.headers.items() if n != "content-length"]
        answer = Answer(response.status_code, headers, body)
        sealed = self.seal.close(self.claim, answer)
        await IdempotencyRecords(session).keep(self.claim, answer.status, sealed)

    def _replayed(self, found: Found) -> Response:
        if found.fingerprint != self.claim.fingerprint:
            raise KeyReused
        if found.status is None or found.sealed is None:
            raise RequestInProgress
        answer = self.seal.open(self.claim, found.status, found.sealed)
        response = Response(answer.body, answer.status)
        for name, value in answer.headers:
            response.headers[name] = value
        response.headers["Idempotency-Replayed"] = "true"
        return response


def _is_kept(response: Response) -> bool:
    return response.status_code < FIRST_REFUSAL or response.status_code in KEPT_REFUSALS


def _tells(event: bytes) -> bool:
    return not event.startswith(b":")  # a comment, to keep the connection


def _fails(event: bytes) -> bool:
    return event.startswith(b"event: error")
