"""The port for storing files."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from freshly.chassis.errors import Unavailable


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"
    detail = "Files are not available right now. Please try again in a moment."


class ObjectStore(Protocol):
    """Objects by bucket and path. Each method raises StorageUnavailable."""

    async def put(self, bucket: str, path: str, content: bytes | Path) -> None:
        """Store bytes or a file. A file is sent in chunks, so it may be large."""

    async def get(self, bucket: str, path: str) -> bytes | None:
        """Return the content, or None if there is no such object."""

    async def stream(self, bucket: str, path: str) -> AsyncIterator[bytes] | None:
        """Return the content in chunks, or None if there is no such object."""

    async def delete(self, bucket: str, paths: Sequence[str]) -> None:
        """Delete objects. Paths without an object are ignored."""

    async def total_bytes(self, bucket: str, folder: str) -> int:
        """Return the size of all objects below the folder."""

    async def list_paths(self, bucket: str, folder: str) -> list[str]:
        """Return the paths below the folder, each within the bucket."""
