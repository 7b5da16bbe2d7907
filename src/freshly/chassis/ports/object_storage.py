"""Files: the port to where they are kept."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from freshly.chassis.errors import Unavailable


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"
    detail = "Files are not available right now. Please try again in a moment."


class ObjectStore(Protocol):
    """Objects by bucket and path. Every method raises StorageUnavailable."""

    async def put(self, bucket: str, path: str, content: bytes | Path) -> None:
        """A file is sent in pieces, however large it is."""

    async def get(self, bucket: str, path: str) -> bytes | None: ...

    async def pieces(self, bucket: str, path: str) -> AsyncIterator[bytes] | None:
        """The content, for what may be too large to be held."""

    async def delete(self, bucket: str, paths: Sequence[str]) -> None: ...

    async def paths(self, bucket: str, folder: str) -> list[str]:
        """Everything below that folder, by path within the bucket."""
