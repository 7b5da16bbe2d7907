"""Reads text and token usage from chunks of a response.

A chunk is an object of the openai library, or JSON that the library did not parse.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

from freshly.chassis.ports.llm import TokenUsage

MAX_USAGE_TOKENS = 10_000_000  # of a call; a server that reports more has miscounted


def chunks_of(response: Any) -> AsyncIterator[Any]:
    """Return the chunks of a stream, or the whole of a JSON response as the only chunk."""
    content_type = str(response.response.headers.get("content-type", ""))
    return _whole(response) if content_type.startswith("application/json") else aiter(response)


async def _whole(response: Any) -> AsyncIterator[Any]:
    yield json.loads(await response.response.aread())


def text_of(chunk: Any) -> str:
    """Return the chunk's text without NUL and lone surrogates, which databases cannot store."""
    choices = _member(chunk, "choices")
    if not choices:
        return ""
    message = _member(choices[0], "delta") or _member(choices[0], "message")
    text = _member(message, "content")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise TypeError("content is not a text")
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def usage_of(response: Any) -> TokenUsage | None:
    """Return the token usage in a chunk or response. None if there is none, or if it is absurd."""
    total = _member(_member(response, "usage"), "total_tokens")
    return TokenUsage(total) if type(total) is int and 0 < total < MAX_USAGE_TOKENS else None


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)
