"""URLs of files: public ones, and signed ones that expire."""

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
HOUR_SECONDS = 3600
ONE_DAY = timedelta(days=1)


def upload_action(session_id: str) -> str:
    return f"{WRITE} {session_id}"


@dataclass(frozen=True)
class UrlSigner:
    secret: str

    def sign(self, action: str, bucket: str, path: str, expires: int) -> str:
        """Return the signature. `expires` is in seconds since 1970."""
        message = "\n".join((action, bucket, path, str(expires)))
        return hmac.new(self.secret.encode(), message.encode(), hashlib.sha256).hexdigest()

    def is_valid(self, action: str, bucket: str, path: str, expires: int, signature: str) -> bool:
        """Return whether the signature matches and has not expired."""
        expected = self.sign(action, bucket, path, expires)
        same = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
        return same and expires >= time.time()


@dataclass(frozen=True)
class SignedUrls:
    """URLs of files for one client. `base` is the server's URL as that client sees it."""

    base: str
    signer: UrlSigner

    def public(self, bucket: str, path: str) -> str:
        """Return the URL of a file in a public bucket."""
        return f"{self.base}/files/{quote(bucket)}/{quote(path)}"

    def for_upload(
        self, bucket: str, path: str, lifetime: timedelta, session_id: str
    ) -> tuple[str, str]:
        """Return the URL of an upload that dies with a session, and the signature in it."""
        url, signature = self.signed(bucket, path, lifetime, upload_action(session_id))
        return f"{url}&{urlencode({'session': session_id})}", signature

    def signed(
        self, bucket: str, path: str, lifetime: timedelta, action: str = READ
    ) -> tuple[str, str]:
        """Return the signed URL, and the signature in it."""
        expires = int(time.time() + lifetime.total_seconds())
        if lifetime >= ONE_DAY:
            # Round up to the next full hour. Within an hour the URL then stays the same, and so
            # does the ETag of each response that contains it.
            expires = math.ceil(expires / HOUR_SECONDS) * HOUR_SECONDS
        signature = self.signer.sign(action, bucket, path, expires)
        query = urlencode({"expires": expires, "signature": signature})
        return f"{self.public(bucket, path)}?{query}", signature


async def _signed_urls(request: Request) -> SignedUrls:
    resources = request.state.resources
    base = resources.settings.public_url or str(request.base_url)
    return SignedUrls(base.rstrip("/"), resources.url_signer)


async def _url_signer(request: Request) -> UrlSigner:
    signer: UrlSigner = request.state.resources.url_signer
    return signer


CurrentSignedUrls = Annotated[SignedUrls, Depends(_signed_urls)]
CurrentUrlSigner = Annotated[UrlSigner, Depends(_url_signer)]
