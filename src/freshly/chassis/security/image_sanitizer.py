"""Sanitizes pictures from clients: checks them, shrinks them and re-encodes them.

Re-encoding keeps only the pixels. Metadata such as the place of a photo is lost, and so is any
payload hidden in the file.
"""

import asyncio
import base64
import binascii
import io
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, to_thread
from PIL import Image, ImageOps

# The bytes of a decoded picture: 12.5 million pixels in colour, as a phone takes. A JPEG counts as
# large as it is decoded, which is an eighth to all of its size.
MAX_DECODED_BYTES = 50_000_000
MAX_PIXELS = 100_000_000  # also of a JPEG, because all of it is read
# Disable Pillow's own limit, which only warns. Sizes are checked before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2}  # in Pillow's memory; other modes take 4
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
QUALITY = 88  # of JPEG and WebP, out of 100
# Two at once, since each may take 130 MB and a core.
SANITIZER_THREADS = CapacityLimiter(2)
# Of one person, so that others never wait behind a dozen of them.
PICTURES_OF_A_PERSON = 2
_in_progress: WeakValueDictionary[object, asyncio.Semaphore] = WeakValueDictionary()


class InvalidPicture(Exception):
    """The file is damaged, or not of an accepted type."""


class TooManyPixels(Exception):
    """The picture has more than MAX_PIXELS, or more than MAX_DECODED_BYTES."""


class Base64Error(Exception):
    """The text is neither base64 nor a base64 data URL."""


@dataclass(frozen=True)
class Picture:
    content: bytes
    content_type: str

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.content_type]

    def data_url(self) -> str:
        return f"data:{self.content_type};base64,{base64.b64encode(self.content).decode()}"


async def sanitize_picture(
    content: bytes,
    types: Collection[str],
    *,
    largest_side: int,
    as_jpeg: bool = False,
    person: Hashable = None,
) -> Picture:
    """Return the picture upright, without metadata, with sides of at most `largest_side` pixels.

    `types` are the accepted media types. The result keeps its type, or is JPEG with `as_jpeg`.
    Raises InvalidPicture or TooManyPixels. Runs in a thread, two at once. If `person` names who
    sends the picture, at most two of the same person run or wait for a thread.
    """
    reencode = partial(_reencode, content, frozenset(types), largest_side, as_jpeg=as_jpeg)
    if person is None:
        return await to_thread.run_sync(reencode, limiter=SANITIZER_THREADS)
    async with _in_progress.setdefault(person, asyncio.Semaphore(PICTURES_OF_A_PERSON)):
        return await to_thread.run_sync(reencode, limiter=SANITIZER_THREADS)


def _reencode(
    content: bytes, types: frozenset[str], largest_side: int, *, as_jpeg: bool
) -> Picture:
    formats = [name for name, media_type in MEDIA_TYPES.items() if media_type in types]
    try:
        with Image.open(io.BytesIO(content), formats=formats) as opened:  # reads the header only
            pixels = opened.width * opened.height
            # A progressive JPEG is kept whole while it is decoded: two bytes for each of its
            # values, which are about half as many for the colours as for the brightness.
            whole = 3 * pixels if "progressive" in opened.info else 0
            output_format = "JPEG" if as_jpeg else str(opened.format)
            opened.draft("RGB", (largest_side, largest_side))
            decoded = opened.width * opened.height * BYTES_PER_PIXEL.get(opened.mode, 4)
            if pixels > MAX_PIXELS or max(decoded, whole) > MAX_DECODED_BYTES:
                raise TooManyPixels
            opened.thumbnail((largest_side, largest_side))
            image = ImageOps.exif_transpose(opened)
            mode = "RGB" if output_format == "JPEG" or "A" not in image.getbands() else "RGBA"
            background = Image.new("RGB", image.size, "white") if mode == "RGB" else None
            image = image.convert("RGBA" if "A" in image.getbands() else mode)
            if background is not None and image.mode == "RGBA":
                background.paste(image, mask=image.getchannel("A"))
                image = background
            out = io.BytesIO()
            image.info.clear()
            image.save(out, output_format, quality=QUALITY)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise InvalidPicture from error
    return Picture(out.getvalue(), MEDIA_TYPES[output_format])


def decode_picture(text: str) -> tuple[bytes, str | None]:
    """Return the bytes of base64 text or a data URL, and the media type that the URL names.

    Raises Base64Error.
    """
    media_type = None
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise Base64Error
        media_type = head.removeprefix("data:").removesuffix(";base64").partition(";")[0].lower()
    try:
        return base64.b64decode("".join(text.split()), validate=True), media_type
    except (binascii.Error, ValueError) as error:
        raise Base64Error from error
