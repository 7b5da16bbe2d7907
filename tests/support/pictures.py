"""Pictures, made as a test needs them."""

import base64
import io
import struct
import zlib

from PIL import Image


def picture(kind="PNG", size=(40, 30), colour="tomato", **options):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind, **options)
    return out.getvalue()


def with_exif():
    exif = Image.Exif()
    exif[0x010E] = "where we live"
    exif[0x0112] = 6  # lying on its side
    return picture("JPEG", (40, 30), exif=exif)


def bomb(side=50_000):
    """A PNG of a few hundred bytes that says it is enormous."""

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
    text = base64.b64encode(content).decode()
    return f"data:{media_type};base64,{text}" if media_type else text


def opened(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image
