"""Checks of the URLs that may contain passwords. Each raises ValueError without the value."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from freshly.settings.database_url import driven

REDIS_SCHEMES = ("redis", "rediss", "unix")


def check_redis(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in REDIS_SCHEMES or not (parts.hostname or parts.scheme == "unix"):
        raise ValueError("is not a URL such as redis://host:6379/0, nor rediss:// nor unix://")
    # The library takes 10 MB of memory, so only an installation with Redis imports it.
    from redis.asyncio import ConnectionPool  # noqa: PLC0415

    pool: Any = ConnectionPool.from_url(url)
    try:
        pool.make_connection()  # connects to nothing yet
    except TypeError as error:
        name = str(error).partition("argument ")[2].strip("'")
        raise ValueError(f"{name or error}: is not an option of a Redis URL") from error


def check_storage(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path and not parts.netloc:
        return
    if parts.scheme != "s3" or not parts.path.strip("/") or not parts.hostname:
        raise ValueError("is neither file:///path nor s3://key:secret@host/bucket")


URL_CHECKS: Mapping[str, Callable[[str], object]] = {
    "database_url": driven,
    "database_url_pooler": partial(driven, pooler=True),
    "redis_url": check_redis,
    "storage_url": check_storage,
}
