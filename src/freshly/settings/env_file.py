"""`.env`: settings of a local installation in a file, and names that look mistyped."""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values

from freshly.settings.errors import BadSettings
from freshly.settings.services import Settings

ENV_FILE = "ENV_FILE"  # names another file, or none if it is empty
ALIKE = 0.85  # from 0 to 1; DATABSE_URL is 0.96 like DATABASE_URL, HOSTNAME 0.67 like HOST


def read_env_file() -> None:
    """Add the settings in `.env` to the environment, whose own values win.

    The file is for first steps: with another APP_ENV than local in the environment it is not read.
    Raises BadSettings if it cannot be read.
    """
    path = Path(os.environ.get(ENV_FILE, ".env") or os.devnull)
    if os.environ.get("APP_ENV", "local") != "local" or not path.is_file():
        return
    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise BadSettings(f"{path}: cannot be read: {reason}") from error
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)


def mistyped_names() -> Iterator[str]:
    """Give a line for each name in the environment that is almost that of a setting."""
    settings = {name.upper() for name in Settings.model_fields}
    known = settings | {f"{name}_FILE" for name in settings} | {ENV_FILE}
    for name in sorted(os.environ.keys() - known - {one.lower() for one in known}):
        if meant := get_close_matches(name.upper(), settings, n=1, cutoff=ALIKE):
            yield f"{name} is not a setting and has no effect; did you mean {meant[0]}?"
