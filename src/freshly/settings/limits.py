"""Limits that are no settings."""

WEAKEST_SECRET = 32  # characters; HS256 wants a key as long as its digest (RFC 7518, 3.2)
LARGEST_BODY = 1_000_000  # bytes
LARGEST_PICTURE_BODY = 8_000_000  # bytes; a picture of 5 MB in base64
LARGEST_AVATAR = 5 * 2**20  # bytes
LARGEST_SCAN = 2 * 2**20  # bytes
