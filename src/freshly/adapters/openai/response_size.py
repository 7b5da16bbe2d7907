"""Bounds the size of the model server's responses."""

from collections.abc import AsyncIterator
from typing import Any

MAX_TEXT_BYTES = 2_000_000  # of a response, and in addition for each token that was requested:
MAX_BYTES_PER_TOKEN = 1_000  # in a stream, each token arrives in an event of its own
MAX_IMAGE_BYTES = 8_000_000  # 1792 x 1024 pixels that do not compress, in base64


class ResponseTooLarge(ValueError):
    """The server sent more bytes than any proper response has."""


def limit_response_size(response: Any, max_tokens: int) -> None:
    """Make the response raise ResponseTooLarge if its body has too many bytes.

    The bytes are counted as they arrive. A compressed response is refused at its first byte,
    because a few bytes could unpack to gigabytes. Our requests ask the server not to compress.
    """
    is_image = response.request.url.path.endswith("/images/generations")
    limit = MAX_IMAGE_BYTES if is_image else MAX_TEXT_BYTES + MAX_BYTES_PER_TOKEN * max_tokens
    is_compressed = response.headers.get("content-encoding", "identity") != "identity"
    response.stream = _limited(response.stream, 0 if is_compressed else limit)


def _limited(stream: Any, limit: int) -> Any:
    import httpx2  # noqa: PLC0415 - imported late, like the openai library

    class LimitedStream(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            received = 0
            async for part in stream:
                received += len(part)
                if received > limit:
                    raise ResponseTooLarge(f"more than {limit} bytes")
                yield part

        async def aclose(self) -> None:
            await stream.aclose()

    return LimitedStream()
