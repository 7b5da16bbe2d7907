"""Stores files in a local folder or in S3, with the obstore library."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from anyio import to_thread
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.ports.object_storage import StorageUnavailable
from freshly.settings import BadSettings, Settings

logger = get_logger(__name__)

TIMEOUT = timedelta(seconds=20)
CONNECT_TIMEOUT = "3s"
MAX_RETRIES = 2
CHUNK_BYTES = 256 * 1024


def create_object_store(settings: Settings) -> "ObstoreObjectStore":
    """Return the store that STORAGE_URL names, or else the folder `files` of the data folder.

    Raises BadSettings.
    """
    storage_url = settings.storage_url
    url = urlsplit(storage_url.get_secret_value() if storage_url else "")
    if not url.scheme:
        return ObstoreObjectStore(_local_store(settings.data_dir / "files"))
    if url.scheme == "file":
        return ObstoreObjectStore(_local_store(Path(unquote(url.path))))
    return ObstoreObjectStore(_s3_store(url))


def _local_store(path: Path) -> Any:
    try:
        return LocalStore(path.resolve(), mkdir=True)
    except (OSError, BaseError) as error:
        raise BadSettings(f"STORAGE_URL: {path}: {error}") from error


def _s3_store(url: SplitResult) -> Any:
    """Return the store for `s3://key:secret@host/bucket?region=`.

    `&tls=false` is for a host that speaks plain HTTP.
    """
    query = parse_qs(url.query)
    bucket = url.path.strip("/")
    if url.scheme != "s3" or not bucket or not url.hostname:
        raise BadSettings("STORAGE_URL: is neither file:///path nor s3://key:secret@host/bucket")
    is_plain_http = query.get("tls", ["true"])[0].lower() in ("false", "0", "no")
    host = url.netloc.rpartition("@")[2]
    return S3Store(
        bucket,
        endpoint=f"{'http' if is_plain_http else 'https'}://{host}",
        access_key_id=unquote(url.username or ""),
        secret_access_key=unquote(url.password or ""),
        region=query.get("region", ["us-east-1"])[0],
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": is_plain_http,
            "timeout": TIMEOUT,
            "connect_timeout": CONNECT_TIMEOUT,
        },
        retry_config={"max_retries": MAX_RETRIES, "retry_timeout": TIMEOUT},
    )


class ObstoreObjectStore:
    """Implements ObjectStore.

    Calls run in threads of anyio. The library's own threads call back into Python and abort the
    process when Python exits.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    async def put(self, bucket: str, path: str, content: bytes | Path) -> None:
        with _translated_errors():
            await to_thread.run_sync(self._store.put, f"{bucket}/{path}", content)

    async def get(self, bucket: str, path: str) -> bytes | None:
        with _translated_errors():
            return await to_thread.run_sync(self._get, f"{bucket}/{path}")

    async def stream(self, bucket: str, path: str) -> AsyncIterator[bytes] | None:
        with _translated_errors():
            chunks = await to_thread.run_sync(self._open, f"{bucket}/{path}")
        return None if chunks is None else _in_threads(chunks)

    async def delete(self, bucket: str, paths: Sequence[str]) -> None:
        with _translated_errors():
            await to_thread.run_sync(self._delete, [f"{bucket}/{path}" for path in paths])

    async def total_bytes(self, bucket: str, folder: str) -> int:
        with _translated_errors():
            return await to_thread.run_sync(self._total_bytes, f"{bucket}/{folder}")

    async def list_paths(self, bucket: str, folder: str) -> list[str]:
        with _translated_errors():
            paths = await to_thread.run_sync(self._list, f"{bucket}/{folder}")
        return [path.removeprefix(f"{bucket}/") for path in paths]

    def _get(self, path: str) -> bytes | None:
        try:
            return bytes(self._store.get(path).bytes())
        except (FileNotFoundError, NotFoundError):
            return None

    def _open(self, path: str) -> Iterator[Any] | None:
        try:
            chunks: Iterator[Any] = iter(self._store.get(path).stream(min_chunk_size=CHUNK_BYTES))
        except (FileNotFoundError, NotFoundError):
            return None
        return chunks

    def _delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            with suppress(FileNotFoundError, NotFoundError):
                self._store.delete(path)

    def _total_bytes(self, prefix: str) -> int:
        return sum(meta["size"] for batch in self._store.list(prefix=prefix) for meta in batch)

    def _list(self, prefix: str) -> list[str]:
        return [meta["path"] for batch in self._store.list(prefix=prefix) for meta in batch]


async def _in_threads(chunks: Iterator[Any]) -> AsyncIterator[bytes]:
    while True:
        with _translated_errors():
            chunk = await to_thread.run_sync(next, chunks, None)
        if chunk is None:
            return
        yield bytes(chunk)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        logger.exception("object storage failed")
        raise StorageUnavailable from error
