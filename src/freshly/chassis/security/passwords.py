"""Password hashes: argon2id, computed in a few threads at a time."""

from functools import cached_property

from anyio import CapacityLimiter, to_thread
from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

MAX_CONCURRENT_HASHES = 2  # each takes a core and 19 MiB for about 20 ms
# OWASP's recommendation for argon2id with a parallelism of one.
MEMORY_KIB = 19 * 1024
ITERATIONS = 2
KNOWN_HASHES = ("$argon2id$", "$2a$", "$2b$", "$2y$")
MAX_BCRYPT_BYTES = 72  # bcrypt ignores the rest; the existing app cut passwords there


class Passwords:
    def __init__(self) -> None:
        current = Argon2Hasher(memory_cost=MEMORY_KIB, time_cost=ITERATIONS, parallelism=1)
        self._hashes = PasswordHash((current, BcryptHasher()))

    @cached_property
    def _threads(self) -> CapacityLimiter:
        return CapacityLimiter(MAX_CONCURRENT_HASHES)

    @cached_property
    def _dummy_hash(self) -> str:
        """A hash to check for unknown accounts, so that they take as long as known ones."""
        return self._hashes.hash("the password of an unknown account")

    async def hash(self, password: str) -> str:
        return await to_thread.run_sync(self._hashes.hash, password, limiter=self._threads)

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Return whether the password matches, and a new hash to store if the old one is weaker.

        `hashed` is None for an unknown account: the result is False, after the usual time.
        """
        return await to_thread.run_sync(self._verify, password, hashed, limiter=self._threads)

    def _verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        if hashed is None or not hashed.startswith(KNOWN_HASHES):
            # An unknown account, or one without a password, such as with Google or Apple.
            self._hashes.verify(password, self._dummy_hash)
            return False, None
        if BcryptHasher.identify(hashed):
            cut = password.encode()[:MAX_BCRYPT_BYTES]
            matches = self._hashes.verify(cut, hashed)
            return matches, self._hashes.hash(password) if matches else None
        try:
            return self._hashes.verify_and_update(password, hashed)
        except PwdlibError:  # a damaged hash
            return False, None
