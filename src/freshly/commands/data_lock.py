"""The lock of a data folder: a server on SQLite, or with a cache in memory, must be the only one.

A second one would serve responses that it cached before the first one changed their rows.
"""

import fcntl
import os
from pathlib import Path

from freshly.commands.errors import CommandFailed
from freshly.settings import Settings


def lock_data(settings: Settings) -> list[int]:
    """Lock what only one server may use. Return the files, which are locked while they are open.

    Other commands, such as `freshly jobs` and `freshly worker`, do not need the lock. Several
    servers that share PostgreSQL may share a data folder. Raises CommandFailed if another server
    has the lock.
    """
    on_sqlite = settings.database.get_backend_name() == "sqlite"
    if not (on_sqlite or settings.cache_alone):
        return []
    folder = settings.data_dir.resolve()
    locked = [_lock("DATA_DIR", folder, folder / "server.lock")]
    if on_sqlite and settings.database.database:
        # Another data folder may name the same database.
        database = Path(settings.database.database).resolve()
        locked.append(_lock("DATABASE_URL", database, Path(f"{database}.lock")))
    return locked


def _lock(name: str, used: Path, path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode().strip()
        raise CommandFailed(
            f"{name}: another server (process {holder}) uses {used}; stop it, or give this one"
            f" another {name}"
        ) from None
    except OSError as error:
        raise CommandFailed(f"{name}: {path} cannot be locked: {error.strerror}") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
