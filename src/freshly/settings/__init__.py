"""Settings: read once from the environment, frozen, and passed down."""

from freshly.settings.database_url import driven
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

__all__ = [
    "LARGEST_AVATAR",
    "LARGEST_BODY",
    "LARGEST_PICTURE_BODY",
    "LARGEST_SCAN",
    "WEAKEST_SECRET",
    "BadSettings",
    "Settings",
    "driven",
    "environment_of",
    "load",
]
