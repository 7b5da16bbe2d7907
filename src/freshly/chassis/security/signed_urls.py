"""Addresses of files: public ones, and signed ones that expire."""

import hashlib
import hmac
import math
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from urllib.parse import quote, urlencode

from freshly.chassis.dependencies import Depends, Request

READ, WRITE = "read", "write"
HOUR = 3600  # seconds
A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class UrlSigner:
    secret: str

    def sign(self, action: str, bucket: str, path: str, expires: int) -> str:
        words = "\n".join((action, bucket, path, str(expires)))
        return hmac.new(self.secret.encode(), words.encode(), hashlib.sha256).hexdigest()

    def holds(self, action: str, bucket: str, path: str, expires: int, signature: str) -> bool:
        expected = self.sign(action, bucket, path, expires)
        same = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
        return same and expires >= time.time()


@dataclass(frozen=True)
class SignedUrls:
    """What a client may open, as seen from where the client is."""

    base: str
    signer: UrlSigner

    def public(self, bucket: str, path: str) -> str:
        return f"{self.base}/files/{quote(bucket)}/{quote(path)}"

    def signed(
        self, bucket: str, path: str, lifetime: timedelta, action: str = READ
    ) -> tuple[str, str]:
        """The link, and the signature in it."""
        expires = int(time.time() + lifetime.total_seconds())
        if lifetime >= A_DAY:
            # Ends with an hour, so that it stays the same within one, as does the ETag of what
            # shows the picture.
            expires = math.ceil(expires / HOUR) * HOUR
        signature = self.signer.sign(action, bucket, path, expires)
        query = urlencode({"expires": expires, "signature": signature})
        return f"{self.public(bucket, path)}?{query}", signature


async def _links(request: Request) -> SignedUrls:
    resources = request.state.resources
    base = resources.settings.public_url or str(request.base_url)
    return SignedUrls(base.rstrip("/"), resources.url_signer)


async def _signer(request: Request) -> UrlSigner:
    signer: UrlSigner = request.state.resources.url_signer
    return signer


CurrentSignedUrls = Annotated[SignedUrls, Depends(_links)]
CurrentUrlSigner = Annotated[UrlSigner, Depends(_signer)]
