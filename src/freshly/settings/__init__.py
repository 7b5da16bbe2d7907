"""Settings: read once from the environment, frozen, and passed down."""

from freshly.settings.database_url import connect_options, driven
from freshly.settings.env_file import ENV_FILE, mistyped_names, read_env_file
from freshly.settings.environment import environment_of
from freshly.settings.errors import BadSettings
from freshly.settings.limits import (
    LARGEST_AVATAR,
    LARGEST_BODY,
    LARGEST_PICTURE_BODY,
    LARGEST_SCAN,
    WEAKEST_SECRET,
)
from freshly.settings.loading import load
from freshly.settings.services import Settings
from freshly.settings.types import is_loopback

__all__ = [
    "ENV_FILE",
    "LARGEST_AVATAR",
    "LARGEST_BODY",
    "LARGEST_PICTURE_BODY",
    "LARGEST_SCAN",
    "WEAKEST_SECRET",
    "BadSettings",
    "Settings",
    "connect_options",
    "driven",
    "environment_of",
    "is_loopback",
    "load",
    "mistyped_names",
    "read_env_file",
]
