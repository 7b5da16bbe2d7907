"""Checks of the machine, its files and the settings that need no other service."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from freshly.chassis.backup.folder import backups as backups_in
from freshly.commands.doctor.results import CheckFailed, Unwise
from freshly.settings import WEAKEST_SECRET, Settings, is_loopback

OTHER_USERS = 0o077  # permissions of the group and of all others
RELEASED = datetime(2026, 11, 1, tzinfo=UTC)  # no clock is right that is earlier
LITTLE_BYTES, SOME_BYTES = 100 * 2**20, 2**30  # free space that is too little, and not much
DAILY_BACKUP_IS_LATE = timedelta(days=2)
ONLY_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


async def data_folder(settings: Settings) -> str:
    folder = settings.data_dir.resolve()
    if not os.access(folder, os.W_OK):
        raise CheckFailed(f"{folder} is not writable")
    for path in private_paths(settings):
        if path.exists() and path.stat().st_mode & OTHER_USERS:
            raise CheckFailed(
                f"other users of this machine may read {path}; run `chmod -R go= {path}`"
            )
    return f"{folder}, closed to other users"


def private_paths(settings: Settings) -> list[Path]:
    """Return the data folder, its secrets, and the private files that are elsewhere."""
    folder = settings.data_dir.resolve()
    inside = [folder / name for name in ("secret_key", "jwt_secret")]
    elsewhere = [settings.backup_folder.resolve(), *_secret_files()]
    if settings.database.get_backend_name() == "sqlite" and settings.database.database:
        elsewhere.append(Path(settings.database.database).resolve())
    url = urlsplit(settings.storage_url.get_secret_value() if settings.storage_url else "")
    if url.scheme == "file":
        elsewhere.append(Path(unquote(url.path)).resolve())
    return [folder, *inside, *(path for path in elsewhere if not path.is_relative_to(folder))]


def _secret_files() -> Iterator[Path]:
    """Give the files of `NAME_FILE`, except those that a container engine mounts read-only."""
    for name in Settings.model_fields:
        path = os.environ.get(f"{name.upper()}_FILE")
        if path and os.access(path, os.W_OK):
            yield Path(path).resolve()


async def disk(settings: Settings) -> str:
    told = []
    places = {settings.data_dir, settings.backup_folder, Path(tempfile.gettempdir())}
    for place in sorted(places):
        existing = next(one for one in (place.resolve(), *place.resolve().parents) if one.exists())
        free = shutil.disk_usage(existing).free
        told.append((free, f"{place}: {free / 2**30:.1f} GiB free"))
    least, line = min(told)
    if least < LITTLE_BYTES:
        raise CheckFailed(f"{line}; writes will fail, so make room")
    if least < SOME_BYTES:
        raise Unwise(f"{line}; make room before it is full")
    return line


async def clock(settings: Settings) -> str:
    now = datetime.now(UTC)
    if now < RELEASED:
        raise CheckFailed(f"the machine says {now:%Y-%m-%d}, which is in the past; set its clock")
    return f"{now:%Y-%m-%d %H:%M:%S} UTC; today begins by {settings.timezone}"


async def secrets(settings: Settings) -> str:
    for name in ("jwt_secret", "secret_key"):
        if len(getattr(settings, name).get_secret_value()) < WEAKEST_SECRET:
            raise CheckFailed(f"{name.upper()} is shorter than {WEAKEST_SECRET} characters")
    if settings.jwt_secret == settings.secret_key:
        raise Unwise("JWT_SECRET and SECRET_KEY are the same; give each its own")
    made = [n for n in ("jwt_secret", "secret_key") if (settings.data_dir / n).exists()]
    on_postgresql = settings.database.get_backend_name() == "postgresql"
    if made and on_postgresql and not settings.is_local:
        names = " and ".join(name.upper() for name in made)
        raise Unwise(
            f"{names} may be in {settings.data_dir} only; another host on this database would"
            " make its own, so set them in the environment"
        )
    return "long enough"


async def addresses(settings: Settings) -> str:
    """Check what clients call the server: PUBLIC_URL, ALLOWED_HOSTS, CORS_ORIGINS, HOST."""
    url = urlsplit(settings.public_url or "")
    if settings.is_local:
        if not is_loopback(settings.host):
            raise Unwise(f"APP_ENV={settings.app_env} is for this machine, HOST for others too")
        return f"{settings.host}:{settings.port}, for this machine"
    hosts = set(settings.allowed_hosts)
    if hosts <= ONLY_THIS_MACHINE:
        raise CheckFailed("ALLOWED_HOSTS names only this machine, so clients get 400; name yours")
    if url.hostname and not any(_matches(url.hostname, pattern) for pattern in hosts):
        raise CheckFailed(f"ALLOWED_HOSTS: {url.hostname} of PUBLIC_URL is missing")
    if not url.hostname:
        raise Unwise("PUBLIC_URL is not set, so links name the host that the client named")
    if url.scheme != "https":
        raise Unwise("PUBLIC_URL has http, so passwords travel in the clear; serve it by https")
    if "*" in hosts:
        raise Unwise("ALLOWED_HOSTS has *, so links may name any host; name yours")
    return f"{settings.public_url}; hosts: {', '.join(sorted(hosts))}"


def _matches(host: str, pattern: str) -> bool:
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


async def proxies(settings: Settings) -> str:
    trusted = ", ".join(settings.trusted_proxies)
    if not settings.is_local and "*" in settings.trusted_proxies:
        raise CheckFailed("TRUSTED_PROXIES: * lets each client choose its address; name the proxy")
    if (settings.public_url or "").startswith("https:") and not trusted:
        raise CheckFailed("PUBLIC_URL has https, so a proxy serves it; name it in TRUSTED_PROXIES")
    metrics = "with METRICS_TOKEN" if settings.metrics_token else "from this machine only"
    return f"{trusted or 'none (TRUSTED_PROXIES)'}; metrics: {metrics}"


async def backups(settings: Settings) -> str:
    folder = settings.backup_folder
    made = backups_in(folder)
    if not made:
        how = "wait for 3:30" if settings.makes_backups else "set BACKUPS=daily"
        raise Unwise(f"there is none in {folder}; run `freshly backup`, or {how}")
    at, newest = made[0]
    age = datetime.now(UTC) - at
    line = f"{len(made)} in {folder}, the newest {age / timedelta(hours=1):.0f} h old"
    if age > DAILY_BACKUP_IS_LATE:
        if settings.makes_backups:
            raise CheckFailed(f"{line}; see `freshly jobs list --kind backup.make`")
        raise Unwise(f"{line}; run `freshly backup`, or set BACKUPS=daily")
    if settings.is_local:
        return line
    if newest.stat().st_dev == settings.data_dir.stat().st_dev:
        raise Unwise(f"{line}, on the disk of the data; copy them elsewhere or set BACKUP_DIR")
    return line
