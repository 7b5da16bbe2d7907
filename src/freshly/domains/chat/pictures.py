"""Pictures that people send to the assistant: checked and written anew before they go anywhere."""

from collections.abc import Sequence

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.ports.object_storage import ObjectStore, StorageUnavailable
from freshly.chassis.security.image_sanitizer import (
    TYPES,
    NotAPicture,
    NotBase64,
    Picture,
    TooManyPixels,
    decoded,
    rewritten,
)
from freshly.domains.chat.errors import InvalidBase64, PictureTooLarge, UnsupportedPicture
from freshly.settings import Settings

logger = get_logger(__name__)

LARGEST = 5 * 2**20  # bytes
LARGEST_SIDE = 2048  # pixels; a model sees no more
ALIASES = {"image/jpg": "image/jpeg"}


async def remove(objects: ObjectStore, bucket: str, paths: Sequence[str]) -> None:
    """What nobody can see any more; a store that is away leaves them behind."""
    try:
        await objects.delete(bucket, paths)
    except StorageUnavailable:
        logger.warning("pictures left behind", paths=list(paths))


async def from_text(text: str, settings: Settings) -> Picture:
    """A picture in base64 or a data URL."""
    try:
        content, named = decoded(text)
    except NotBase64 as error:
        raise InvalidBase64 from error
    if named is not None and ALIASES.get(named, named) not in allowed(settings):
        raise UnsupportedPicture
    return await checked(content, settings)


async def checked(content: bytes, settings: Settings, largest: int = LARGEST) -> Picture:
    limit = min(largest, settings.max_file_size)
    if len(content) > limit:
        raise PictureTooLarge(limit=f"{limit / 2**20:.0f}")
    try:
        return await rewritten(content, allowed(settings), largest_side=LARGEST_SIDE)
    except (NotAPicture, TooManyPixels) as error:
        raise UnsupportedPicture from error


def allowed(settings: Settings) -> set[str]:
    return {ALIASES.get(one, one) for one in settings.allowed_file_types} & set(TYPES.values())
