"""Sanitizes pictures from clients: checks them, shrinks them and re-encodes them.

Re-encoding keeps only the pixels. Metadata such as the place of a photo is lost, and so is any
payload hidden in the file.
"""

import base64
import binascii
import io
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from anyio import CapacityLimiter, to_thread
from PIL import Image, ImageOps

MAX_PIXELS = 40_000_000
# Disable Pillow's own limit, which only warns. MAX_PIXELS is checked before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
QUALITY = 88  # of JPEG and WebP, out of 100
# Two at once, since each may take 160 MB and a core.
SANITIZER_THREADS = CapacityLimiter(2)


class InvalidPicture(Exception):
    """The file is damaged, or not of an accepted type."""


class TooManyPixels(Exception):
    """The picture has more than MAX_PIXELS."""


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
    content: bytes, types: Collection[str], *, largest_side: int, as_jpeg: bool = False
) -> Picture:
    """Return the picture upright, without metadata, with sides of at most `largest_side` pixels.

    `types` are the accepted media types. The result keeps its type, or is JPEG with `as_jpeg`.
    Raises InvalidPicture or TooManyPixels. Runs in a thread, two at once.
    """
    reencode = partial(_reencode, content, frozenset(types), largest_side, as_jpeg=as_jpeg)
    return await to_thread.run_sync(reencode, limiter=SANITIZER_THREADS)


def _reencode(
    content: bytes, types: frozenset[str], largest_side: int, *, as_jpeg: bool
) -> Picture:
    formats = [name for name, media_type in MEDIA_TYPES.items() if media_type in types]
    try:
        with Image.open(io.BytesIO(content), formats=formats) as opened:  # reads the header only
            if opened.width * opened.height > MAX_PIXELS:
                raise TooManyPixels
            output_format = "JPEG" if as_jpeg else str(opened.format)
            opened.draft("RGB", (largest_side, largest_side))
            image = ImageOps.exif_transpose(opened)
            image.thumbnail((largest_side, largest_side))
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
