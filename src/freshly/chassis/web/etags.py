"""Conditional responses: `ETag`, `If-None-Match`, 304, `Cache-Control` and `If-Match`."""

from typing import Any

from fastapi import Request, Response
from pydantic import TypeAdapter

from freshly.chassis.cache.body import CachedBody, etag_of
from freshly.chassis.errors import AppError
from freshly.chassis.web.pagination import next_link

NO_STORE = "no-store"
JSON_BYTES = "application/json"
WORTH_COMPRESSING = 1000  # bytes


class PreconditionFailed(AppError):
    status, code = 412, "precondition_failed"
    detail = "This has changed since you loaded it. Please load it again, then repeat your change."


async def no_store(response: Response) -> None:
    """A dependency of routes whose responses no cache may store."""
    response.headers["Cache-Control"] = NO_STORE


def private_max_age(seconds: int) -> str:
    """Return a `Cache-Control` that lets only the user's own client store the response."""
    return f"private, max-age={seconds}, must-revalidate"


def to_response(
    request: Request, body: CachedBody, cache_control: str = NO_STORE, *, quoted: bool = True
) -> Response:
    """Return the bytes, or 304 if the client has them already.

    The existing app knows some ETags without quotes (`quoted=False`).
    """
    headers = {
        "Cache-Control": cache_control,
        "ETag": f'"{body.etag}"' if quoted else body.etag,
    }
    if body.next_cursor:
        headers["Link"] = next_link(request, cursor=body.next_cursor)
    if _matches(request.headers.get("If-None-Match"), body.etag):
        return Response(status_code=304, headers=headers)
    content = body.body
    if len(content) >= WORTH_COMPRESSING and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        content = body.compressed
    return Response(content, headers=headers, media_type=JSON_BYTES)


def conditional(request: Request, adapter: TypeAdapter[Any], value: Any, max_age: int) -> Response:
    """Return the value as JSON with an unquoted ETag (as the existing app expects), or 304."""
    content = adapter.dump_json(adapter.validate_python(value, from_attributes=True), by_alias=True)
    return to_response(request, CachedBody.of(content), private_max_age(max_age), quoted=False)


def with_etag(response: Response, request: Request) -> Response:
    """Add the ETag of a complete response, or return 304 if the client has it already."""
    tag = etag_of(bytes(response.body), response.headers.get("Link"))
    response.raw_headers.append((b"etag", f'"{tag}"'.encode()))
    if not _matches(request.headers.get("If-None-Match"), tag):
        return response
    not_modified = Response(status_code=304)
    not_modified.raw_headers = [
        header for header in response.raw_headers if not header[0].startswith(b"content-")
    ]
    return not_modified


def is_one_of(tag: str | None, if_match: str) -> bool:
    """Return whether `If-Match` lists the tag. A weak tag (`W/"..."`) matches nothing."""
    if if_match.strip() == "*":
        return tag is not None
    strong = (part.strip() for part in if_match.split(",") if not part.strip().startswith("W/"))
    return tag is not None and tag.strip('"') in {part.strip('"') for part in strong}


def _matches(if_none_match: str | None, tag: str) -> bool:
    """Return whether the header lists the tag: quoted, weak and unquoted tags are equal."""
    if if_none_match is None:
        return False
    tags = {part.strip().removeprefix("W/").strip('"') for part in if_none_match.split(",")}
    return tag in tags or "*" in tags
