"""A response body that is cached as bytes."""

import gzip

from xxhash import xxh3_128

COMPRESSION = 5  # of 9
# A longer body is compressed less, which takes a third of the time: other requests wait meanwhile.
LONG_BODY_BYTES = 1_000_000
LONG_BODY_COMPRESSION = 1


def etag_of(body: bytes, next_cursor: str | None = None) -> str:
    """Return a digest that names these bytes: 32 hex digits (XXH3, 128 bits).

    The digest of a page includes its next cursor, because the `Link` header is part of the
    response. The digest is a name, not a protection against tampering.
    """
    digest = xxh3_128(body)
    if next_cursor is not None:
        digest.update(b"\n" + next_cursor.encode())
    return digest.hexdigest()


class CachedBody:
    """The bytes of a response body with their ETag, and for a page its next cursor."""

    __slots__ = ("_compressed", "body", "etag", "next_cursor")

    def __init__(self, body: bytes, etag: str, next_cursor: str | None = None) -> None:
        self.body = body
        self.etag = etag
        self.next_cursor = next_cursor
        self._compressed: bytes | None = None

    @classmethod
    def of(cls, body: bytes, next_cursor: str | None = None) -> "CachedBody":
        return cls(body, etag_of(body, next_cursor), next_cursor)

    @property
    def compressed(self) -> bytes:
        """The body in gzip, compressed at the first use."""
        if self._compressed is None:
            is_long = len(self.body) > LONG_BODY_BYTES
            level = LONG_BODY_COMPRESSION if is_long else COMPRESSION
            self._compressed = gzip.compress(self.body, level, mtime=0)
        return self._compressed
