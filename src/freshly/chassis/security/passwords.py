"""Passwords: argon2id, in few threads at a time."""

from functools import cached_property

from anyio import CapacityLimiter, to_thread
from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

AT_A_TIME = 2  # each takes a core and 19 MiB for some 20 ms
# OWASP's recommendation, in one lane.
MEMORY = 19 * 1024  # KiB
PASSES = 2
LONGEST_BCRYPT = 72  # bytes; the old backend cut there, and bcrypt ignores the rest


class Passwords:
    def __init__(self) -> None:
        current = Argon2Hasher(memory_cost=MEMORY, time_cost=PASSES, parallelism=1)
        self._hashes = PasswordHash((current, BcryptHasher()))

    @cached_property
    def _threads(self) -> CapacityLimiter:
        return CapacityLimiter(AT_A_TIME)

    @cached_property
    def _nobodys(self) -> str:
        """Checked for unknown accounts, so that they take as long as known ones."""
        return self._hashes.hash("the password of nobody")

    async def hash(self, password: str) -> str:
        return await to_thread.run_sync(self._hashes.hash, password, limiter=self._threads)

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Whether it is the password, and a better hash to store instead where there is one."""
        return await to_thread.run_sync(self._verify, password, hashed, limiter=self._threads)

    def _verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        if hashed is None:
            self._hashes.verify(password, self._nobodys)
            return False, None
        if BcryptHasher.identify(hashed):
            cut = password.encode()[:LONGEST_BCRYPT]
            matches = self._hashes.verify(cut, hashed)
            return matches, self._hashes.hash(password) if matches else None
        try:
            return self._hashes.verify_and_update(password, hashed)
        except PwdlibError:  # a hash of neither kind, such as an OAuth account's placeholder
            return False, None
