"""Answers that a client may keep: digest, `If-None-Match`, 304, `Cache-Control`."""

import hashlib
from typing import Any

from fastapi import Request, Response
from pydantic import TypeAdapter

NO_STORE = "no-store"
JSON_BYTES = "application/json"


async def no_store(response: Response) -> None:
    """A dependency of routes whose answers nobody may keep."""
    response.headers["Cache-Control"] = NO_STORE


def digest(body: bytes) -> str:
    """32 hex digits; a name for these bytes, not a protection."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def conditional(
    request: Request, response: Response, adapter: TypeAdapter[Any], value: Any, max_age: int
) -> Response:
    """The value as JSON with an unquoted ETag (as the existing app has it), or 304."""
    body = adapter.dump_json(adapter.validate_python(value, from_attributes=True), by_alias=True)
    tag = digest(body)
    headers = {
        **response.headers,
        "Cache-Control": f"private, max-age={max_age}, must-revalidate",
        "ETag": tag,
    }
    headers.pop("content-length", None)
    if _matches(request.headers.get("If-None-Match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JSON_BYTES)


def _matches(wanted: str | None, tag: str) -> bool:
    """Quoted, weak and unquoted alike."""
    if wanted is None:
        return False
    known = {part.strip().removeprefix("W/").strip('"') for part in wanted.split(",")}
    return tag in known or "*" in known
