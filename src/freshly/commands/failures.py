"""Expected failures of commands, each in one line for the operator."""

from collections.abc import Iterator

from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from freshly.chassis.backup.errors import BackupFailed
from freshly.chassis.errors import Unavailable
from freshly.chassis.ports.object_storage import StorageUnavailable
from freshly.commands.errors import CommandFailed
from freshly.settings import Settings

NO_TABLE = ("no such table", "no such column", "does not exist")
LOCKED = ("lock timeout", "database is locked")


def reason_of(error: BaseException, settings: Settings) -> str | None:
    """Return the line for an expected failure. None if it is a mistake of Freshly."""
    if isinstance(error, BackupFailed | CommandError | CommandFailed):
        return _line(error)
    if isinstance(error, StorageUnavailable):
        return f"{_storage(settings)}: {_line(_causes(error)[-1])}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    cause = next((one for one in reversed(_causes(error)) if _is_of_database(one)), None)
    if cause is None:
        return None
    return f"{_database(settings)}: {database_reason(cause)}"


def database_reason(error: BaseException) -> str:
    """Return why the database did not do its work, and what the operator can do."""
    line = _line(getattr(error, "orig", None) or error)
    if isinstance(error, TimeoutError):
        return "no response; is it running, and does a firewall let you through?"
    if any(part in line for part in NO_TABLE[:2]) or ("relation" in line and NO_TABLE[2] in line):
        return f"{line}; run `freshly migrate`"
    if any(part in line for part in LOCKED):
        return f"{line}; another process holds a lock, so try again"
    return line


def text_of(error: BaseException) -> str:
    """Return the reason of any error in a line: that of what caused it, if it was a service."""
    if isinstance(error, StorageUnavailable):
        return _line(_causes(error)[-1])
    causes = [one for one in _causes(error) if _is_of_database(one)]
    if causes and not isinstance(error, OSError):
        return database_reason(causes[-1])
    return _line(error)


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what caused it, the first cause last."""
    return list(_chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_of_database(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        return error.orig is not None
    is_of_driver = type(error).__module__.partition(".")[0] in ("asyncpg", "sqlite3")
    return is_of_driver or isinstance(error, OSError | SQLAlchemyError | Unavailable)


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.splitlines()[0]
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _database(settings: Settings) -> str:
    given = bool(settings.database_url.get_secret_value())
    url = settings.database.render_as_string()
    return f"DATABASE_URL: {url}" if given else url


def _storage(settings: Settings) -> str:
    return "STORAGE_URL" if settings.storage_url else str(settings.data_dir / "files")
