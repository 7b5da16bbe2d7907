"""Answers that a client may keep: digest, `If-None-Match`, 304, `Cache-Control`, `If-Match`."""

import gzip
from typing import Any

from fastapi import Request, Response
from pydantic import TypeAdapter
from xxhash import xxh3_128

from freshly.chassis.data.pagination import next_link
from freshly.chassis.errors import AppError

NO_STORE = "no-store"
JSON_BYTES = "application/json"
WORTH_COMPRESSING = 1000  # bytes
COMPRESSION = 5  # of 9


class PreconditionFailed(AppError):
    status, code = 412, "precondition_failed"
    detail = "This has changed since it was read. Read it again, then decide."


async def no_store(response: Response) -> None:
    """A dependency of routes whose answers nobody may keep."""
    response.headers["Cache-Control"] = NO_STORE


def etag_of(body: bytes, further: str | None = None) -> str:
    """32 hex digits (XXH3, 128 bits); a name for these bytes, not a protection.

    Of a list also by where it goes on: its `Link` is as much of the answer as its rows.
    """
    found = xxh3_128(body)
    if further is not None:
        found.update(b"\n" + further.encode())
    return found.hexdigest()


class CachedBody:
    """An answer as the bytes that leave, under the name of their digest."""

    __slots__ = ("_compressed", "body", "etag", "next_cursor")

    def __init__(self, body: bytes, etag: str, next_cursor: str | None = None) -> None:
        self.body = body
        self.etag = etag
        self.next_cursor = next_cursor
        self._compressed: bytes | None = None

    @property
    def compressed(self) -> bytes:
        """Compressed once, however often it leaves."""
        if self._compressed is None:
            self._compressed = gzip.compress(self.body, COMPRESSION, mtime=0)
        return self._compressed

    def to_response(
        self, request: Request, cache_control: str = NO_STORE, *, quoted: bool = True
    ) -> Response:
        """The bytes, or 304 without any for a client that has them.

        The existing app knows some ETags without quotes (`quoted=False`).
        """
        given = request.headers
        headers = {
            "Cache-Control": cache_control,
            "ETag": f'"{self.etag}"' if quoted else self.etag,
        }
        if self.next_cursor:
            headers["Link"] = next_link(request, self.next_cursor)
        if _matches(given.get("If-None-Match"), self.etag):
            return Response(status_code=304, headers=headers)
        body = self.body
        if len(body) >= WORTH_COMPRESSING and "gzip" in given.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = self.compressed
        return Response(body, headers=headers, media_type=JSON_BYTES)


def for_a_while(seconds: int) -> str:
    """`Cache-Control` of what only its person may keep, and asks for again after that."""
    return f"private, max-age={seconds}, must-revalidate"


def conditional(request: Request, adapter: TypeAdapter[Any], value: Any, max_age: int) -> Response:
    """The value as JSON with an unquoted ETag (as the existing app has it), or 304."""
    body = adapter.dump_json(adapter.validate_python(value, from_attributes=True), by_alias=True)
    return CachedBody(body, etag_of(body)).to_response(request, for_a_while(max_age), quoted=False)


def with_etag(response: Response, request: Request) -> Response:
    """A whole answer under the name of its digest, or 304 for a client that has it."""
    tag = etag_of(bytes(response.body), response.headers.get("Link"))
    response.raw_headers.append((b"etag", f'"{tag}"'.encode()))
    if not _matches(request.headers.get("If-None-Match"), tag):
        return response
    known = Response(status_code=304)
    known.raw_headers = [one for one in response.raw_headers if not one[0].startswith(b"content-")]
    return known


def is_one_of(tag: str | None, wanted: str) -> bool:
    """Is it among those of `If-Match`? A weak one (`W/"..."`) is equal to nothing."""
    if wanted.strip() == "*":
        return tag is not None
    strong = (part.strip() for part in wanted.split(",") if not part.strip().startswith("W/"))
    return tag is not None and tag.strip('"') in {part.strip('"') for part in strong}


def _matches(wanted: str | None, tag: str) -> bool:
    """Quoted, weak and unquoted alike."""
    if wanted is None:
        return False
    known = {part.strip().removeprefix("W/").strip('"') for part in wanted.split(",")}
    return tag in known or "*" in known
