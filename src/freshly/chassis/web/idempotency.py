"""`Idempotency-Key`: a POST that is sent again gets the first response again.

If a route has one transaction, it claims the key first and stores the response last: all of it is
committed or nothing, and a concurrent request with the same key waits for the row. A route with
external calls has several transactions. There the claim is a transaction of its own, which expires
in case the process dies, and the response is stored in another one.

Stored are successes and refusals that a retry would repeat. A response that a retry may improve
(401, 412, 429, 5xx) is not stored.
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
    Claim,
    IdempotencyRecords,
    ReplayableResponse,
    ResponseCipher,
    StoredResponse,
)
from freshly.chassis.data.transactions import (
    ON_TRANSACTION_START,
    Database,
    Session,
    request_database,
)
from freshly.chassis.errors import AppError, Conflict, Unprocessable
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.security.caller import Caller
from freshly.chassis.web.error_handlers import error_response
from freshly.chassis.web.error_responses import error_to_response

logger = get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
KEY = re.compile(r"[\x21-\x7e]{1,255}")
STORED_REFUSALS = {400, 403, 404, 409, 410, 415, 422}
FIRST_REFUSAL = 300
CLAIM_TTL = 120  # seconds; longer than any request with external calls may take
MAX_WAIT = 30  # seconds for the first request with this key
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks for its response
CHUNK = 65536  # bytes
MAX_STORED_BYTES = 256 * 1024  # of a response; a list is soon read again, but is stored for a day


class BadKey(Unprocessable):
    code = "bad_idempotency_key"
    detail = "Idempotency-Key must have 1 to 255 printable ASCII characters and no spaces."


class KeyReused(Unprocessable):
    code = "idempotency_key_reused"
    detail = (
        "This Idempotency-Key was sent with another request before. "
        "Please send a new key with each request."
    )


class ResponseNotStored(Conflict):
    code = "response_not_stored"
    detail = (
        "This request was done before, but its response was too large to be stored. "
        "Please read {path} to see the result."
    )


class RequestInProgress(Conflict):
    code = "still_at_work"
    detail = (
        "The first request with this Idempotency-Key is still running. "
        "Please try again in a few seconds."
    )
    headers = {"Retry-After": "5"}


class _Replay(Exception):
    def __init__(self, response: Response) -> None:
        self.response = response


def with_idempotency(
    handler: Handler, route: str, *, signed_in: bool, one_transaction: bool
) -> Handler:
    """Return the handler of a POST that honours an `Idempotency-Key`."""

    async def handle(request: Request) -> Response:
        key = request.headers.get("Idempotency-Key")
        caller: Caller | Exception | None = request.state.caller
        if key is None or (signed_in and not isinstance(caller, Caller)):
            return await handler(request)
        if not KEY.fullmatch(key):
            raise BadKey
        user_id = caller.user_id if signed_in and isinstance(caller, Caller) else None
        # A public route has no caller. There the key alone finds the response, but only if the
        # client sends the same secrets in the body or as a bearer token.
        sender = str(user_id) if signed_in else request.headers.get("Authorization", "")
        cipher: ResponseCipher = request.state.resources.response_cipher
        try:
            claim = cipher.claim(sender, route, key, user_id, await _fingerprint(request))
            work = _IdempotentRequest(request, claim, cipher)
            handle_once = work.in_one_transaction if one_transaction else work.in_several
            return await handle_once(handler)
        finally:
            await request.close()  # closes the files of a form that the fingerprint has read

    return handle


async def _fingerprint(request: Request) -> bytes:
    """Return a digest of the request. For a form, of its parts: each boundary is different."""
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
    """A request with an `Idempotency-Key`."""

    def __init__(self, request: Request, claim: Claim, cipher: ResponseCipher) -> None:
        self.request = request
        self.claim = claim
        self.cipher = cipher
        self.session: Session | None = None

    async def in_one_transaction(self, handler: Handler) -> Response:
        self.request.scope[ON_TRANSACTION_START] = (self._begin,)
        try:
            response = await handler(self.request)
        except _Replay as replay:
            return replay.response
        except (AppError, RequestValidationError) as error:
            if self.session is None:
                raise
            commit_on_error = isinstance(error, AppError) and error.commit_on_error
            response = await error_response(self.request, error)
            if not _is_stored(response):
                if commit_on_error:  # its work is committed, its key is not
                    await IdempotencyRecords(self.session).release(self.claim)
                raise
            if not commit_on_error:
                await self.savepoint.rollback()
        if self.session is not None:
            await self.session.flush()
            await self._store(self.session, response, bytes(response.body))
        return response

    async def _begin(self, session: Session) -> None:
        if (found := await IdempotencyRecords(session).claim(self.claim)) is not None:
            raise _Replay(self._replayed(found))
        # If the request is refused, its writes are rolled back to here and its key stays.
        self.savepoint = await session.begin_nested()
        self.session = session

    async def in_several(self, handler: Handler) -> Response:
        db = request_database(self.request.scope["state"])
        if (known := await self._claim_or_wait(db)) is not None:
            return known
        try:
            response = await self._answered(handler)
        except BaseException:
            await self._release(db)
            raise
        if isinstance(response, StreamingResponse):
            response.body_iterator = self._store_at_end(db, response, response.body_iterator)
            return response
        await self._store_afterwards(db, response, bytes(response.body))
        return response

    async def _answered(self, handler: Handler) -> Response:
        try:
            return await handler(self.request)
        except (AppError, RequestValidationError) as error:
            response = await error_response(self.request, error)
            if not _is_stored(response):
                raise
            return response

    async def _claim_or_wait(self, db: Database) -> Response | None:
        """Claim the key and return None, or return the stored response of another request."""
        until, pause = monotonic() + MAX_WAIT, FIRST_PAUSE
        while True:
            async with db.write() as session:
                found = await IdempotencyRecords(session).claim(self.claim, CLAIM_TTL)
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

    async def _store_at_end(
        self, db: Database, response: Response, pieces: AsyncIterable[Any]
    ) -> AsyncIterator[bytes]:
        """Pass on a stream, and store what it has sent when it ends.

        If the client disconnects early, a retry gets the text up to that point. A stream that
        failed, or that had sent nothing, is not stored: a retry runs the request again.
        """
        sent: list[bytes] = []
        sent_bytes, has_content, has_failed = 0, False, False
        try:
            async for piece in pieces:
                event = piece if isinstance(piece, bytes) else str(piece).encode()
                has_content = has_content or _has_content(event)
                has_failed = has_failed or _is_error(event)
                sent_bytes += len(event)
                if sent_bytes - len(event) <= MAX_STORED_BYTES:  # more is not stored
                    sent.append(event)
                yield event
        finally:
            with anyio.CancelScope(shield=True):
                if has_content and not has_failed:
                    await self._store_afterwards(db, response, b"".join(sent))
                else:
                    await self._release(db)

    async def _store_afterwards(self, db: Database, response: Response, body: bytes) -> None:
        """Store the response. If that fails, the client still gets it: the work is committed."""
        try:
            async with db.write() as session:
                await self._store(session, response, body)
        except Exception:
            logger.exception("idempotent response not stored")

    async def _release(self, db: Database) -> None:
        """Release the key for a retry. If the database is away, the claim expires by itself."""
        try:
            with anyio.CancelScope(shield=True):
                async with db.write() as session:
                    await IdempotencyRecords(session).release(self.claim)
        except Exception:
            logger.exception("idempotency claim not released")

    async def _store(self, session: Session, response: Response, body: bytes) -> None:
        headers = [(n, v) for n, v in response.headers.items() if n != "content-length"]
        answer = ReplayableResponse(response.status_code, headers, body)
        if len(body) > MAX_STORED_BYTES:
            answer = self._too_large()
        sealed = self.cipher.close(self.claim, answer)
        await IdempotencyRecords(session).keep(self.claim, answer.status, sealed)

    def _too_large(self) -> ReplayableResponse:
        """Return what a retry is told instead: where the result of this request can be read."""
        read: Any = getattr(self.request.scope.get("route"), "resource", None)
        path = read.path.format(**self.request.path_params) if read else self.request.url.path
        refusal = error_to_response(ResponseNotStored(path=path))
        headers = [(n, v) for n, v in refusal.headers.items() if n != "content-length"]
        return ReplayableResponse(refusal.status_code, headers, bytes(refusal.body))

    def _replayed(self, found: StoredResponse) -> Response:
        if found.fingerprint != self.claim.fingerprint:
            raise KeyReused
        if found.status is None or found.sealed is None:
            raise RequestInProgress
        answer = self.cipher.open(self.claim, found.status, found.sealed)
        response = Response(answer.body, answer.status)
        for name, value in answer.headers:
            response.headers[name] = value
        response.headers["Idempotency-Replayed"] = "true"
        return response


def _is_stored(response: Response) -> bool:
    return response.status_code < FIRST_REFUSAL or response.status_code in STORED_REFUSALS


def _has_content(event: bytes) -> bool:
    return not event.startswith(b":")  # a comment keeps the connection alive


def _is_error(event: bytes) -> bool:
    return event.startswith(b"event: error")
