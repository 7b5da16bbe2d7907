"""Files in a local folder, or in anything that speaks S3."""

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
RETRIES = 2
PIECE = 256 * 1024  # bytes


def store_for(settings: Settings) -> "Objects":
    given = settings.storage_url
    url = urlsplit(given.get_secret_value() if given else "")
    if not url.scheme:
        return Objects(_folder(settings.data_dir / "files"))
    if url.scheme == "file":
        return Objects(_folder(Path(unquote(url.path))))
    return Objects(_s3(url))


def _folder(path: Path) -> Any:
    try:
        return LocalStore(path.resolve(), mkdir=True)
    except (OSError, BaseError) as error:
        raise BadSettings(f"STORAGE_URL: {path}: {error}") from error


def _s3(url: SplitResult) -> Any:
    """`s3://key:secret@host/bucket?region=`; `&tls=false` where the host speaks plain HTTP."""
    query = parse_qs(url.query)
    bucket = url.path.strip("/")
    if url.scheme != "s3" or not bucket or not url.hostname:
        raise BadSettings("STORAGE_URL: is neither file:///path nor s3://key:secret@host/bucket")
    plain = query.get("tls", ["true"])[0].lower() in ("false", "0", "no")
    host = url.netloc.rpartition("@")[2]
    return S3Store(
        bucket,
        endpoint=f"{'http' if plain else 'https'}://{host}",
        access_key_id=unquote(url.username or ""),
        secret_access_key=unquote(url.password or ""),
        region=query.get("region", ["us-east-1"])[0],
        virtual_hosted_style_request=False,
        client_options={"allow_http": plain, "timeout": TIMEOUT, "connect_timeout": "3s"},
        retry_config={"max_retries": RETRIES, "retry_timeout": TIMEOUT},
    )


class Objects:
    """In threads of ours: the library's own call back into Python, which aborts at its exit."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def put(self, bucket: str, path: str, content: bytes | Path) -> None:
        with _named_errors():
            await to_thread.run_sync(self._store.put, f"{bucket}/{path}", content)

    async def get(self, bucket: str, path: str) -> bytes | None:
        with _named_errors():
            return await to_thread.run_sync(self._read, f"{bucket}/{path}")

    async def pieces(self, bucket: str, path: str) -> AsyncIterator[bytes] | None:
        with _named_errors():
            found = await to_thread.run_sync(self._open, f"{bucket}/{path}")
        return None if found is None else _read_on(found)

    async def delete(self, bucket: str, paths: Sequence[str]) -> None:
        with _named_errors():
            await to_thread.run_sync(self._remove, [f"{bucket}/{path}" for path in paths])

    async def paths(self, bucket: str, folder: str) -> list[str]:
        with _named_errors():
            found = await to_thread.run_sync(self._list, f"{bucket}/{folder}")
        return [path.removeprefix(f"{bucket}/") for path in found]

    def _read(self, path: str) -> bytes | None:
        try:
            return bytes(self._store.get(path).bytes())
        except (FileNotFoundError, NotFoundError):
            return None

    def _open(self, path: str) -> Iterator[Any] | None:
        try:
            pieces: Iterator[Any] = iter(self._store.get(path).stream(min_chunk_size=PIECE))
        except (FileNotFoundError, NotFoundError):
            return None
        return pieces

    def _remove(self, paths: Sequence[str]) -> None:
        for path in paths:
            with suppress(FileNotFoundError, NotFoundError):
                self._store.delete(path)

    def _list(self, prefix: str) -> list[str]:
        return [meta["path"] for chunk in self._store.list(prefix=prefix) for meta in chunk]


async def _read_on(pieces: Iterator[Any]) -> AsyncIterator[bytes]:
    while True:
        with _named_errors():
            piece = await to_thread.run_sync(next, pieces, None)
        if piece is None:
            return
        yield bytes(piece)


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        logger.exception("storage failed")
        raise StorageUnavailable from error
