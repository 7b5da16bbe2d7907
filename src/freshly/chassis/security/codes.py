"""Codes of six digits and links of 128 bits, derived from what the database stores.

The database stores random seeds and ids. Codes and links are their HMAC under the installation's
secret, so a copy of the database reveals no code and no link.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Annotated

from freshly.chassis.dependencies import Depends, Request

LOWEST_CODE, CODES = 100_000, 900_000
MAC_DIGITS = 32  # hexadecimal digits, which are 128 bits
LINK_TOKEN = re.compile(r"[0-9a-f]{64}")


def new_seed() -> str:
    """Return 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class CodeSigner:
    secret: str

    def six_digits(self, seed: str) -> str:
        """Return the code of a seed, from 100000 to 999999."""
        number = int.from_bytes(self._digest(f"code {seed}")[:8])
        return str(number % CODES + LOWEST_CODE)

    def token(self, link_id: str) -> str:
        """Return the token of a link: its id of 32 digits, and 32 digits that prove it."""
        return link_id + self._digest(f"link {link_id}").hex()[:MAC_DIGITS]

    def link_id(self, token: str) -> str | None:
        """Return the id of a link's token. Return None if the token is not one of ours."""
        if not LINK_TOKEN.fullmatch(token):
            return None
        link_id = token[:MAC_DIGITS]
        return link_id if hmac.compare_digest(self.token(link_id), token) else None

    def stored(self, code: str) -> str:
        """Return what the database stores of a random code, of which no seed is kept."""
        return self._digest(f"random {code}").hex()

    def _digest(self, text: str) -> bytes:
        return hmac.new(self.secret.encode(), f"account {text}".encode(), hashlib.sha256).digest()


def is_link_token(text: str) -> bool:
    """Return whether the text has the form of a link's token. No code of six digits has it."""
    return LINK_TOKEN.fullmatch(text) is not None


async def _code_signer(request: Request) -> CodeSigner:
    return CodeSigner(request.state.resources.settings.secret_key.get_secret_value())


CurrentCodeSigner = Annotated[CodeSigner, Depends(_code_signer)]
