import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr, ValidationError

from freshly.settings.errors import BadSettings
from freshly.settings.limits import WEAKEST_SECRET
from freshly.settings.services import Settings

PRIVATE_FOLDER = 0o700


def load(*, data: bool = True) -> Settings:
    """Return the settings of the environment.

    With `data`, create DATA_DIR, and in it the secrets that the environment does not set. Without
    it, touch no file and leave those secrets empty. Raises BadSettings, with a line for each wrong
    setting.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        raise BadSettings("\n".join(_lines(error))) from error
    if settings.cache == "memory" and settings.jobs == "worker":
        raise BadSettings(
            "CACHE: memory is for a single process, and with JOBS=worker there are two:"
            " give REDIS_URL instead"
        )
    return _with_secrets(settings) if data else settings


def _lines(error: ValidationError) -> Iterator[str]:
    """Give the name and the reason of each error, without the value: it may be a secret."""
    for one in error.errors(include_input=False, include_url=False):
        reason = one["msg"].removeprefix("Value error, ")
        path: Sequence[int | str] = one["loc"]
        yield f"{str(path[0]).upper()}: {reason}" if path else reason


def _with_secrets(settings: Settings) -> Settings:
    """Return the settings with the missing secrets, which the first start stores in DATA_DIR."""
    try:
        settings.data_dir.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        _keep_private(settings.data_dir)
        made = {
            name: SecretStr(_stored_secret(settings.data_dir / name))
            for name in ("secret_key", "jwt_secret")
            if not getattr(settings, name).get_secret_value()
        }
    except OSError as error:
        raise BadSettings(f"DATA_DIR: {settings.data_dir}: {error.strerror}") from error
    return settings.model_copy(update=made)


def _keep_private(folder: Path) -> None:
    """Close the folder to other users of the machine. `freshly doctor` reports a failure.

    A folder that many users share, such as /tmp, stays as it is: it has the sticky bit.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & ~PRIVATE_FOLDER and not mode & stat.S_ISVTX:
        with suppress(PermissionError):
            folder.chmod(PRIVATE_FOLDER)


def _stored_secret(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        stored = path.read_text(encoding="ascii").strip()
        if len(stored) < WEAKEST_SECRET:
            raise BadSettings(
                f"{path}: is damaged; remove it, and the next start makes a new one"
                " (all users sign in again)"
            ) from None
        return stored
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text(encoding="ascii")
