"""Checks and re-encodes pictures that users send to the assistant."""

from collections.abc import Sequence

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.ports.object_storage import ObjectStore, StorageUnavailable
from freshly.chassis.security.image_sanitizer import (
    MEDIA_TYPES,
    Base64Error,
    InvalidPicture,
    Picture,
    TooManyPixels,
    decode_picture,
    sanitize_picture,
)
from freshly.domains.chat.errors import InvalidBase64, PictureTooLarge, UnsupportedPicture
from freshly.settings import Settings

logger = get_logger(__name__)

MAX_BYTES = 5 * 2**20
MAX_SIDE = 2048  # pixels; models use no more
ALIASES = {"image/jpg": "image/jpeg"}


async def remove(objects: ObjectStore, bucket: str, paths: Sequence[str]) -> None:
    """Delete pictures. If the store is unavailable, log their paths and leave them."""
    try:
        await objects.delete(bucket, paths)
    except StorageUnavailable:
        logger.warning("pictures left behind", paths=list(paths))


async def from_text(text: str, settings: Settings, user_id: int) -> Picture:
    """Decode and check a picture in base64 or a data URL.

    Raise InvalidBase64, UnsupportedPicture or PictureTooLarge.
    """
    try:
        content, media_type = decode_picture(text)
    except Base64Error as error:
        raise InvalidBase64 from error
    if media_type is not None and ALIASES.get(media_type, media_type) not in allowed(settings):
        raise UnsupportedPicture
    return await checked(content, settings, user_id)


async def checked(
    content: bytes, settings: Settings, user_id: int, max_bytes: int = MAX_BYTES
) -> Picture:
    """Re-encode a picture without metadata. Raise UnsupportedPicture or PictureTooLarge."""
    limit = min(max_bytes, settings.max_file_size)
    if len(content) > limit:
        raise PictureTooLarge(limit=f"{limit / 2**20:.0f}")
    try:
        return await sanitize_picture(
            content, allowed(settings), largest_side=MAX_SIDE, person=str(user_id)
        )
    except (InvalidPicture, TooManyPixels) as error:
        raise UnsupportedPicture from error


def allowed(settings: Settings) -> set[str]:
    return {ALIASES.get(name, name) for name in settings.allowed_file_types} & set(
        MEDIA_TYPES.values()
    )
