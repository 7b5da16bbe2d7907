"""Pictures from outside: looked at, bounded, and written anew, so that nothing else travels."""

import base64
import binascii
import io
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from anyio import CapacityLimiter, to_thread
from PIL import Image, ImageOps

MOST_PIXELS = 40_000_000
# Ours is checked before anything is decoded; Pillow's own would only warn.
Image.MAX_IMAGE_PIXELS = None
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
QUALITY = 88
AT_A_TIME = CapacityLimiter(2)  # each may take 160 MB and a core


class NotAPicture(Exception):
    """Not of a wanted type, or damaged."""


class TooManyPixels(Exception):
    pass


class NotBase64(Exception):
    pass


@dataclass(frozen=True)
class Picture:
    content: bytes
    content_type: str

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.content_type]

    def data_url(self) -> str:
        return f"data:{self.content_type};base64,{base64.b64encode(self.content).decode()}"


async def rewritten(
    content: bytes, types: Collection[str], *, largest_side: int, as_jpeg: bool = False
) -> Picture:
    """The same picture, upright, no larger than asked, without metadata.

    Raises NotAPicture, TooManyPixels.
    """
    rewrite = partial(_rewrite, content, frozenset(types), largest_side, as_jpeg=as_jpeg)
    return await to_thread.run_sync(rewrite, limiter=AT_A_TIME)


def _rewrite(content: bytes, types: frozenset[str], largest_side: int, *, as_jpeg: bool) -> Picture:
    wanted = [name for name, media_type in TYPES.items() if media_type in types]
    try:
        with Image.open(io.BytesIO(content), formats=wanted) as opened:  # reads the header only
            if opened.width * opened.height > MOST_PIXELS:
                raise TooManyPixels
            written_as = "JPEG" if as_jpeg else str(opened.format)
            opened.draft("RGB", (largest_side, largest_side))
            image = ImageOps.exif_transpose(opened)
            image.thumbnail((largest_side, largest_side))
            mode = "RGB" if written_as == "JPEG" or "A" not in image.getbands() else "RGBA"
            plain = Image.new("RGB", image.size, "white") if mode == "RGB" else None
            image = image.convert("RGBA" if "A" in image.getbands() else mode)
            if plain is not None and image.mode == "RGBA":
                plain.paste(image, mask=image.getchannel("A"))
                image = plain
            out = io.BytesIO()
            image.info.clear()
            image.save(out, written_as, quality=QUALITY)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise NotAPicture from error
    return Picture(out.getvalue(), TYPES[written_as])


def decoded(text: str) -> tuple[bytes, str | None]:
    """The bytes of base64 text or a data URL, and the type that the URL names."""
    named = None
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise NotBase64
        named = head.removeprefix("data:").removesuffix(";base64").partition(";")[0].lower()
    try:
        return base64.b64decode("".join(text.split()), validate=True), named
    except (binascii.Error, ValueError) as error:
        raise NotBase64 from error
