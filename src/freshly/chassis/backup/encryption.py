"""Encrypted archives, made of age files only.

The outer file is a ZIP of `key.age`, a new key under the passphrase, and `backup.tar.gz.age`, the
archive under that key. age encrypts a stream with a key, but with a passphrase only what fits into
memory. The `age` program opens both.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

import pyrage  # type: ignore[import-untyped]

from freshly.chassis.backup.errors import BackupFailed

KEY, ARCHIVE = "key.age", "backup.tar.gz.age"
ZIP_MAGIC = b"PK\x03\x04"


@contextmanager
def encrypted(target: IO[bytes], passphrase: str) -> Iterator[IO[bytes]]:
    """Give a file to write to. What is written goes to the target, encrypted."""
    key = pyrage.x25519.Identity.generate()
    with ZipFile(target, "w") as outer:
        outer.writestr(KEY, pyrage.passphrase.encrypt(str(key).encode(), passphrase))
        with outer.open(ZipInfo(ARCHIVE), "w", force_zip64=True) as entry:
            recipients = [key.to_public()]
            with _thread(lambda plain: pyrage.encrypt_io(plain, entry, recipients)) as plain:
                yield plain


@contextmanager
def decrypted(source: IO[bytes], passphrase: str | None) -> Iterator[IO[bytes]]:
    """Give the archive in the source, decrypted if it is encrypted.

    Raises BackupFailed for a missing or wrong passphrase, and if the source is damaged.
    """
    if not _is_zip(source):
        yield source
        return
    if not passphrase:
        raise BackupFailed("is encrypted; give its passphrase in BACKUP_PASSPHRASE")
    try:
        with ZipFile(source) as outer:
            key = _key(outer, passphrase)
            with outer.open(ARCHIVE) as entry, _reading(entry, key) as plain:
                yield plain
    except (BadZipFile, KeyError) as error:
        raise BackupFailed(f"is damaged: {error}") from error


def _is_zip(source: IO[bytes]) -> bool:
    if not source.seekable():
        return False
    magic = source.read(len(ZIP_MAGIC))
    source.seek(0)
    return magic == ZIP_MAGIC


def _key(outer: ZipFile, passphrase: str) -> pyrage.x25519.Identity:
    try:
        key = pyrage.passphrase.decrypt(outer.read(KEY), passphrase)
    except pyrage.DecryptError as error:
        raise BackupFailed("has another passphrase than BACKUP_PASSPHRASE") from error
    return pyrage.x25519.Identity.from_str(key.decode())


@contextmanager
def _thread(work: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """Give a file to write to, which the work reads in a thread. Raises what the work raises."""
    read_end, write_end = os.pipe()
    failures: list[Exception] = []

    def run() -> None:
        with open(read_end, "rb") as plain:  # noqa: PTH123 - a file descriptor
            try:
                work(plain)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        with open(write_end, "wb") as plain:  # noqa: PTH123 - a file descriptor
            yield plain
    except BrokenPipeError:
        thread.join()
        if not failures:
            raise
    thread.join()
    if failures:
        raise OSError(str(failures[0])) from failures[0]


@contextmanager
def _reading(entry: IO[bytes], key: pyrage.x25519.Identity) -> Iterator[IO[bytes]]:
    """Give what the entry holds, decrypted in a thread. Raises BackupFailed if it is damaged."""
    read_end, write_end = os.pipe()
    failures: list[Exception] = []

    def run() -> None:
        # The reader may leave before the end.
        with suppress(BrokenPipeError), open(write_end, "wb") as plain:  # noqa: PTH123 - a file descriptor
            try:
                pyrage.decrypt_io(entry, plain, [key])
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        with open(read_end, "rb") as plain:  # noqa: PTH123 - a file descriptor
            yield plain
    except BackupFailed:
        thread.join()
        if failures and "Broken pipe" not in str(failures[0]):
            raise BackupFailed(f"is damaged: {failures[0]}") from failures[0]
        raise
    finally:
        thread.join()
