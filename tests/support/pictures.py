"""Makes and opens pictures for tests."""

import base64
import io
import struct
import zlib

from PIL import Image

DESCRIPTION, ORIENTATION = 0x010E, 0x0112  # EXIF tags


def picture(kind="PNG", size=(40, 30), colour="tomato", **options):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind, **options)
    return out.getvalue()


def picture_with_exif():
    """Return a JPEG whose metadata holds a description and a rotation."""
    exif = Image.Exif()
    exif[DESCRIPTION] = "where we live"
    exif[ORIENTATION] = 6  # to be turned by 90 degrees
    return picture("JPEG", (40, 30), exif=exif)


def decompression_bomb(side=50_000):
    """Return a PNG of a few hundred bytes whose header claims `side` x `side` pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def in_base64(content, media_type=None):
    """Return base64 text, or a data URL if there is a media type."""
    text = base64.b64encode(content).decode()
    return f"data:{media_type};base64,{text}" if media_type else text


def open_picture(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image
